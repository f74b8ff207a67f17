//! Three blocks that stand nowhere, each a little off: how long until that is said.

use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use shared_contracts::patches::PatchFormat;

use crate::measure::{compared, in_turns, not_measured};
use crate::text::{apply, block, source_lines, tree};

const ROUNDS: usize = 41;
const LINES: usize = 700;
const BAR: f64 = 1_000.0;
const PEER: &str = "aider's edit distance";

pub fn figures() -> Result<()> {
    let lines = source_lines(LINES);
    let file = lines.concat();
    let tree = tree(&file)?;
    let searched = [70, 301, 602].map(|at| {
        let block = lines[at..at + 12].concat();
        block.replacen("request.field", "req.get", 3).replacen("unwrap_or_default", "expect", 2)
    });
    let patches = searched.clone().map(|searched| block(&searched));
    let [ours] = in_turns(
        ROUNDS,
        [&mut || {
            for patch in &patches {
                black_box(apply(&tree, patch, PatchFormat::SearchReplace));
            }
        }],
    );
    let what = format!("near miss, 3 blocks in {LINES} lines");
    match aider(&file, &searched) {
        Ok(aider) => compared(&what, ours, PEER, aider, BAR),
        Err(why) => not_measured(&what, ours, PEER, &format!("{why:#}"), BAR),
    }
    Ok(())
}

fn aider(file: &str, searched: &[String]) -> Result<Duration> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/speed/aider_fallback.py");
    let python = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = python.context("there is no python3")?;
    let given = serde_json::json!({ "file": file, "blocks": searched }).to_string();
    python.stdin.take().context("it reads")?.write_all(given.as_bytes())?;
    let output = python.wait_with_output()?;
    if !output.status.success() {
        bail!("python3 failed ({})", output.status);
    }
    let seconds: Vec<f64> =
        String::from_utf8(output.stdout)?.lines().map(str::parse).collect::<Result<_, _>>()?;
    if seconds.len() != searched.len() {
        bail!("python3 timed {} blocks of {}", seconds.len(), searched.len());
    }
    Ok(Duration::from_secs_f64(seconds.iter().sum()))
}
