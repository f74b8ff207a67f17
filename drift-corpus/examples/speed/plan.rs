//! The engine's own time for given patches: from their text to the plan, the hashes and the diff that a check answers
//! with. Standard input is JSON, `{"path": …, "file": …, "patches": […]}`; the answer is the seconds for each patch.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::{Context as _, Result, bail};
use patch_engine::{File, formats, plan_parsed, unified_diff};
use serde_json::Value;
use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::measure::in_turns;
use crate::text::Tree;

const ROUNDS: usize = 41;

pub fn times() -> Result<()> {
    let given: Value = serde_json::from_reader(std::io::stdin()).context("the patches as JSON")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let file = File { bytes: text(&given["file"])?.into_bytes(), mode: FileMode::Regular };
    let tree: Tree = BTreeMap::from([(WorkspacePath::parse(&text(&given["path"])?)?, file)]);
    let mut seconds = Vec::new();
    for patch in given["patches"].as_array().context("a list of patches")? {
        let patch = text(patch)?;
        if !check(&tree, &patch) {
            bail!("the engine refuses a patch");
        }
        let [took] = in_turns(ROUNDS, [&mut || assert!(check(&tree, &patch))]);
        seconds.push(took.as_secs_f64());
    }
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}

/// What `POST /api/patches/check` does to a text but for reading the file.
fn check(tree: &Tree, patch: &str) -> bool {
    let Ok(read) = formats::read(patch, None) else { return false };
    let Ok(plan) = plan_parsed(&read.operations, tree) else { return false };
    for file in plan.changes.iter().flat_map(|change| [&change.before, &change.after]).flatten() {
        black_box(Sha256::of(&file.bytes));
    }
    !black_box(unified_diff(&plan.changes)).is_empty()
}
