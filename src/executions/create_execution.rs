//! `create_execution`: a task is executed.

use shared_contracts::executions::{CreateExecution, Execution, ExecutionSpec, ExecutionState, Limits};
use shared_contracts::ids::ExecutionId;
use shared_contracts::tasks::Task;
use shared_contracts::workspaces::Revision;

use super::commands::{HubCommand, Identity};
use super::{ceilings, store};
use crate::bindings::Bindings;
use crate::dispatch::commands::{DispatchCommand, Queued};
use crate::platform::clock::now_ms;
use crate::platform::d1::parse;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::tasks::{self, TaskKey};
use crate::workspaces::commands::WorkspaceCommand;

/// 1. The task is the owner's.
/// 2. The workspace has the revision.
/// 3. Limits are admitted: what is asked for stays below the ceilings of the settings.
/// 4. One transaction takes the task and records the execution; a task that is not `todo` is refused.
/// 5. Its log begins.
/// 6. It is queued.
///
/// After 4 nothing is lost: what 5 or 6 could not do, the reconciler does.
pub async fn create_execution(
    bindings: &Bindings,
    key: TaskKey,
    id: ExecutionId,
    input: CreateExecution,
    retry_of: Option<ExecutionId>,
) -> Outcome<Execution> {
    let task: Task = parse(&tasks::get_task(&bindings.db, key).await?)?;
    let head = WorkspaceCommand::Revision { revision: input.revision };
    let revision: Revision = object::call(&bindings.workspace(key.project_id)?, &head).await?;
    let settings = store::settings(&bindings.db).await?;
    let limits = ceilings::admit(&settings, &input.limits)?;
    let execution = queued(key, id, input, retry_of, limits, revision.revision);
    if !store::insert(&bindings.db, &execution).await? {
        let state = task.state.as_str();
        let detail = format!("Task {} is {state}; only a task that is todo can be executed", key.id);
        return Err(Failure::wrong_state(detail));
    }
    let identity = Identity { execution_id: id, project_id: key.project_id, task_id: key.id };
    object::call::<()>(&bindings.hub(id)?, &HubCommand::Open { identity }).await?;
    enqueue(bindings, &execution, &settings).await?;
    Ok(execution)
}

fn queued(
    key: TaskKey,
    id: ExecutionId,
    input: CreateExecution,
    retry_of: Option<ExecutionId>,
    limits: Limits,
    base_revision: u64,
) -> Execution {
    Execution {
        id,
        project_id: key.project_id,
        task_id: key.id,
        owner_id: key.owner_id,
        state: ExecutionState::Queued,
        generation: 0,
        priority: input.priority,
        spec: ExecutionSpec {
            coding_agent: input.coding_agent,
            command: input.command,
            environment: input.environment,
            limits,
            artifacts: input.artifacts,
            sandbox_tier: input.sandbox_tier,
            base_revision,
        },
        container_agent_id: None,
        queue_position: None,
        stop_requested: false,
        exit_code: None,
        exit_signal: None,
        reason: None,
        patch_batch_id: None,
        retry_of,
        lost_count: 0,
        memory_peak_bytes: None,
        cpu_ms: None,
        event_count: None,
        created_at_ms: now_ms(),
        started_at_ms: None,
        ended_at_ms: None,
    }
}

async fn enqueue(bindings: &Bindings, execution: &Execution, settings: &store::Settings) -> Outcome<()> {
    let queued = Queued {
        execution_id: execution.id,
        project_id: execution.project_id,
        task_id: execution.task_id,
        owner_id: execution.owner_id,
        priority: execution.priority,
        sandbox_tier: execution.spec.sandbox_tier,
        memory_mb: execution.spec.limits.memory_mb,
        cpu_cores: execution.spec.limits.cpu_cores,
        generation: execution.generation,
        lost_count: execution.lost_count,
        owner_concurrency: concurrency(settings),
    };
    object::call(&bindings.dispatcher()?, &DispatchCommand::Enqueue { queued }).await
}

/// How many executions of one owner run at once.
pub fn concurrency(settings: &store::Settings) -> u32 {
    settings
        .number("sandbox.max_concurrent")
        .unwrap_or(shared_contracts::limits::CONCURRENT_EXECUTIONS_PER_OWNER_DEFAULT)
}
