//! What a patch would do to the head: the same plan for applying, checking and comparing it, and for taking it back.

use std::collections::{BTreeMap, HashMap, HashSet};

use patch_engine::{File, FileChange, Plan, Rules, Snapshot};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{PatchBatchId, ProjectId};
use shared_contracts::limits::{
    PATCH_BASE_BYTES_MAX, PATCH_DIFF_BYTES_MAX, PATCH_OPERATIONS_MAX, PATCH_TOUCHED_BYTES_MAX,
};
use shared_contracts::patches::{FileReceipt, KeptReceipt, OperationReceipt, PatchBatch, PatchOperation};
use shared_contracts::patches::{PatchCheck, Reading};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::workspaces::{ManifestEntry, Revision};
use worker::Bucket;

use super::commands::Wanted;
use super::tree::Tree;
use super::{apply, blobs};
use crate::platform::failure::{Failure, Outcome};

/// Reading and writing R2 lets others in between; a plan that was overtaken this often gives up.
pub const TRIES: usize = 5;

/// The head, as far as the batch asks for it.
struct Head<'a> {
    tree: &'a Tree,
    files: BTreeMap<WorkspacePath, File>,
    bases: HashMap<Sha256, Vec<u8>>,
    rules: Rules,
}

impl Snapshot for Head<'_> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.files.get(path)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        // If the store fails here, a refusal is the answer that harms nothing.
        self.tree.is_directory(path).unwrap_or(true)
    }

    fn base(&self, sha256: Sha256) -> Option<&[u8]> {
        self.bases.get(&sha256).map(Vec::as_slice)
    }

    fn rules(&self) -> Option<&Rules> {
        Some(&self.rules)
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        self.tree.files_below(path, PATCH_OPERATIONS_MAX as u64 + 1).unwrap_or(u64::MAX)
    }
}

/// The revision that was planned against, and the plan; a refusal explains every operation.
pub async fn plan(tree: &Tree, bucket: &Bucket, mut wanted: Wanted) -> Outcome<(Revision, Plan)> {
    name_bases(tree, &mut wanted)?;
    plan_named(tree, bucket, &wanted).await
}

/// What is first done to a file gets its base from the base revision, if it names none: an edit is placed by it, and a
/// file that others changed since is not overwritten or deleted with what they did.
pub fn name_bases(tree: &Tree, wanted: &mut Wanted) -> Outcome<()> {
    let mut seen = HashSet::new();
    for operation in wanted.operations.iter_mut().flatten() {
        let is_first = seen.insert(operation.path().clone());
        if let PatchOperation::Rename { to, .. } = operation {
            seen.insert(to.clone());
        }
        if let PatchOperation::Edit { path, base_sha256: base @ None, .. }
        | PatchOperation::Replace { path, base_sha256: base @ None, .. }
        | PatchOperation::Write { path, base_sha256: base @ None, .. }
        | PatchOperation::Delete { path, base_sha256: base @ None } = operation
            && is_first
        {
            *base = tree.file(path, wanted.base_revision)?.map(|entry| entry.sha256);
        }
    }
    Ok(())
}

pub async fn plan_named(tree: &Tree, bucket: &Bucket, wanted: &Wanted) -> Outcome<(Revision, Plan)> {
    for _ in 0..TRIES {
        let head = tree.head()?;
        let snapshot = read(tree, bucket, &head, wanted).await?;
        if tree.head()?.revision == head.revision {
            let plan = patch_engine::plan_parsed(&wanted.operations, &snapshot);
            let plan = plan.map_err(|refusal| refused(head.revision, refusal.operations))?;
            return Ok((head, plan));
        }
    }
    Err(overtaken())
}

pub fn overtaken() -> Failure {
    let detail = "The workspace changes faster than this batch can be planned; try again in a moment";
    Failure::problem(ProblemKind::Overloaded, detail)
}

fn refused(revision: u64, operations: Vec<OperationReceipt>) -> Failure {
    let failed = operations.iter().filter(|operation| !operation.outcome.is_success()).count();
    let detail = format!(
        "{failed} of {} operations do not fit revision {revision}; `outcomes` says why and what to send",
        operations.len()
    );
    let mut problem = Problem::new(ProblemKind::PatchRefused, detail);
    problem.outcomes = operations;
    problem.revision = Some(revision);
    problem.into()
}

