//! A patch batch as a unified diff, and a receipt line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use patch_engine::{File, plan, unified_diff};
use shared_contracts::patches::{OperationOutcome, Patch, Receipt};

use crate::client::tree::LocalTree;
use crate::terminal::{self, Tone, tone};

/// Lines of one diff that still help; a person who wants more asks the plane.
const DIFF_LINES_SHOWN: usize = 120;

/// Shows what the batch would make of the tree that it was made against.
pub fn show(patch: &Patch, base: &LocalTree) -> Result<()> {
    let mut files = BTreeMap::new();
    for entry in base.manifest() {
        let bytes = base.read(&entry.path)?;
        files.insert(entry.path, File { bytes, mode: entry.mode });
    }
    let planned = match plan(&patch.batch, &files) {
        Ok(planned) => planned,
        Err(refusal) => bail!("the proposed patch does not fit the tree it was made against: {refusal:?}"),
    };
    let summary = &patch.summary;
    let detail = format!(
        "{} operations, {}, against revision {}",
        summary.operation_count,
        terminal::bytes(summary.size_bytes),
        summary.base_revision
    );
    terminal::found(&format!("patch {}", summary.state.as_str()), &detail, None);
    let diff = unified_diff(&planned.changes);
    for line in diff.lines().take(DIFF_LINES_SHOWN) {
        terminal::line(&format!("    {}", colored(line)));
    }
    let rest = diff.lines().count().saturating_sub(DIFF_LINES_SHOWN);
    if rest > 0 {
        terminal::line(&format!("    … and {rest} more lines"));
    }
    Ok(())
}

fn colored(line: &str) -> String {
    let kind = match line.as_bytes() {
        [b'd', b'i', b'f', b'f', b' ', ..] | [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Tone::Strong,
        [b'@', b'@', ..] => Tone::Place,
        [b'+', ..] => Tone::Good,
        [b'-', ..] => Tone::Bad,
        [b' ', ..] | [] => return line.to_owned(),
        _ => Tone::Faint,
    };
    tone(kind, line)
}

pub fn show_receipt(receipt: &Receipt, took: Duration) {
    let detail = format!("{} operations, {} files", receipt.operations.len(), receipt.files.len());
    let revisions = format!("revision {} → {}", receipt.revision_before, receipt.revision_after);
    terminal::found(&revisions, &detail, Some(took));
    for operation in &receipt.operations {
        let word = outcome(&operation.outcome).unwrap_or_else(|_| "?".to_owned());
        terminal::line(&format!("    {:>3}  {word:<16} {}", operation.index, operation.path.as_str()));
    }
}

/// The outcome's name on the wire, with how its place was found.
fn outcome(outcome: &OperationOutcome) -> Result<String> {
    let value = serde_json::to_value(outcome).context("an outcome has no name")?;
    let text = |name: &str| value.get(name).and_then(|field| field.as_str()).unwrap_or_default().to_owned();
    let step = text("step");
    Ok(if step.is_empty() { text("outcome") } else { format!("{} ({step})", text("outcome")) })
}
