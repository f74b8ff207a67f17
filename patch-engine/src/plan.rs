//! A whole batch against one snapshot: every operation in turn on what the ones before it left, then all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use shared_contracts::patches::{OperationOutcome, OperationReceipt, PatchBatch, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use crate::apply::apply;
use crate::diff::diff;
use crate::hunks::{is_too_deep, to_u32, touched};
use crate::landed::landed_operations;
use crate::tree::Tree;
use crate::{FileChange, Plan, Refusal, Snapshot, hints};

/// Every path whose file the engine will ask for: the operations' paths, rename targets, and all their ancestors (an
/// ancestor that is a file or a link makes the operation `denied_path`).
pub fn paths_needed(batch: &PatchBatch) -> BTreeSet<WorkspacePath> {
    let mut needed = BTreeSet::new();
    for operation in &batch.operations {
        for path in touched(operation).filter(|path| !is_too_deep(path)) {
            needed.extend(path.ancestors().filter_map(|directory| WorkspacePath::parse(directory).ok()));
            needed.insert(path.clone());
        }
    }
    needed
}

/// All or nothing: the plan of the whole batch, or one receipt for every operation, refused or not.
pub fn plan(batch: &PatchBatch, snapshot: &impl Snapshot) -> Result<Plan, Refusal> {
    let landed = landed_operations(&batch.operations, snapshot);
    let mut tree = Tree::new(snapshot);
    let mut refused_on: BTreeMap<&WorkspacePath, usize> = BTreeMap::new();
    let mut receipts = Vec::with_capacity(batch.operations.len());
    for (index, operation) in batch.operations.iter().enumerate() {
        let outcome = if landed.contains(&index) {
            OperationOutcome::AlreadyApplied
        } else {
            blame_earlier(apply(&mut tree, operation), operation, &refused_on)
        };
        if !outcome.is_success() {
            for path in touched(operation) {
                refused_on.entry(path).or_insert(index);
            }
        }
        receipts.push(OperationReceipt { index: to_u32(index), path: operation.path().clone(), outcome });
    }
    if !refused_on.is_empty() {
        return Err(Refusal { operations: receipts });
    }
    let changes = tree.into_changes();
    let reversed: Vec<FileChange> = changes.iter().map(FileChange::reversed).collect();
    Ok(Plan { operations: receipts, inverse: diff(&reversed), changes })
}

/// A file is often missing only because the operation that brings it was refused.
fn blame_earlier(
    outcome: OperationOutcome,
    operation: &PatchOperation,
    refused_on: &BTreeMap<&WorkspacePath, usize>,
) -> OperationOutcome {
    match (outcome, refused_on.get(operation.path())) {
        (OperationOutcome::MissingFile { .. }, Some(earlier)) => {
            OperationOutcome::MissingFile { hint: hints::missing_after(operation.path(), *earlier) }
        }
        (outcome, _) => outcome,
    }
}
