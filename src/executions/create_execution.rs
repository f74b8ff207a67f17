//! `create_execution`: a task is executed.

use shared_contracts::executions::{CreateExecution, Execution, ExecutionSpec, ExecutionState, Limits};
use shared_contracts::ids::ExecutionId;
use shared_contracts::sandboxes::SandboxTier;
use shared_contracts::tasks::Task;
use shared_contracts::workspaces::Revision;

use super::commands::{HubCommand, Identity};
use super::{ceilings, store};
use crate::bindings::Bindings;
use crate::container_agents;
use crate::dispatch::commands::{DispatchCommand, Queued};
use crate::platform::clock::now_ms;
use crate::platform::d1::parse;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::projects;
use crate::sandboxes::fit;
use crate::secrets;
use crate::tasks::{self, TaskKey};
use crate::workspaces::commands::WorkspaceCommand;

/// 1. The task is the owner's.
/// 2. The workspace has the revision.
/// 3. Limits are admitted: what is asked for stays below the ceilings of the settings.
/// 4. The sandbox is strong enough for the project, the project has the secrets, and if anybody is connected that could
///    run it, somebody has such a sandbox.
/// 5. One transaction takes the task and records the execution; a task that is not `todo` is refused.
/// 6. Its log begins.
/// 7. It is queued.
///
/// After 5 nothing is lost: what 6 or 7 could not do, the reconciler does.
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
    let priority = input.priority;
    let tier_min = projects::sandbox_tier_min(&bindings.db, key.project_id).await?;
    let sandbox_tier = tier(input.sandbox_tier, tier_min)?;
    secrets::admit(&bindings.db, key.project_id, &input.secrets, &input.environment).await?;
    let spec = spec(input, limits, sandbox_tier, revision.revision);
    let machines = container_agents::usable(&bindings.db, key.owner_id).await?;
    fit::require_fitting(&machines, &spec.sandbox_need())?;
    let execution = queued(key, id, priority, spec, retry_of);
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

/// As strong as was asked for, which is at least what the project wants.
fn tier(wanted: Option<SandboxTier>, tier_min: SandboxTier) -> Outcome<SandboxTier> {
    match wanted {
        None => Ok(SandboxTier::default().max(tier_min)),
        Some(wanted) if wanted >= tier_min => Ok(wanted),
        Some(wanted) => {
            let message = format!(
                "`{}` is weaker than `{}`, the weakest that this project allows; ask for that, or change the \
                 project's `sandbox_tier_min`",
                wanted.as_str(),
                tier_min.as_str()
            );
            Err(Failure::invalid("sandbox_tier", message))
        }
    }
}

fn spec(
    input: CreateExecution,
    limits: Limits,
    sandbox_tier: SandboxTier,
    base_revision: u64,
) -> ExecutionSpec {
    ExecutionSpec {
        coding_agent: input.coding_agent,
        command: input.command,
        environment: input.environment,
        limits,
        artifacts: input.artifacts,
        archive_artifacts: input.archive_artifacts,
        sandbox_tier,
        sandbox_provider: input.sandbox_provider,
        image: input.image,
        terminal: input.terminal,
        secrets: input.secrets,
        base_revision,
    }
}

fn queued(
    key: TaskKey,
    id: ExecutionId,
    priority: u8,
    spec: ExecutionSpec,
    retry_of: Option<ExecutionId>,
) -> Execution {
    Execution {
        id,
        project_id: key.project_id,
        task_id: key.id,
        owner_id: key.owner_id,
        state: ExecutionState::Queued,
        generation: 0,
        priority,
        spec,
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
        sandbox_provider: execution.spec.sandbox_provider,
        image: execution.spec.image.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_as_strong_as_the_project_wants() {
        use SandboxTier::{Engine, Limited, None as Nothing, Strong};
        let given =
            |wanted, tier_min| tier(wanted, tier_min).map_err(|failure| Box::new(failure.into_problem()));
        assert_eq!(given(None, Nothing), Ok(Limited));
        assert_eq!(given(None, Strong), Ok(Strong));
        assert_eq!(given(Some(Nothing), Nothing), Ok(Nothing));
        assert_eq!(given(Some(Strong), Limited), Ok(Strong));
        let problem = given(Some(Engine), Limited).unwrap_err();
        assert_eq!(problem.faults[0].field, "sandbox_tier");
        let message = &problem.faults[0].message;
        assert!(message.contains("`limited`") && message.contains("`sandbox_tier_min`"), "{message}");
    }
}
