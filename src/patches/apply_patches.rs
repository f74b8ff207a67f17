//! `apply_patches`: a proposed batch becomes a revision, all of it or nothing.

use shared_contracts::ids::{OwnerId, PatchBatchId};
use shared_contracts::patches::{PatchState, PatchSummary, Receipt};
use shared_contracts::problem::ProblemKind;

use super::{find, read, store};
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::workspaces::commands::WorkspaceCommand;

/// 1. The batch is the owner's and not rejected; applied already, its receipt is the answer.
/// 2. The Workspace applies it or refuses it whole.
/// 3. The record follows, once: if this fails, a second call finds the Workspace's receipt.
pub async fn apply_patches(bindings: &Bindings, owner_id: OwnerId, id: PatchBatchId) -> Outcome<Receipt> {
    let patch = find(&bindings.db, owner_id, id).await?;
    if let Some(receipt) = store::receipt(&bindings.db, id).await? {
        return Ok(receipt);
    }
    if patch.state == PatchState::Rejected {
        return Err(Failure::wrong_state(format!("Patch batch {id} was rejected; propose it anew")));
    }
    let batch = read(&bindings.blobs()?, &patch).await?;
    let begun_ms = now_ms();
    let command = WorkspaceCommand::Apply {
        project_id: patch.project_id,
        patch_batch_id: id,
        title: patch.title.clone(),
        batch,
    };
    match object::call::<Receipt>(&bindings.workspace(patch.project_id)?, &command).await {
        Ok(receipt) => {
            store::applied(&bindings.db, &patch, &receipt, now_ms().saturating_sub(begun_ms)).await?;
            Ok(receipt)
        }
        Err(failure) => {
            refused(bindings, &patch, &failure, begun_ms).await?;
            Err(failure)
        }
    }
}

async fn refused(bindings: &Bindings, patch: &PatchSummary, failure: &Failure, begun_ms: u64) -> Outcome<()> {
    match failure {
        Failure::Problem(problem) if problem.kind == ProblemKind::PatchRefused => {
            let now = now_ms();
            store::refused(&bindings.db, patch, problem, now.saturating_sub(begun_ms), now).await
        }
        _ => Ok(()),
    }
}
