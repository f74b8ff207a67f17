//! The files that are patched, and the patches.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use patch_engine::{File, formats, plan_parsed};
use shared_contracts::patches::PatchFormat;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

pub const PATH: &str = "a.rs";

pub type Tree = BTreeMap<WorkspacePath, File>;

pub fn tree(text: &str) -> Result<Tree> {
    let file = File { bytes: text.into(), mode: FileMode::Regular };
    Ok(BTreeMap::from([(WorkspacePath::parse(PATH)?, file)]))
}

/// What `patchctl apply` does between reading and writing.
pub fn apply(tree: &Tree, patch: &str, format: PatchFormat) -> Option<Vec<u8>> {
    let read = formats::read(patch, Some(format)).ok()?;
    let plan = plan_parsed(&read.operations, tree).ok()?;
    plan.changes.into_iter().next()?.after.map(|file| file.bytes)
}

pub fn source_lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|line| match line % 7 {
            0 => format!("fn handle_{line}(request: &Request) -> Response {{\n"),
            5 => "}\n".into(),
            6 => "\n".into(),
            _ => format!("    let value_{line} = request.field({}).unwrap_or_default();\n", line * 31 % 997),
        })
        .collect()
}

pub fn block(search: &str) -> String {
    format!("{PATH}\n<<<<<<< SEARCH\n{search}=======\nnew\n>>>>>>> REPLACE\n")
}

/// The file of the bars: 2,800 lines, one changed in 20 places.
pub struct Edited {
    pub before: String,
    pub after: String,
    /// With git's heads.
    pub diff: String,
    pub codex: String,
}

impl Edited {
    pub const WHAT: &str = "2,800 lines, 20 hunks";
    const LINES: usize = 2_800;
    const HUNKS: usize = 20;

    pub fn new() -> Result<Self> {
        let before = source_lines(Self::LINES);
        let mut after = before.clone();
        for hunk in 0..Self::HUNKS {
            after[hunk * Self::LINES / Self::HUNKS + 51] = format!("    changed({hunk});\n");
        }
        let (before, after) = (before.concat(), after.concat());
        let made = diffy::create_patch(&before, &after).to_string();
        let (_, hunks) = made.split_once("@@").context("the diff has hunks")?;
        let diff = format!("--- a/{PATH}\n+++ b/{PATH}\n@@{hunks}");
        let bare: String = hunks.split_inclusive('\n').skip(1).map(without_place).collect();
        let codex = format!("*** Begin Patch\n*** Update File: {PATH}\n@@\n{bare}*** End Patch\n");
        Ok(Self { before, after, diff, codex })
    }
}

/// The codex envelope's hunks say no line numbers.
fn without_place(line: &str) -> &str {
    if line.starts_with("@@ ") { "@@\n" } else { line }
}
