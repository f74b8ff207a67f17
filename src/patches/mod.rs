//! Patch batches: proposed, then applied or rejected. `proposed → applied | rejected | conflicted`, and a conflicted
//! one may be applied again once the workspace moved. The column is `patch_batches.state`; the operations are in R2;
//! what was applied is the Workspace's, which answers the same receipt however often it is asked. An applied batch is
//! taken back by another one, `patch_batches.reverted_by`. A patch that is sent along with the wish to apply it is
//! proposed and applied in one go.
//!
//! Operations: `propose_patch`, `propose_execution_patch`, `list_patches`, `get_patch`, `apply_patches`,
//! `check_patches`, `get_receipt`, `list_conflicts`, `revert_patch`, `reject_patch`. What happens to a batch leaves one
//! patch event each time.

pub mod apply_patches;
pub mod check_patches;
pub mod happening;
pub mod propose_patch;
mod radar;
pub mod revert_patch;
mod sent;
pub mod settle;
pub mod store;

use shared_contracts::ids::{OwnerId, PatchBatchId, ProjectId};
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{KeptReceipt, PatchConflict, PatchEventKind};
use shared_contracts::patches::{Patch, PatchBatch, PatchSummary, RejectPatch};
use worker::Bucket;

use self::happening::Happening;
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::d1::{Db, parse};
use crate::platform::failure::{Failure, Outcome};
use crate::projects;

pub async fn list_patches(
    db: &Db,
    owner_id: OwnerId,
    project_id: ProjectId,
    page: &PageQuery,
) -> Outcome<String> {
    projects::require(db, owner_id, project_id).await?;
    store::list(db, project_id, page).await
}

pub async fn find(db: &Db, owner_id: OwnerId, id: PatchBatchId) -> Outcome<PatchSummary> {
    store::get(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("patch batch", id))
}

pub async fn get_patch(bindings: &Bindings, owner_id: OwnerId, id: PatchBatchId) -> Outcome<Patch> {
    let summary = find(&bindings.db, owner_id, id).await?;
    let batch = read(&bindings.blobs()?, &summary).await?;
    let receipt = store::receipt(&bindings.db, id).await?.map(|kept| kept.receipt);
    Ok(Patch { summary, batch, receipt })
}

pub async fn get_receipt(db: &Db, owner_id: OwnerId, id: PatchBatchId) -> Outcome<KeptReceipt> {
    let state = find(db, owner_id, id).await?.state.as_str();
    let kept = store::receipt(db, id).await?;
    kept.ok_or_else(|| {
        Failure::wrong_state(format!("Patch batch {id} is {state}, and only applying it gives a receipt"))
    })
}

pub async fn list_conflicts(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
) -> Outcome<Vec<PatchConflict>> {
    radar::conflicts(bindings, &find(&bindings.db, owner_id, id).await?).await
}

/// Where the operations of a project's batches are in R2.
pub fn prefix(project_id: ProjectId) -> String {
    format!("patches/{project_id}/")
}

fn key(patch: &PatchSummary) -> String {
    format!("{}{}.json", prefix(patch.project_id), patch.id)
}

async fn read(bucket: &Bucket, patch: &PatchSummary) -> Outcome<PatchBatch> {
    let object = bucket.get(key(patch)).execute().await?;
    let body = object.as_ref().and_then(worker::Object::body);
    let body =
        body.ok_or_else(|| Failure::internal("a patch batch", format!("{} is not in R2", patch.id)))?;
    parse(&body.text().await?)
}

pub async fn reject_patch(
    db: &Db,
    owner_id: OwnerId,
    id: PatchBatchId,
    input: RejectPatch,
) -> Outcome<PatchSummary> {
    let patch = find(db, owner_id, id).await?;
    let happening = Happening::new(id, PatchEventKind::Rejected, &input.reason, (0, now_ms()))?;
    if !store::reject(db, id, &input.reason, happening).await? {
        return Err(Failure::wrong_state(format!(
            "Patch batch {id} is {} and stays so",
            patch.state.as_str()
        )));
    }
    find(db, owner_id, id).await
}
