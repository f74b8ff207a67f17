//! `apply_patches`: a patch becomes a revision, all of it or nothing.

use shared_contracts::ids::{OwnerId, PatchBatchId};
use shared_contracts::patches::{DirectPatch, PatchBatch, PatchState, PatchSummary, ProposePatch};
use shared_contracts::patches::{KeptReceipt, Reading, WantedPatch};
use shared_contracts::problem::ProblemKind;

use super::happening::Happening;
use super::propose_patch::{Made, record, require_execution};
use super::sent::{Sent, sent, wanted};
use super::{check_patches, find, read, settle, store};
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::projects;
use crate::workspaces::commands::WorkspaceCommand;

/// A patch that is sent along is proposed under `id` and applied in one go.
pub async fn apply_patches(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
    patch: WantedPatch,
) -> Outcome<KeptReceipt> {
    match patch {
        WantedPatch::Proposed(id) => apply_proposed(bindings, owner_id, id).await,
        WantedPatch::Direct { patch, base_revision } => {
            apply_direct(bindings, owner_id, id, patch, base_revision.unwrap_or(0)).await
        }
    }
}

pub async fn apply_proposed(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
) -> Outcome<KeptReceipt> {
    let patch = find(&bindings.db, owner_id, id).await?;
    land(bindings, &patch, None, None).await
}

/// 1. The project is the owner's, and so is the execution that it is said to come from.
/// 2. The text is read; of one that cannot be, only the refusal is kept.
/// 3. It is recorded as a proposed batch; the same id a second time is the same batch.
/// 4. That is applied.
async fn apply_direct(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
    patch: DirectPatch,
    base_revision: u64,
) -> Outcome<KeptReceipt> {
    projects::require(&bindings.db, owner_id, patch.project_id).await?;
    require_execution(bindings, owner_id, patch.project_id, patch.origin.execution_id, None).await?;
    let Sent { operations, reading } = sent(patch.body, patch.format)?;
    if operations.iter().any(Result::is_err) {
        let begun_ms = now_ms();
        let wanted = wanted(bindings, None, patch.project_id, base_revision, operations).await?;
        let refusal = check_patches::check(bindings, patch.project_id, reading.clone(), wanted).await;
        let Err(Failure::Problem(problem)) = refusal else {
            return refusal.and(Err(Failure::internal("an unreadable patch", "it was planned")));
        };
        if problem.kind == ProblemKind::PatchRefused {
            let happening = Happening::unreadable(id, &problem, now_ms().saturating_sub(begun_ms))?
                .to(patch.origin.execution_id, || format!("A patch is refused: {}", problem.detail));
            settle::unreadable(bindings, patch.project_id, &patch.origin, reading.format, happening).await?;
        }
        return Err(Failure::Problem(problem));
    }
    let input = ProposePatch {
        id: Some(id),
        project_id: patch.project_id,
        execution_id: patch.origin.execution_id,
        title: patch.title,
        base_revision,
        batch: PatchBatch { operations: operations.into_iter().flatten().collect() },
    };
    let made = Made { origin: patch.origin, format: reading.format, to_apply: true, ..Made::default() };
    let (patch, is_new) = record(bindings, owner_id, id, &input, made).await?;
    let since_ms = is_new.then_some(patch.created_at_ms);
    land(bindings, &patch, Some((input.batch, reading)), since_ms).await
}

/// 1. Applied already, its receipt is the answer; rejected, it stays so.
/// 2. D1 has that an application began: if this Worker dies, the reconciler asks the Workspace what came of it.
/// 3. The Workspace applies it or refuses it whole.
/// 4. The record and its events follow in one transaction, then the watchers of its execution.
async fn land(
    bindings: &Bindings,
    patch: &PatchSummary,
    sent: Option<(PatchBatch, Reading)>,
    since_ms: Option<u64>,
) -> Outcome<KeptReceipt> {
    if let Some(kept) = store::receipt(&bindings.db, patch.id).await? {
        return Ok(kept);
    }
    if patch.state == PatchState::Rejected {
        return Err(Failure::wrong_state(format!("Patch batch {} was rejected; propose it anew", patch.id)));
    }
    let (batch, reading) = match sent {
        Some(sent) => sent,
        None => {
            let reading = Reading { format: patch.format, notes: Vec::new() };
            (read(&bindings.blobs()?, patch).await?, reading)
        }
    };
    let since_ms = match since_ms {
        Some(since_ms) => since_ms,
        None => {
            let now_ms = now_ms();
            store::begin(&bindings.db, patch.id, now_ms).await?;
            now_ms
        }
    };
    let operations = batch.operations.into_iter().map(Ok).collect();
    let command = WorkspaceCommand::Apply {
        project_id: patch.project_id,
        patch_batch_id: patch.id,
        title: patch.title.clone(),
        reading,
        wanted: wanted(bindings, None, patch.project_id, patch.base_revision, operations).await?,
    };
    match object::call(&bindings.workspace(patch.project_id)?, &command).await {
        Ok(kept) => settle::applied(bindings, patch, kept, since_ms).await,
        Err(Failure::Problem(problem)) if problem.kind == ProblemKind::PatchRefused => {
            settle::refused(bindings, patch, &problem, since_ms).await?;
            Err(Failure::Problem(problem))
        }
        Err(failure) => Err(failure),
    }
}
