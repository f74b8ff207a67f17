//! Patch batches.

use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::PATCH_BODY_BYTES_MAX;
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{PatchRequest, WantedPatch};
use shared_contracts::patches::{ProposePatch, RejectPatch};
use worker::Response;

use super::owned::{claims, owner, reader};
use super::text;
use crate::entry::call::{Call, json, json_text};
use crate::entry::idempotency::once;
use crate::patches::{
    self, apply_patches as apply, check_patches as check, propose_patch as propose, revert_patch as revert,
};
use crate::platform::failure::{Failure, Outcome};

pub async fn list_patches(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = call.parameter("project_id")?;
    json_text(200, patches::list_patches(&call.bindings.db, owner(&call)?, id, &page).await?)
}

pub async fn propose_patch(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<ProposePatch>(PATCH_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = input.id.unwrap_or(PatchBatchId::new(seed.at_ms, seed.bits()));
        text(&propose::propose_patch(&call.bindings, owner_id, id, None, input).await?)
    })
    .await
}

pub async fn propose_execution_patch(call: Call) -> Outcome<Response> {
    let claims = claims(&call)?;
    let (mut input, _) = call.json_of::<ProposePatch>(PATCH_BODY_BYTES_MAX).await?;
    if input.project_id != claims.project_id {
        return Err(Failure::not_found("project", input.project_id));
    }
    input.execution_id = Some(claims.lease.execution_id);
    let id = input.id.ok_or_else(|| Failure::invalid("id", "must be made by the container agent"))?;
    json(201, &propose::propose_patch(&call.bindings, claims.owner_id, id, Some(claims.lease), input).await?)
}

pub async fn apply_patches(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<PatchRequest>(PATCH_BODY_BYTES_MAX).await?;
    let patch = wanted(input)?;
    once(&call, &body, async |seed| {
        let id = PatchBatchId::new(seed.at_ms, seed.bits());
        text(&apply::apply_patches(&call.bindings, owner_id, id, patch).await?)
    })
    .await
}

pub async fn check_patches(call: Call) -> Outcome<Response> {
    let (owner_id, within) = reader(&call.bindings, &call.caller).await?;
    let (input, _) = call.json_of::<PatchRequest>(PATCH_BODY_BYTES_MAX).await?;
    json(200, &check::check_patches(&call.bindings, owner_id, within, wanted(input)?).await?)
}

pub fn wanted(input: PatchRequest) -> Outcome<WantedPatch> {
    input.wanted().map_err(|fault| Failure::invalid(&fault.field, fault.message))
}

pub async fn get_patch(call: Call) -> Outcome<Response> {
    json(200, &patches::get_patch(&call.bindings, owner(&call)?, call.parameter("patch_batch_id")?).await?)
}

pub async fn get_receipt(call: Call) -> Outcome<Response> {
    let id = call.parameter("patch_batch_id")?;
    json(200, &patches::get_receipt(&call.bindings.db, owner(&call)?, id).await?)
}

pub async fn list_conflicts(call: Call) -> Outcome<Response> {
    let id = call.parameter("patch_batch_id")?;
    json(200, &patches::list_conflicts(&call.bindings, owner(&call)?, id).await?)
}

pub async fn revert_patch(call: Call) -> Outcome<Response> {
    let id = call.parameter("patch_batch_id")?;
    json(200, &revert::revert_patch(&call.bindings, owner(&call)?, id).await?)
}

pub async fn reject_patch(call: Call) -> Outcome<Response> {
    let input: RejectPatch = call.json().await?;
    let id = call.parameter("patch_batch_id")?;
    json(200, &patches::reject_patch(&call.bindings.db, owner(&call)?, id, input).await?)
}
