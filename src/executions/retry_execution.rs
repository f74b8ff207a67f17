//! `retry_execution`: the same task, executed again in the same way, on the workspace as it is now.

use shared_contracts::executions::{CreateExecution, Execution, RequestedLimits};
use shared_contracts::ids::{ExecutionId, OwnerId};

use super::create_execution::create_execution;
use super::find;
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::projects;
use crate::tasks::TaskKey;

pub async fn retry_execution(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: ExecutionId,
    new_id: ExecutionId,
) -> Outcome<Execution> {
    let old = find(&bindings.db, owner_id, id).await?;
    if !old.state.is_ended() {
        let detail = format!("Execution {id} has not ended: it is {}; stop it first", old.state.as_str());
        return Err(Failure::wrong_state(detail));
    }
    let tier_min = projects::sandbox_tier_min(&bindings.db, old.project_id).await?;
    let limits = old.spec.limits;
    let input = CreateExecution {
        coding_agent: old.spec.coding_agent,
        command: old.spec.command,
        environment: old.spec.environment,
        limits: RequestedLimits {
            memory_mb: Some(limits.memory_mb),
            cpu_cores: Some(limits.cpu_cores),
            wall_seconds: Some(limits.wall_seconds),
            processes: Some(limits.processes),
            disk_mb: Some(limits.disk_mb),
            open_files: Some(limits.open_files),
            output_mb: Some(limits.output_mb),
        },
        artifacts: old.spec.artifacts,
        archive_artifacts: old.spec.archive_artifacts,
        priority: old.priority,
        // The project may have become stricter since.
        sandbox_tier: Some(old.spec.sandbox_tier.max(tier_min)),
        sandbox_provider: old.spec.sandbox_provider,
        image: old.spec.image,
        terminal: old.spec.terminal,
        secrets: old.spec.secrets,
        revision: None,
    };
    let key = TaskKey { owner_id, project_id: old.project_id, id: old.task_id };
    create_execution(bindings, key, new_id, input, Some(id)).await
}
