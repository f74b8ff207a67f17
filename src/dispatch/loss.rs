//! A lease is gone without a terminal event: the execution waits again, or ends.

use shared_contracts::dispatch::Lease;
use shared_contracts::executions::Outcome as Ended;
use shared_contracts::limits::LOST_RETRIES_MAX;
use worker::Env;

use super::commands::Queued;
use crate::bindings::Bindings;
use crate::executions::commands::{HubCommand, Identity};
use crate::executions::store;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::platform::object;

/// What became of a lost execution.
pub enum Aftermath {
    /// It waits again, as this.
    Waits(Queued),
    /// Nothing is left to do here.
    Ended,
}

/// 1. The hub fences the lease, so that nothing late is believed.
/// 2. Stopped by its owner: it ends as cancelled; lost too often: as failed; otherwise D1 has it queued
///    again.
///
/// Each step may be repeated.
pub async fn settle(
    env: &Env,
    mut queued: Queued,
    lease: Lease,
    reason: &str,
    stop: Option<&str>,
) -> Outcome<Aftermath> {
    let bindings = Bindings::open(env.clone())?;
    let hub = bindings.hub(lease.execution_id)?;
    let (execution_id, project_id, task_id) = (queued.execution_id, queued.project_id, queued.task_id);
    let identity = Identity { execution_id, project_id, task_id };
    let end = |outcome, reason| HubCommand::End { identity, generation: lease.generation, outcome, reason };
    let close = HubCommand::CloseGeneration { lease, reason: reason.to_owned() };
    object::call::<()>(&hub, &close).await?;
    // The end may be stored and acknowledged, and only D1 lack it: then it is recorded, and nothing runs again.
    if object::call::<bool>(&hub, &HubCommand::Record).await? {
        return Ok(Aftermath::Ended);
    }
    if let Some(stop) = stop {
        object::call::<()>(&hub, &end(Ended::Cancelled, stop.to_owned())).await?;
        return Ok(Aftermath::Ended);
    }
    if queued.lost_count >= LOST_RETRIES_MAX {
        let lost = queued.lost_count + 1;
        let reason = format!("Its machine was lost {lost} times, last: {reason}");
        object::call::<()>(&hub, &end(Ended::Failed, reason)).await?;
        return Ok(Aftermath::Ended);
    }
    queued.lost_count += 1;
    queued.generation = lease.generation;
    store::requeue(&bindings.db, lease, queued.lost_count, reason, now_ms()).await?;
    // D1 has it queued already: this is a second try.
    Ok(Aftermath::Waits(queued))
}
