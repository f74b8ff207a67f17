//! The time of a check natively: from the request to the answer that holds the plan's receipts, the hashes and the diff.
//! Standard input is JSON, `{"path": …, "file": …, "patches": […]}`; the answer is the seconds for each patch.

use std::collections::BTreeMap;
use std::hint::black_box;

use anyhow::{Context as _, Result, bail};
use patch_engine::{File, Parsed, formats, plan_parsed, unified_diff};
use serde_json::Value;
use serde_json::value::RawValue;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ProjectId;
use shared_contracts::patches::{FileReceipt, PatchCheck, PatchRequest, Reading};
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
        let request = PatchRequest {
            project_id: Some(ProjectId::new(0, 0)),
            text: Some(text(patch)?),
            ..PatchRequest::default()
        };
        let request = serde_json::to_string(&request)?;
        if check(&tree, &request).is_none() {
            bail!("the engine refuses a patch");
        }
        let [took] = in_turns(ROUNDS, [&mut || drop(black_box(check(&tree, &request)))]);
        seconds.push(took.as_secs_f64());
    }
    println!("{}", serde_json::to_string(&seconds)?);
    Ok(())
}

/// What `POST /api/patches/check` does but for asking D1 and reading the file, with the JSON that goes from the caller to
/// the Workspace and back.
fn check(tree: &Tree, request: &str) -> Option<String> {
    let request: PatchRequest = serde_json::from_str(request).ok()?;
    let read = formats::read(&request.text?, None).ok()?;
    let command = serde_json::to_string(&read.operations).ok()?;
    let operations: Vec<Parsed> = serde_json::from_str(&command).ok()?;
    let plan = plan_parsed(&operations, tree).ok()?;
    let files = plan.changes.iter().map(|change| FileReceipt {
        path: change.path.clone(),
        sha256_before: None,
        sha256_after: change.after.as_ref().map(|file| Sha256::of(&file.bytes)),
    });
    let check = PatchCheck {
        project_id: request.project_id?,
        revision: 1,
        reading: Reading { format: Some(read.format), notes: read.notes },
        files: files.collect(),
        diff: Some(unified_diff(&plan.changes)),
        operations: plan.operations,
    };
    let answer = serde_json::to_string(&check).ok()?;
    let passed_on: Box<RawValue> = serde_json::from_str(&answer).ok()?;
    serde_json::to_string(&passed_on).ok()
}