async fn read<'a>(tree: &'a Tree, bucket: &Bucket, head: &Revision, wanted: &Wanted) -> Outcome<Head<'a>> {
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for path in patch_engine::paths_needed(wanted.operations.iter().flatten()) {
        let Some(entry) = tree.file(&path, head.revision)? else { continue };
        total += entry.size_bytes;
        if total > PATCH_TOUCHED_BYTES_MAX {
            return Err(Failure::too_large(
                "The files that a patch batch touches",
                PATCH_TOUCHED_BYTES_MAX,
                "bytes",
            ));
        }
        files.insert(path, file(tree, bucket, &entry).await?);
    }
    let mut bases = HashMap::new();
    for operation in wanted.operations.iter().flatten() {
        let PatchOperation::Edit { base_sha256: Some(sha256), .. } = operation else { continue };
        if bases.contains_key(sha256) {
            continue;
        }
        // Without its base an edit is placed by its text alone, so what is too much is left out.
        if let Some(blobs::Content::Inline(bytes)) = blobs::find(&tree.sql, *sha256)?
            && bytes.len() as u64 <= PATCH_BASE_BYTES_MAX.min(PATCH_TOUCHED_BYTES_MAX.saturating_sub(total))
        {
            total += bytes.len() as u64;
            bases.insert(*sha256, bytes);
        }
    }
    Ok(Head { tree, files, bases, rules: Rules { denied_paths: wanted.denied_paths.clone() } })
}

async fn file(tree: &Tree, bucket: &Bucket, entry: &ManifestEntry) -> Outcome<File> {
    let bytes = blobs::read(&tree.sql, bucket, entry.sha256).await?;
    let bytes = bytes.ok_or_else(|| Failure::internal("a blob of a revision", entry.sha256))?;
    Ok(File { bytes, mode: entry.mode })
}

/// `after` are the hashes of the new contents, in the order of the changes to the head.
pub fn files(
    tree: &Tree,
    head: &Revision,
    changes: &[FileChange],
    after: &[Option<Sha256>],
) -> Outcome<Vec<FileReceipt>> {
    let receipt = |(change, after): (&FileChange, &Option<Sha256>)| {
        let before = tree.file(&change.path, head.revision)?;
        let sha256_before = before.map(|entry| entry.sha256);
        Ok(FileReceipt { path: change.path.clone(), sha256_before, sha256_after: *after })
    };
    changes.iter().zip(after).map(receipt).collect()
}

pub async fn check(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    reading: Reading,
    wanted: Wanted,
) -> Outcome<PatchCheck> {
    let (head, plan) = plan(tree, bucket, wanted).await?;
    let hash = |change: &FileChange| change.after.as_ref().map(|file| Sha256::of(&file.bytes));
    let after: Vec<_> = plan.changes.iter().map(hash).collect();
    let diff = patch_engine::unified_diff(&plan.changes);
    Ok(PatchCheck {
        project_id,
        revision: head.revision,
        reading,
        files: files(tree, &head, &plan.changes, &after)?,
        operations: plan.operations,
        diff: (diff.len() <= PATCH_DIFF_BYTES_MAX).then_some(diff),
    })
}

/// From the files after it to those before it, which both revisions still hold.
pub async fn inverse(tree: &Tree, bucket: &Bucket, id: PatchBatchId) -> Outcome<PatchBatch> {
    let kept = apply::receipt(tree, id)?;
    let KeptReceipt { receipt, .. } =
        kept.ok_or_else(|| Failure::not_found("revision of patch batch", id))?;
    let mut changes = Vec::with_capacity(receipt.files.len());
    for FileReceipt { path, .. } in receipt.files {
        let at = async |revision| match tree.file(&path, revision)? {
            Some(entry) => file(tree, bucket, &entry).await.map(Some),
            None => Ok(None),
        };
        let (before, after) = (at(receipt.revision_after).await?, at(receipt.revision_before).await?);
        changes.push(FileChange { path, before, after });
    }
    Ok(patch_engine::diff(&changes))
}
