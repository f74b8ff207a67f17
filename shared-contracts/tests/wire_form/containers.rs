//! Sandboxes as people choose, see and steer them.

use shared_contracts::containers::*;
use shared_contracts::executions::Limits;
use shared_contracts::ids::*;
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::sandboxes::*;
use shared_contracts::secrets::Secret;

use super::{AT_MS, golden};

fn id() -> ContainerId {
    ContainerId { execution_id: ExecutionId::new(AT_MS, 1), generation: 2 }
}

pub fn cleanup() -> ContainerCleanup {
    let reason = "its container agent had died".into();
    ContainerCleanup { id: id(), provider: SandboxProvider::Oci, reason, at_ms: AT_MS }
}

fn facts() -> ContainerFacts {
    ContainerFacts {
        id: id(),
        project_id: ProjectId::new(AT_MS, 1),
        task_id: TaskId::new(AT_MS, 1),
        provider: SandboxProvider::Namespaces,
        image: "host".into(),
        state: ContainerState::Running,
        limits: Limits::default(),
        restarts: 1,
        created_at_ms: AT_MS,
        started_at_ms: Some(AT_MS + 5),
    }
}

#[test]
fn containers() {
    golden("container_cleanup", &cleanup());
    let container = Container {
        container_agent_id: ContainerAgentId::new(AT_MS, 1),
        container_agent: "workshop".into(),
        facts: facts(),
    };
    let list = ContainerList { items: vec![container], silent: vec![ContainerAgentId::new(AT_MS, 2)] };
    golden("container_list", &list);
    let commands = [
        ContainerCommand::List,
        ContainerCommand::Get { id: id() },
        ContainerCommand::Stats { id: id() },
        ContainerCommand::Restart { id: id() },
        ContainerCommand::Stop { id: id() },
        ContainerCommand::Freeze { id: id() },
        ContainerCommand::Thaw { id: id() },
        ContainerCommand::Remove { id: id() },
    ];
    golden("container_commands", &commands.to_vec());
    let stats = ContainerStats { at_ms: AT_MS, memory_bytes: 1, cpu_percent: 150.0, ..Default::default() };
    let answers = [
        ContainerAnswer::Listed { containers: vec![facts()] },
        ContainerAnswer::Container { container: facts() },
        ContainerAnswer::Stats { stats },
        ContainerAnswer::Removed,
        ContainerAnswer::Refused { problem: Problem::new(ProblemKind::NotFound, "no such container") },
    ];
    golden("container_answers", &answers.to_vec());
}

#[test]
fn sandboxes() {
    let kind = SandboxKind {
        id: SandboxProvider::Namespaces,
        name: "Namespaces".into(),
        description: "made by the container agent itself".into(),
        supported_images: vec!["host".into(), "*".into()],
        default_image: Some("host".into()),
        tier: SandboxTier::Strong,
        max_concurrent: 5,
        resource_limits: SandboxMaxima { memory_mb: 2_048, cpu_cores: 2.0, wall_seconds: 3_600 },
        is_available: true,
        requires_config: false,
        reason: "every wall and every limit stands".into(),
    };
    golden("sandbox_kinds", &SandboxKinds { items: vec![kind] });
    golden("secret", &Secret { name: "NPM_TOKEN".into(), created_at_ms: AT_MS, updated_at_ms: AT_MS });
}
