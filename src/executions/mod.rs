//! An execution: one try at a task by one coding agent in one sandbox. Its states are drawn at
//! [`shared_contracts::executions::ExecutionState`]; the columns that move are `executions.state` and `generation`.
//!
//! Operations: `create_execution`, `list_executions`, `get_execution`, `stop_execution`, `retry_execution`; its
//! events: `list_events`, `search_events`, `stream_events`, `watch_events`, `append_events`.
//! The events live in one [`hub::ExecutionHub`] per execution; this module and its `store` keep the record in D1.

pub mod append;
pub mod ceilings;
pub mod commands;
pub mod create_execution;
pub mod finish;
pub mod forget;
pub mod generations;
pub mod hub;
pub mod log;
pub mod retry_execution;
pub mod stop_execution;
pub mod store;

pub use store::{Owned, Settings};

use shared_contracts::dispatch::Lease;
use shared_contracts::executions::{Execution, ExecutionState};
use shared_contracts::ids::{ExecutionId, OwnerId};
use shared_contracts::page::PageQuery;
use shared_contracts::problem::ProblemKind;

use crate::bindings::Bindings;
use crate::dispatch::commands::DispatchCommand;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::tasks::{self, TaskKey};

pub async fn list_executions(db: &Db, key: TaskKey, page: &PageQuery) -> Outcome<String> {
    tasks::get_task(db, key).await?;
    store::list(db, key.id, page).await
}

/// The defaults and ceilings of `sandbox.*`.
pub async fn settings(db: &Db) -> Outcome<Settings> {
    store::settings(db).await
}

/// Those of these executions that are the owner's, with their projects and tasks.
pub async fn owned(db: &Db, owner_id: OwnerId, ids: &[ExecutionId]) -> Outcome<Vec<Owned>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    store::owned(db, owner_id, ids).await
}

/// The record of the owner's execution.
pub async fn find(db: &Db, owner_id: OwnerId, id: ExecutionId) -> Outcome<Execution> {
    store::get(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("execution", id))
}

/// For what a container agent does under a lease: fails unless the lease stands and the execution has not ended.
pub async fn require_held(db: &Db, lease: Lease) -> Outcome<()> {
    if store::is_held(db, lease).await? {
        return Ok(());
    }
    let id = lease.execution_id;
    let detail = format!("The lease on execution {id} is gone, or the execution has ended");
    Err(Failure::problem(ProblemKind::Conflict, detail))
}

/// The record, and while it waits its place in the queue.
pub async fn get_execution(bindings: &Bindings, owner_id: OwnerId, id: ExecutionId) -> Outcome<Execution> {
    let mut execution = find(&bindings.db, owner_id, id).await?;
    if execution.state == ExecutionState::Queued {
        let command = DispatchCommand::QueuePosition { execution_id: id };
        execution.queue_position = object::call(&bindings.dispatcher()?, &command).await?;
    }
    Ok(execution)
}
