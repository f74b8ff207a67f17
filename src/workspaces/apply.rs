//! A patch batch becomes a revision: all of it, or nothing.

use patch_engine::{FileChange, Plan};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{PatchBatchId, ProjectId};
use shared_contracts::limits::RECEIPT_BYTES_MAX;
use shared_contracts::patches::{KeptReceipt, Reading, Receipt};
use shared_contracts::workspaces::{FileMode, Revision};
use worker::Bucket;

use super::commands::Wanted;
use super::plan::TRIES;
use super::tree::Tree;
use super::{blobs, plan};
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::derived;
use crate::platform::sql::number;
use crate::sql_args;

pub struct Batch {
    pub project_id: ProjectId,
    pub id: PatchBatchId,
    pub title: String,
    pub reading: Reading,
}

/// 1. Applied before: the same receipt.
/// 2. The whole batch is planned against the head; a refusal explains every operation.
/// 3. New large content goes to R2.
/// 4. Unless the head moved meanwhile, which begins again at 1, one synchronous step makes the revision.
pub async fn apply(tree: &Tree, bucket: &Bucket, batch: &Batch, mut wanted: Wanted) -> Outcome<KeptReceipt> {
    plan::name_bases(tree, &mut wanted)?;
    for _ in 0..TRIES {
        if let Some(kept) = receipt(tree, batch.id)? {
            return Ok(kept);
        }
        let (head, plan) = plan::plan_named(tree, bucket, &wanted).await?;
        let contents = keep(tree, bucket, batch.project_id, &plan.changes).await?;
        if tree.head()?.revision == head.revision {
            return commit(tree, batch, &head, plan, &contents);
        }
    }
    Err(plan::overtaken())
}

/// Of a batch that made a revision.
pub fn receipt(tree: &Tree, id: PatchBatchId) -> Outcome<Option<KeptReceipt>> {
    let text = tree.receipt_of(id)?;
    let kept = text.as_deref().map(serde_json::from_str).transpose();
    kept.map_err(|error| Failure::internal("a stored receipt", error))
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
) -> Outcome<KeptReceipt> {
    let now = now_ms();
    let revision_after = if plan.changes.is_empty() { head.revision } else { head.revision + 1 };
    let receipt = Receipt {
        patch_batch_id: batch.id,
        project_id: batch.project_id,
        revision_before: head.revision,
        revision_after,
        files: plan::files(tree, head, &plan.changes, contents)?,
        operations: plan.operations,
        applied_at_ms: now,
    };
    let mut kept = KeptReceipt { receipt, reading: batch.reading.clone(), inverse_patch_batch_id: None };
    if plan.changes.is_empty() {
        return Ok(kept);
    }
    // It has its id from the beginning, so that two reverts are one.
    kept.inverse_patch_batch_id = Some(PatchBatchId::new(now, derived(format!("{} inverse", batch.id))));
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
    let text = serde_json::to_string(&kept).map_err(|error| Failure::internal("writing a receipt", error))?;
    if text.len() as u64 > RECEIPT_BYTES_MAX {
        return Err(Failure::too_large("The receipt of a patch batch", RECEIPT_BYTES_MAX, "bytes"));
    }
    // First what may be refused: a statement that fails does not undo those before it.
    tree.add_revision(&revision, Some(text))?;
    for (change, sha256) in plan.changes.iter().zip(contents) {
        write(tree, revision_after, change, *sha256)?;
    }
    Ok(kept)
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
