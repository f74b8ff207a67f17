//! What a machine holds, as the queue sees it.

use acceptance::agents::{Said, ScriptedAgent, Tenant, hello};
use acceptance::{Project, command, plane};
use shared_contracts::container_agents::{ContainerAgent, ContainerAgentState};
use shared_contracts::dispatch::{FromContainerAgent, Hello, ToContainerAgent};
use shared_contracts::executions::{Execution, ExecutionState, RequestedLimits};
use shared_contracts::ids::ContainerAgentId;

use crate::alone;

/// A machine that gives one execution this much, and its record.
async fn machine(
    tenant: &Tenant,
    name: &str,
    memory_mb_max: u32,
    cpu_cores_max: f64,
) -> (ScriptedAgent, ContainerAgent) {
    let mut agent = ScriptedAgent::dial(tenant).await;
    let hello = Hello { memory_mb_max, cpu_cores_max, capacity: 4, ..hello(name) };
    agent.say(&FromContainerAgent::Hello(hello)).await;
    let Said::Message(ToContainerAgent::Welcome { container_agent_id, .. }) = agent.hears().await else {
        panic!("not welcome");
    };
    (agent, tenant.client.get_container_agent(container_agent_id).await.unwrap())
}

async fn wanting(project: &Project, memory_mb: u32, cpu_cores: f64) -> Execution {
    let mut input = command(&["true"]);
    input.limits = RequestedLimits {
        memory_mb: Some(memory_mb),
        cpu_cores: Some(cpu_cores),
        ..RequestedLimits::default()
    };
    let task = project.task().await;
    project.client.create_execution(project.id, task.id, &input).await.unwrap()
}

#[tokio::test]
async fn who_went_unheard_is_recorded_as_gone() {
    let _alone = alone().await;
    let tenant = Tenant::of(plane(), 1);
    let (_there, there) = machine(&tenant, "there", 1_024, 1.0).await;
    let gone = ContainerAgentId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    let recent = ContainerAgentId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    let insert = |id: ContainerAgentId, connected_at_ms: u64| {
        format!(
            "INSERT INTO container_agents (id, owner_id, name, state, version, capacity, sandbox_tier, shared,
               connected_at_ms) VALUES ('{id}', '{}', '{id}', 'connected', '1', 1, 'none', 0, {connected_at_ms});",
            tenant.id
        )
    };
    let hour_ago = acceptance::now_ms() - 3_600_000;
    let aged = format!("UPDATE container_agents SET connected_at_ms = {hour_ago} WHERE id = '{}'", there.id);
    plane().sql(&(insert(gone, hour_ago) + &insert(recent, acceptance::now_ms()) + &aged)).unwrap();
    plane().run_reconciler().await.unwrap();
    let state = async |id| tenant.client.get_container_agent(id).await.unwrap().state;
    assert_eq!(state(there.id).await, ContainerAgentState::Connected, "it has a connection");
    assert_eq!(state(gone).await, ContainerAgentState::Disconnected);
    assert_eq!(state(recent).await, ContainerAgentState::Connected, "it may just be coming");
    plane().sql(&format!("DELETE FROM container_agents WHERE id = '{recent}'")).unwrap();
}

#[tokio::test]
async fn an_execution_is_offered_only_to_a_machine_that_holds_it() {
    let _alone = alone().await;
    let tenant = Tenant::of(plane(), 1);
    let project = Project::of(tenant.client.clone()).await;
    let (mut small, record) = machine(&tenant, "small", 1_024, 1.5).await;
    assert_eq!((record.memory_mb_max, record.cpu_cores_max), (1_024, 1.5));
    let large = wanting(&project, 1_025, 1.0).await;
    let wide = wanting(&project, 512, 2.0).await;
    let fitting = wanting(&project, 1_024, 1.5).await;
    // The others came first: they would have been offered first.
    assert_eq!(small.is_offered().await, fitting.id);
    for waiting in [&large, &wide] {
        let found = project.client.get_execution(waiting.id).await.unwrap();
        assert_eq!(found.state, ExecutionState::Queued);
        assert!(found.queue_position.is_some(), "and everyone can see that it waits");
    }
    let (mut big, _) = machine(&tenant, "big", 1_025, 2.0).await;
    assert_eq!([big.is_offered().await, big.is_offered().await], [large.id, wide.id]);
    for execution in [large, wide, fitting] {
        project.client.stop_execution(execution.id).await.unwrap();
    }
}
