//! `propose_patch` and `propose_execution_patch`: a batch is kept until someone decides.

use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{OwnerId, PatchBatchId};
use shared_contracts::patches::{PatchState, PatchSummary, ProposePatch};

use super::{find, key, store};
use crate::bindings::Bindings;
use crate::executions;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::projects;

/// 1. The project is the owner's, the execution of that project, and under `lease` if one is given.
/// 2. The operations go to R2.
/// 3. The record stands; the same id a second time is the same proposal.
pub async fn propose_patch(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
    lease: Option<Lease>,
    input: ProposePatch,
) -> Outcome<PatchSummary> {
    projects::require(&bindings.db, owner_id, input.project_id).await?;
    if let Some(execution_id) = input.execution_id {
        let execution = executions::find(&bindings.db, owner_id, execution_id).await?;
        if execution.project_id != input.project_id {
            return Err(Failure::not_found("execution", execution_id));
        }
    }
    if let Some(lease) = lease {
        executions::require_held(&bindings.db, lease).await?;
    }
    let json = serde_json::to_string(&input.batch)
        .map_err(|error| Failure::internal("writing a patch batch", error))?;
    let summary = PatchSummary {
        id,
        project_id: input.project_id,
        execution_id: input.execution_id,
        title: input.title,
        state: PatchState::Proposed,
        base_revision: input.base_revision,
        operation_count: u32::try_from(input.batch.operations.len()).unwrap_or(u32::MAX),
        size_bytes: json.len() as u64,
        revision_after: None,
        reason: None,
        created_at_ms: now_ms(),
        decided_at_ms: None,
    };
    if store::exists(&bindings.db, id).await? {
        // Another owner's id, too, is answered as absent.
        return find(&bindings.db, owner_id, id).await;
    }
    bindings.blobs()?.put(key(&summary), json).execute().await?;
    store::propose(&bindings.db, &summary).await?;
    find(&bindings.db, owner_id, id).await
}
