//! `reconcile`, every five minutes: compares D1 with the Dispatcher and the Workspaces and repairs what a crash left
//! between them, removes what deleted projects left outside of D1, and seals anew what an old key sealed.
//!
//! No input, idempotent, bounded. Only what has not moved for a minute is looked at, so it never races an operation
//! that is still under way.

use shared_contracts::dispatch::Lease;
use shared_contracts::executions::ExecutionState;
use worker::Env;

use super::idempotency;
use crate::bindings::Bindings;
use crate::container_agents;
use crate::deletions;
use crate::dispatch::commands::{DispatchCommand, Queued};
use crate::executions::commands::{HubCommand, Identity};
use crate::executions::create_execution::concurrency;
use crate::executions::store::{self, Unmoved};
use crate::patches::settle;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::platform::object;
use crate::secrets;

/// Executions looked at in one pass.
const BATCH: u32 = 100;
/// What moved within this time is somebody else's to move on.
const SETTLED_MS: u64 = 60_000;

pub async fn reconcile(env: Env) {
    let pass = async {
        let bindings = Bindings::open(env)?;
        if let Err(failure) = idempotency::forget(&bindings.db).await {
            failure.log("reconcile");
        }
        if let Err(failure) = deletions::work_off(&bindings).await {
            failure.log("reconcile");
        }
        if let Err(failure) = settle::repair(&bindings).await {
            failure.log("reconcile");
        }
        if let Err(failure) = container_agents::repair(&bindings).await {
            failure.log("reconcile");
        }
        match secrets::reseal(&bindings).await {
            Ok(0) => {}
            Ok(resealed) => worker::console_log!("reconcile: {resealed} secrets sealed by the present key"),
            Err(failure) => failure.log("reconcile"),
        }
        repair_executions(&bindings).await
    };
    match pass.await {
        Ok(0) => {}
        Ok(repaired) => worker::console_log!("reconcile: {repaired} executions repaired"),
        Err(failure) => failure.log("reconcile"),
    }
}

/// What D1 believes to be active and the Dispatcher does not know: it waits again, or its end is recorded.
async fn repair_executions(bindings: &Bindings) -> Outcome<usize> {
    let unmoved = store::unmoved(&bindings.db, now_ms().saturating_sub(SETTLED_MS), BATCH).await?;
    if unmoved.is_empty() {
        return Ok(0);
    }
    let executions = unmoved.iter().map(|execution| execution.id).collect();
    let unknown: Vec<_> =
        object::call(&bindings.dispatcher()?, &DispatchCommand::Unknown { executions }).await?;
    let settings = store::settings(&bindings.db).await?;
    let mut repaired = 0;
    for execution in &unmoved {
        store::looked_at(&bindings.db, execution.id, now_ms()).await?;
        if !unknown.contains(&execution.id) {
            continue;
        }
        match repair(bindings, execution, concurrency(&settings)).await {
            Ok(()) => repaired += 1,
            // One that cannot be repaired now does not hold up the others.
            Err(failure) => failure.log("reconcile"),
        }
    }
    Ok(repaired)
}

/// 1. Its log has ended: that is recorded, and nothing else.
/// 2. It was to be stopped: it ends.
/// 3. It had a lease that nobody knows: the lease is fenced.
/// 4. It waits again.
async fn repair(bindings: &Bindings, execution: &Unmoved, owner_concurrency: u32) -> Outcome<()> {
    let hub = bindings.hub(execution.id)?;
    let Unmoved { id: execution_id, project_id, task_id, generation, .. } = *execution;
    let identity = Identity { execution_id, project_id, task_id };
    object::call::<()>(&hub, &HubCommand::Open { identity: identity.clone() }).await?;
    if object::call::<bool>(&hub, &HubCommand::Record).await? {
        return Ok(());
    }
    if execution.stop_requested {
        let (outcome, reason) =
            (shared_contracts::executions::Outcome::Cancelled, "Stopped by its owner".into());
        return object::call(&hub, &HubCommand::End { identity, generation, outcome, reason }).await;
    }
    let mut lost_count = execution.lost_count;
    if execution.state != ExecutionState::Queued {
        let reason = "The plane lost sight of its machine";
        let lease = Lease { execution_id, generation };
        lost_count += 1;
        let close = HubCommand::CloseGeneration { lease, reason: reason.into() };
        object::call::<()>(&hub, &close).await?;
        store::requeue(&bindings.db, lease, lost_count, reason, now_ms()).await?;
    }
    let queued = Queued {
        execution_id,
        project_id,
        task_id,
        owner_id: execution.owner_id,
        priority: execution.priority,
        sandbox_tier: execution.sandbox_tier,
        sandbox_provider: execution.sandbox_provider,
        image: execution.image.clone(),
        memory_mb: execution.memory_mb,
        cpu_cores: execution.cpu_cores,
        generation,
        lost_count,
        owner_concurrency,
    };
    object::call(&bindings.dispatcher()?, &DispatchCommand::Enqueue { queued }).await
}
