//! `revert_patch`: an applied batch is taken back by its inverse, a batch of its own.

use shared_contracts::ids::{OwnerId, PatchBatchId};
use shared_contracts::limits::NAME_CHARS_MAX;
use shared_contracts::patches::{KeptReceipt, ProposePatch};

use super::apply_patches::apply_proposed;
use super::propose_patch::{Made, record};
use super::{find, store};
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::workspaces::commands::WorkspaceCommand;

/// 1. It was applied, and changed something.
/// 2. The inverse is made from the two revisions and recorded, once.
/// 3. That is applied, or refused with its reasons, as any other batch; with it the record says what it took back.
pub async fn revert_patch(bindings: &Bindings, owner_id: OwnerId, id: PatchBatchId) -> Outcome<KeptReceipt> {
    let patch = find(&bindings.db, owner_id, id).await?;
    let kept = store::receipt(&bindings.db, id).await?.ok_or_else(|| {
        let state = patch.state.as_str();
        Failure::wrong_state(format!("Patch batch {id} is {state}; only an applied one can be reverted"))
    })?;
    let inverse_id = kept.inverse_patch_batch_id.ok_or_else(|| {
        Failure::wrong_state(format!("Patch batch {id} changed nothing, so there is nothing to take back"))
    })?;
    if !store::exists(&bindings.db, inverse_id).await? {
        let command = WorkspaceCommand::Inverse { patch_batch_id: id };
        let title = format!("Revert: {}", patch.title);
        let input = ProposePatch {
            id: Some(inverse_id),
            project_id: patch.project_id,
            execution_id: None,
            title: title.chars().take(NAME_CHARS_MAX).collect(),
            base_revision: kept.receipt.revision_after,
            batch: object::call(&bindings.workspace(patch.project_id)?, &command).await?,
        };
        let made = Made { reverts: Some(id), ..Made::default() };
        record(bindings, owner_id, inverse_id, &input, made).await?;
    }
    apply_proposed(bindings, owner_id, inverse_id).await
}
