//! A patch batch becomes a revision: all of it, or nothing.

use std::collections::BTreeMap;

use patch_engine::{File, FileChange, Plan, Snapshot};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{PatchBatchId, ProjectId};
use shared_contracts::limits::{PATCH_OPERATIONS_MAX, PATCH_TOUCHED_BYTES_MAX, RECEIPT_BYTES_MAX};
use shared_contracts::patches::{FileReceipt, PatchBatch, Receipt};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::workspaces::{FileMode, Revision};
use worker::Bucket;

use super::blobs;
use super::tree::Tree;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::number;
use crate::sql_args;

/// Reading and writing R2 lets others in between; a plan that was overtaken this often gives up.
const TRIES: usize = 5;

pub struct Batch {
    pub project_id: ProjectId,
    pub id: PatchBatchId,
    pub title: String,
    pub batch: PatchBatch,
}

/// The head, as far as the batch asks for it.
struct Head<'a> {
    tree: &'a Tree,
    files: BTreeMap<WorkspacePath, File>,
}

impl Snapshot for Head<'_> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.files.get(path)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        // If the store fails here, a refusal is the answer that harms nothing.
        self.tree.is_directory(path).unwrap_or(true)
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        self.tree.files_below(path, PATCH_OPERATIONS_MAX as u64 + 1).unwrap_or(u64::MAX)
    }
}

/// 1. Applied before: the same receipt.
/// 2. The files it touches are read.
/// 3. The whole batch is planned; a refusal explains every operation.
/// 4. New large content goes to R2.
/// 5. Unless the head moved meanwhile, which begins again at 2, one synchronous step makes the revision.
pub async fn apply(tree: &Tree, bucket: &Bucket, batch: &Batch) -> Outcome<Receipt> {
    for _ in 0..TRIES {
        if let Some(receipt) = tree.receipt_of(batch.id)? {
            return serde_json::from_str(&receipt)
                .map_err(|error| Failure::internal("a stored receipt", error));
        }
        let head = tree.head()?;
        let snapshot = read(tree, bucket, &head, &batch.batch).await?;
        if tree.head()?.revision != head.revision {
            continue;
        }
        let plan =
            patch_engine::plan(&batch.batch, &snapshot).map_err(|refusal| refused(refusal.operations))?;
        let contents = keep(tree, bucket, batch.project_id, &plan.changes).await?;
        if tree.head()?.revision == head.revision {
            return commit(tree, batch, &head, plan, &contents);
        }
    }
    let detail = "The workspace changes faster than this batch can be planned; try again in a moment";
    Err(Failure::problem(ProblemKind::Overloaded, detail))
}

fn refused(operations: Vec<shared_contracts::patches::OperationReceipt>) -> Failure {
    let failed = operations.iter().filter(|operation| !operation.outcome.is_success()).count();
    let detail = format!(
        "{failed} of {} operations do not fit; `outcomes` says why and what to send",
        operations.len()
    );
    let mut problem = Problem::new(ProblemKind::PatchRefused, detail);
    problem.outcomes = operations;
    problem.into()
}

async fn read<'a>(tree: &'a Tree, bucket: &Bucket, head: &Revision, batch: &PatchBatch) -> Outcome<Head<'a>> {
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for path in patch_engine::paths_needed(batch) {
        let Some(entry) = tree.file(&path, head.revision)? else { continue };
        total += entry.size_bytes;
        if total > PATCH_TOUCHED_BYTES_MAX {
            return Err(Failure::too_large(
                "The files that a patch batch touches",
                PATCH_TOUCHED_BYTES_MAX,
                "bytes",
            ));
        }
        let bytes = blobs::read(&tree.sql, bucket, entry.sha256).await?;
        let bytes = bytes.ok_or_else(|| Failure::internal("a blob of the head", entry.sha256))?;
        files.insert(path, File { bytes, mode: entry.mode });
    }
    Ok(Head { tree, files })
}

/// The hashes of new contents, in the order of the changes; none for a deletion.
async fn keep(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    changes: &[FileChange],
) -> Outcome<Vec<Option<Sha256>>> {
    let mut hashes = Vec::with_capacity(changes.len());
    for change in changes {
        hashes.push(match &change.after {
            Some(file) => Some(blobs::keep(&tree.sql, bucket, project_id, file.bytes.clone()).await?),
            None => None,
        });
    }
    Ok(hashes)
}

/// Everything was already as the batch wants it: no new revision, and a receipt that says so.
fn commit(
    tree: &Tree,
    batch: &Batch,
    head: &Revision,
    plan: Plan,
    contents: &[Option<Sha256>],
) -> Outcome<Receipt> {
    let now = now_ms();
    let revision_after = if plan.changes.is_empty() { head.revision } else { head.revision + 1 };
    let files = plan.changes.iter().zip(contents).map(|(change, after)| FileReceipt {
        path: change.path.clone(),
        sha256_before: change.before.as_ref().map(|file| Sha256::of(&file.bytes)),
        sha256_after: *after,
    });
    let receipt = Receipt {
        patch_batch_id: batch.id,
        project_id: batch.project_id,
        revision_before: head.revision,
        revision_after,
        files: files.collect(),
        operations: plan.operations,
        applied_at_ms: now,
    };
    if plan.changes.is_empty() {
        return Ok(receipt);
    }
    let mut revision = Revision {
        revision: revision_after,
        message: batch.title.clone(),
        patch_batch_id: Some(batch.id),
        created_at_ms: now,
        ..head.clone()
    };
    for change in &plan.changes {
        count(&mut revision, change);
    }
    let text =
        serde_json::to_string(&receipt).map_err(|error| Failure::internal("writing a receipt", error))?;
    if text.len() as u64 > RECEIPT_BYTES_MAX {
        return Err(Failure::too_large("The receipt of a patch batch", RECEIPT_BYTES_MAX, "bytes"));
    }
    // First what may be refused: a statement that fails does not undo those before it.
    tree.add_revision(&revision, Some(text))?;
    for (change, sha256) in plan.changes.iter().zip(contents) {
        write(tree, revision_after, change, *sha256)?;
    }
    Ok(receipt)
}

fn count(revision: &mut Revision, change: &FileChange) {
    if let Some(before) = &change.before {
        revision.file_count = revision.file_count.saturating_sub(1);
        revision.total_bytes = revision.total_bytes.saturating_sub(before.bytes.len() as u64);
    }
    if let Some(after) = &change.after {
        revision.file_count += 1;
        revision.total_bytes += after.bytes.len() as u64;
    }
}

fn write(tree: &Tree, revision: u64, change: &FileChange, sha256: Option<Sha256>) -> Outcome<()> {
    let path = change.path.as_str();
    tree.sql.run(
        "UPDATE entries SET until = ? WHERE path = ? AND until IS NULL",
        sql_args![number(revision), path],
    )?;
    let (Some(file), Some(sha256)) = (&change.after, sha256) else { return Ok(()) };
    tree.sql.run(
        "INSERT INTO entries (path, since, sha256, size_bytes, mode) VALUES (?, ?, ?, ?, ?)",
        sql_args![
            path,
            number(revision),
            sha256.to_string(),
            number(file.bytes.len() as u64),
            FileMode::as_str(file.mode)
        ],
    )
}
