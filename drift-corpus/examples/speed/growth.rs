//! Inputs made to be slow, and ten times as much of each: the time may grow with the input and little faster.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use shared_contracts::patches::PatchFormat;

use crate::measure::fastest_in_turns;
use crate::text::{PATH, apply, block, source_lines, tree};

const ROUNDS: usize = 9;
const LINES: usize = 4_000;
/// Ten times the input may take this many times as long.
const BAR: f64 = 12.0;

/// A file of so many lines, and a patch for it.
type Make = fn(usize) -> (String, String);

const INPUTS: [(&str, PatchFormat, Make); 7] = [
    ("all lines equal, unified diff", PatchFormat::UnifiedDiff, equal_lines_unified),
    ("all lines equal, a block of half", PatchFormat::SearchReplace, equal_lines_block),
    ("many candidates", PatchFormat::SearchReplace, many_candidates),
    ("many SEARCH heads", PatchFormat::SearchReplace, many_heads),
    ("codex, bare @@", PatchFormat::Codex, codex_bare),
    ("near miss in a large file", PatchFormat::SearchReplace, near_miss),
    ("blocks that copy the function above", PatchFormat::SearchReplace, near_copies),
];

pub fn figures() -> Result<()> {
    for (name, format, make) in INPUTS {
        let (small, large) = (make(LINES), make(10 * LINES));
        let trees = (tree(&small.0)?, tree(&large.0)?);
        let [small_took, large_took] = fastest_in_turns(
            ROUNDS,
            [&mut || drop(black_box(apply(&trees.0, &small.1, format))), &mut || {
                drop(black_box(apply(&trees.1, &large.1, format)))
            }],
        );
        let per_100_kb = large_took.as_secs_f64() * 100_000.0 / (large.0.len() + large.1.len()) as f64;
        println!(
            "{}",
            json!({
                "what": format!("10 × {name}"),
                "seconds": large_took.as_secs_f64(),
                "beside": format!("{LINES} lines"),
                "beside_seconds": small_took.as_secs_f64(),
                "grows_bar": BAR,
                "note": format!("{:.1?} for 100 KB", Duration::from_secs_f64(per_100_kb)),
            })
        );
    }
    Ok(())
}

fn equal_lines_unified(lines: usize) -> (String, String) {
    let context = " x\n".repeat(lines / 2);
    (
        "x\n".repeat(lines),
        format!("--- a/{PATH}\n+++ b/{PATH}\n@@ -1,{lines} +1,{lines} @@\n{context}-y\n+z\n"),
    )
}

fn equal_lines_block(lines: usize) -> (String, String) {
    ("x\n".repeat(lines), block(&"x\n".repeat(lines / 2)))
}

fn many_candidates(lines: usize) -> (String, String) {
    let file = "fn a() {\n    one();\n    two();\n}\n\n".repeat(lines / 5);
    (file, block("fn a() {\n    one();\n    three();\n}\n"))
}

fn many_heads(lines: usize) -> (String, String) {
    let blocks = (0..lines / 10).map(|line| block(&format!("    let value_{line} = 1;\n"))).collect();
    (source_lines(lines).concat(), blocks)
}

fn codex_bare(lines: usize) -> (String, String) {
    let hunks = (0..lines / 20).fold(String::new(), |mut text, line| {
        let _ = write!(text, "@@\n line {0}\n-line {1}\n+new {1}\n", line * 20, line * 20 + 1);
        text
    });
    let file = (0..lines).map(|line| format!("line {line}\n")).collect();
    (file, format!("*** Begin Patch\n*** Update File: {PATH}\n{hunks}*** End Patch\n"))
}

fn near_copies(lines: usize) -> (String, String) {
    const STEPS: usize = 20;
    let steps: String = (0..STEPS).map(|step| format!("    step_{step}();\n")).collect();
    let function = |name: &str, number: usize| format!("fn {name}_{number}() {{\n{steps}}}\n\n");
    let count = lines / (STEPS + 3);
    let blocks = (0..count).map(|number| {
        let (copy, below) = (function("g", number), format!("fn f_{}() {{\n", number + 1));
        let (search, replace) = (format!("}}\n\n{below}"), format!("}}\n\n{copy}{below}"));
        format!("{PATH}\n<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n")
    });
    let blocks = blocks.collect();
    ((0..=count).map(|number| function("f", number)).collect(), blocks)
}

fn near_miss(lines: usize) -> (String, String) {
    (source_lines(lines).concat(), block("fn handle_7(req: &Req) {\n    let value_8 = req.get(1);\n"))
}
