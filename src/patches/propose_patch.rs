//! `propose_patch` and `propose_execution_patch`: a batch is kept until someone decides.

use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ExecutionId, OwnerId, PatchBatchId, ProjectId};
use shared_contracts::patches::{PatchEventKind, ProposedPatch};
use shared_contracts::patches::{PatchFormat, PatchOrigin, PatchState, PatchSummary, ProposePatch};

use super::happening::Happening;
use super::radar::{conflicts, find_touches};
use super::{find, key, store};
use crate::bindings::Bindings;
use crate::executions;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::projects;

/// 1. It is recorded.
/// 2. Which lines it changes is learnt from the Workspace; where it does not fit, the answer says why.
/// 3. Others that wait and change the same lines are found.
pub async fn propose_patch(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
    lease: Option<Lease>,
    input: ProposePatch,
) -> Outcome<ProposedPatch> {
    let made = Made { lease, ..Made::default() };
    let (summary, is_new) = record(bindings, owner_id, id, &input, made).await?;
    let outcomes = if is_new { find_touches(bindings, &summary, input.batch).await? } else { Vec::new() };
    let conflicts = conflicts(bindings, &summary).await?;
    Ok(ProposedPatch { summary, conflicts, outcomes })
}

/// The execution is the owner's and of that project, and under `lease` if one is given.
pub async fn require_execution(
    bindings: &Bindings,
    owner_id: OwnerId,
    project_id: ProjectId,
    execution_id: Option<ExecutionId>,
    lease: Option<Lease>,
) -> Outcome<()> {
    let Some(execution_id) = execution_id else { return Ok(()) };
    let execution = executions::find(&bindings.db, owner_id, execution_id).await?;
    if execution.project_id != project_id {
        return Err(Failure::not_found("execution", execution_id));
    }
    if let Some(lease) = lease {
        executions::require_held(&bindings.db, lease).await?;
    }
    Ok(())
}

/// How a batch came about.
#[derive(Default)]
pub struct Made {
    /// Under which its execution runs, if it proposes itself.
    pub lease: Option<Lease>,
    pub origin: PatchOrigin,
    pub format: Option<PatchFormat>,
    pub reverts: Option<PatchBatchId>,
    /// It is applied at once.
    pub to_apply: bool,
}

/// 1. The project is the owner's, the execution of that project, and under its lease if one is given.
/// 2. The operations go to R2.
/// 3. The record stands; the same id a second time is the same proposal. Answers whether it is new.
pub async fn record(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: PatchBatchId,
    input: &ProposePatch,
    made: Made,
) -> Outcome<(PatchSummary, bool)> {
    projects::require(&bindings.db, owner_id, input.project_id).await?;
    require_execution(bindings, owner_id, input.project_id, input.execution_id, made.lease).await?;
    let json = serde_json::to_string(&input.batch)
        .map_err(|error| Failure::internal("writing a patch batch", error))?;
    let summary = PatchSummary {
        id,
        project_id: input.project_id,
        execution_id: input.execution_id,
        title: input.title.clone(),
        state: PatchState::Proposed,
        base_revision: input.base_revision,
        operation_count: u32::try_from(input.batch.operations.len()).unwrap_or(u32::MAX),
        size_bytes: json.len() as u64,
        format: made.format,
        reverts: made.reverts,
        revision_after: None,
        reason: None,
        created_at_ms: now_ms(),
        decided_at_ms: None,
    };
    if store::exists(&bindings.db, id).await? {
        // Another owner's id, too, is answered as absent.
        return Ok((find(&bindings.db, owner_id, id).await?, false));
    }
    bindings.blobs()?.put(key(&summary), json).execute().await?;
    let times = (0, summary.created_at_ms);
    let happening = Happening::new(id, PatchEventKind::Proposed, &summary.operation_count, times)?;
    store::propose(&bindings.db, &summary, &made.origin, made.to_apply, happening).await?;
    Ok((find(&bindings.db, owner_id, id).await?, true))
}
