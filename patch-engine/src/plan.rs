//! A whole batch against one snapshot: every operation in turn on what the ones before it left, then all or nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared_contracts::patches::{Hunk, OperationOutcome, OperationReceipt, PatchBatch, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use crate::apply::{apply, apply_edits};
use crate::hunks::{is_too_deep, malformed, to_u32, touched};
use crate::landed::landed_operations;
use crate::ordered::set;
use crate::tree::Tree;
use crate::{Plan, Refusal, Rules, Snapshot, hints};

/// One operation as a parser found it: understood, or the path as it was sent and why not.
pub type Parsed = Result<PatchOperation, (String, OperationOutcome)>;

/// Every path whose file the engine will ask for: the operations' paths, rename targets, and all their ancestors (an
/// ancestor that is a file or a link makes the operation `denied_path`).
pub fn paths_needed<'batch>(
    operations: impl IntoIterator<Item = &'batch PatchOperation>,
) -> BTreeSet<WorkspacePath> {
    let mut needed = BTreeSet::new();
    for operation in operations {
        for path in touched(operation).filter(|path| !is_too_deep(path)) {
            needed.extend(path.ancestors().filter_map(|directory| WorkspacePath::parse(directory).ok()));
            needed.insert(path.clone());
        }
    }
    needed
}

/// All or nothing: the plan of the whole batch, or one receipt for every operation, refused or not.
pub fn plan(batch: &PatchBatch, snapshot: &impl Snapshot) -> Result<Plan, Refusal> {
    let operations: Vec<&PatchOperation> = batch.operations.iter().collect();
    let landed = landed_operations(&operations, snapshot);
    let entries: Vec<Entry<'_>> = operations.into_iter().map(Ok).collect();
    plan_all(&entries, &landed, snapshot)
}

/// The same of operations of which a parser may have refused some: those are reported where they stood, the others are
/// planned for what there is to say about them, and the whole is refused.
pub fn plan_parsed(parsed: &[Parsed], snapshot: &impl Snapshot) -> Result<Plan, Refusal> {
    let understood: Vec<&PatchOperation> = parsed.iter().flatten().collect();
    let indexes: Vec<usize> =
        parsed.iter().enumerate().filter(|(_, parsed)| parsed.is_ok()).map(|(index, _)| index).collect();
    let landed = landed_operations(&understood, snapshot);
    let landed = set(landed.into_iter().filter_map(|at| indexes.get(at).copied()));
    let entries: Vec<Entry<'_>> = parsed.iter().map(Result::as_ref).collect();
    plan_all(&entries, &landed, snapshot)
}

type Entry<'batch> = Result<&'batch PatchOperation, &'batch (String, OperationOutcome)>;

fn plan_all<'batch>(
    entries: &[Entry<'batch>],
    landed: &BTreeSet<usize>,
    snapshot: &impl Snapshot,
) -> Result<Plan, Refusal> {
    let mut tree = Tree::new(snapshot);
    let mut refused_on: BTreeMap<&WorkspacePath, usize> = BTreeMap::new();
    let mut receipts = Vec::with_capacity(entries.len());
    // The outcomes of edits that were placed together with the one before.
    let mut ahead = VecDeque::new();
    for (index, entry) in entries.iter().copied().enumerate() {
        let (path, outcome) = match entry {
            Err((path, outcome)) => (path.clone(), outcome.clone()),
            Ok(operation) => {
                let outcome = match denied(operation, snapshot.rules()) {
                    Some(denied) => denied,
                    None if landed.contains(&index) => OperationOutcome::AlreadyApplied,
                    None => {
                        if ahead.is_empty() {
                            let rest = entries.get(index..).unwrap_or_default();
                            let chainable = rest.iter().zip(index..).map_while(|(entry, index)| {
                                entry.ok().filter(|_| !landed.contains(&index)).and_then(edit_alone)
                            });
                            let row: Vec<&[Hunk]> = chainable
                                .take_while(|(path, _)| *path == operation.path())
                                .map(|(_, hunks)| hunks)
                                .collect();
                            ahead = match row.as_slice() {
                                [] | [_] => VecDeque::from([apply(&mut tree, operation)]),
                                _ => apply_edits(&mut tree, operation.path(), &row).into(),
                            };
                        }
                        let outcome = ahead.pop_front().unwrap_or_else(|| apply(&mut tree, operation));
                        blame_earlier(outcome, operation, &refused_on)
                    }
                };
                if !outcome.is_success() {
                    for path in touched(operation) {
                        refused_on.entry(path).or_insert(index);
                    }
                }
                (operation.path().to_string(), outcome)
            }
        };
        receipts.push(OperationReceipt { index: to_u32(index), path, outcome });
    }
    if receipts.iter().any(|receipt| !receipt.outcome.is_success()) {
        return Err(Refusal { operations: receipts });
    }
    Ok(Plan { operations: receipts, changes: tree.into_changes() })
}

/// An edit that is placed by its text alone.
fn edit_alone(operation: &PatchOperation) -> Option<(&WorkspacePath, &[Hunk])> {
    match operation {
        PatchOperation::Edit { path, base_sha256: None, hunks } if malformed(operation).is_none() => {
            Some((path, hunks))
        }
        _ => None,
    }
}

fn denied(operation: &PatchOperation, rules: Option<&Rules>) -> Option<OperationOutcome> {
    let (path, pattern) = touched(operation).find_map(|path| Some((path, rules?.denies(path)?)))?;
    Some(OperationOutcome::DeniedPath { why: hints::denied_by_rule(path, pattern) })
}

/// An operation is often refused only because an earlier one on its file was.
fn blame_earlier(
    outcome: OperationOutcome,
    operation: &PatchOperation,
    refused_on: &BTreeMap<&WorkspacePath, usize>,
) -> OperationOutcome {
    let Some(earlier) = refused_on.get(operation.path()).copied() else { return outcome };
    match outcome {
        OperationOutcome::MissingFile { .. } => {
            OperationOutcome::MissingFile { hint: hints::missing_after(operation.path(), earlier) }
        }
        OperationOutcome::NoMatch { hunk, nearest, hint } => {
            OperationOutcome::NoMatch { hunk, nearest, hint: hints::perhaps_after(&hint, earlier) }
        }
        other => other,
    }
}
