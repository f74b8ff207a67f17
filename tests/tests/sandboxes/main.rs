//! Sandboxes as the plane knows them, with container agents that say exactly what a test wants: who is offered what,
//! what is asked of machines and who may ask, secrets on their way to a lease.
#![cfg(test)]

mod containers;
mod offers;
mod projects;
mod sealed;
mod secrets;
mod steering;

use acceptance::agents::{ScriptedAgent, Tenant, hello, unique};
use acceptance::command;
use shared_contracts::dispatch::Hello;
use shared_contracts::executions::{CreateExecution, Execution};
use shared_contracts::ids::{ContainerAgentId, ProjectId};
use shared_contracts::sandboxes::{OfferedSandbox, SandboxProvider, SandboxTier};
use xtask::client::ClientError;

fn offered(provider: SandboxProvider, tier: SandboxTier, reason: &str, images: &[&str]) -> OfferedSandbox {
    let images = images.iter().map(|image| (*image).to_owned()).collect();
    OfferedSandbox { provider, tier, reason: reason.into(), images, findings: Vec::new() }
}

/// A machine with these sandboxes and room for nine.
async fn machine(tenant: &Tenant, sandboxes: Vec<OfferedSandbox>) -> (ScriptedAgent, ContainerAgentId) {
    let name = unique("machine");
    ScriptedAgent::connect_as(tenant, Hello { capacity: 9, sandboxes, ..hello(&name) }).await
}

/// Everything stands.
async fn strong_machine(tenant: &Tenant) -> (ScriptedAgent, ContainerAgentId) {
    let strong = offered(SandboxProvider::Namespaces, SandboxTier::Strong, "all stands", &["host"]);
    machine(tenant, vec![strong]).await
}

async fn execute(
    tenant: &Tenant,
    project: ProjectId,
    input: &CreateExecution,
) -> Result<Execution, ClientError> {
    let task = shared_contracts::tasks::CreateTask {
        title: "a task".into(),
        description: "do it".into(),
        priority: 5,
    };
    let task = tenant.client.create_task(project, &task).await.expect("a task is created");
    tenant.client.create_execution(project, task.id, input).await
}

fn needing(
    tier: Option<SandboxTier>,
    provider: Option<SandboxProvider>,
    image: Option<&str>,
) -> CreateExecution {
    CreateExecution {
        sandbox_tier: tier,
        sandbox_provider: provider,
        image: image.map(str::to_owned),
        ..command(&["true"])
    }
}
