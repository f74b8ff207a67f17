//! Which containers are listed: the owner's own, on whatever machine; and who did not answer is named.

use std::time::{Duration, Instant};

use acceptance::agents::{Said, ScriptedAgent, Tenant, hello, own_plane, unique};
use acceptance::{command, refused};
use shared_contracts::containers::{
    ContainerAnswer, ContainerCommand, ContainerFacts, ContainerQuery, ContainerState,
};
use shared_contracts::dispatch::{Hello, LeasedExecution, ToContainerAgent, close};
use shared_contracts::executions::Limits;
use shared_contracts::ids::{ExecutionId, ProjectId};
use shared_contracts::limits::CONTAINER_ANSWER_SECONDS;
use shared_contracts::problem::ProblemKind;
use shared_contracts::sandboxes::SandboxProvider;

use crate::{execute, strong_machine};

pub fn facts(leased: &LeasedExecution) -> ContainerFacts {
    ContainerFacts {
        id: leased.lease.into(),
        project_id: leased.project_id,
        task_id: leased.task_id,
        provider: SandboxProvider::Namespaces,
        image: "host".into(),
        state: ContainerState::Running,
        limits: Limits::default(),
        restarts: 0,
        created_at_ms: 5,
        started_at_ms: Some(6),
    }
}

/// A new execution, leased to this machine.
pub async fn leased(tenant: &Tenant, project: ProjectId, agent: &mut ScriptedAgent) -> LeasedExecution {
    let execution = execute(tenant, project, &command(&["true"])).await.expect("an execution is created");
    let leased = agent.takes_work().await;
    assert_eq!(leased.lease.execution_id, execution.id);
    leased
}

/// Answers the next question, which must be for the list, with these.
async fn lists(agent: &mut ScriptedAgent, containers: Vec<ContainerFacts>) {
    let (request, command) = agent.is_asked().await;
    assert_eq!(command, ContainerCommand::List);
    agent.answers(request, ContainerAnswer::Listed { containers }).await;
}

const ALL: ContainerQuery = ContainerQuery { project_id: None, execution_id: None };

#[tokio::test]
async fn the_owners_own_are_listed_whatever_a_machine_claims() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let (project, other) = (tenant.project().await.id, tenant.project().await.id);
    let (mut agent, id) = strong_machine(&tenant).await;
    let (mut theirs, _) = strong_machine(&stranger).await;
    let (first, second) =
        (leased(&tenant, project, &mut agent).await, leased(&tenant, other, &mut agent).await);
    let strangers = leased(&stranger, stranger.project().await.id, &mut theirs).await;
    let mut lying = facts(&second);
    lying.project_id = strangers.project_id;
    lying.task_id = strangers.task_id;
    let mut nobodys = facts(&first);
    nobodys.id.execution_id = ExecutionId::new(1, 1);
    let claimed = vec![facts(&first), lying, facts(&strangers), nobodys];

    let (list, ()) = tokio::join!(tenant.client.list_containers(&ALL), lists(&mut agent, claimed.clone()));
    let list = list.unwrap();
    assert!(list.silent.is_empty());
    let found: Vec<_> = list.items.iter().map(|container| &container.facts).collect();
    assert_eq!(found, [&facts(&second), &facts(&first)], "newest first, and of the project that they are of");
    assert!(list.items.iter().all(|container| container.container_agent_id == id));

    for (query, wanted) in [
        (ContainerQuery { project_id: Some(project), execution_id: None }, vec![first.lease]),
        (
            ContainerQuery { project_id: None, execution_id: Some(second.lease.execution_id) },
            vec![second.lease],
        ),
        (
            ContainerQuery { project_id: Some(project), execution_id: Some(second.lease.execution_id) },
            Vec::new(),
        ),
    ] {
        let (list, ()) =
            tokio::join!(tenant.client.list_containers(&query), lists(&mut agent, claimed.clone()));
        let found: Vec<_> = list.unwrap().items.iter().map(|container| container.facts.id.lease()).collect();
        assert_eq!(found, wanted);
    }
    // What a query names is the owner's own, too; nobody is asked.
    let query = ContainerQuery { project_id: Some(strangers.project_id), execution_id: None };
    refused(tenant.client.list_containers(&query).await, ProblemKind::NotFound);
    let query = ContainerQuery { project_id: None, execution_id: Some(strangers.lease.execution_id) };
    refused(tenant.client.list_containers(&query).await, ProblemKind::NotFound);
    // The stranger's list asks the stranger's machines alone.
    let (list, ()) =
        tokio::join!(stranger.client.list_containers(&ALL), lists(&mut theirs, vec![facts(&first)]));
    assert!(list.unwrap().items.is_empty(), "of another owner");
    let nobody = Tenant::new().client.list_containers(&ALL).await.unwrap();
    assert!(nobody.items.is_empty() && nobody.silent.is_empty());
}

#[tokio::test]
async fn who_does_not_answer_is_named_and_holds_up_nobody_else() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    let (mut agent, id) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let (mut silent, silent_id) = strong_machine(&tenant).await;
    let began = Instant::now();
    let (list, request) = tokio::join!(tenant.client.list_containers(&ALL), async {
        lists(&mut agent, vec![facts(&running)]).await;
        let (request, _) = silent.is_asked().await;
        // The Dispatcher goes on meanwhile: it queues, it offers.
        let execution = execute(&tenant, project, &command(&["true"])).await.unwrap();
        tenant.client.stop_execution(execution.id).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(CONTAINER_ANSWER_SECONDS), "it waits for nobody");
        request
    });
    let list = list.unwrap();
    assert_eq!((list.items.len(), list.silent.as_slice()), (1, [silent_id].as_slice()));
    assert_eq!(list.items[0].container_agent_id, id);
    assert!(began.elapsed() >= Duration::from_secs(CONTAINER_ANSWER_SECONDS));
    // Whichever of the two it was offered to; then the late answer, which belongs to no question any more.
    let late = ContainerAnswer::Listed { containers: vec![facts(&running)] };
    silent.answers(request, late).await;
    let (list, (), ()) = tokio::join!(
        tenant.client.list_containers(&ALL),
        lists_after_offers(&mut agent, vec![facts(&running)]),
        lists_after_offers(&mut silent, Vec::new()),
    );
    let list = list.unwrap();
    assert_eq!(
        (list.items.len(), list.silent.len()),
        (1, 0),
        "a late answer is nobody's, and breaks nothing"
    );
}

/// [`lists`], past an offer that the test does not care for.
async fn lists_after_offers(agent: &mut ScriptedAgent, containers: Vec<ContainerFacts>) {
    loop {
        match agent.hears().await {
            Said::Message(ToContainerAgent::Offer { .. }) => {}
            Said::Message(ToContainerAgent::Container { request, command: ContainerCommand::List }) => {
                return agent.answers(request, ContainerAnswer::Listed { containers }).await;
            }
            other => panic!("wanted a question, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn who_leaves_is_not_waited_for_and_who_breaks_a_rule_is_let_go() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    let (mut agent, id) = strong_machine(&tenant).await;
    let running = leased(&tenant, project, &mut agent).await;
    let began = Instant::now();
    let (list, ()) = tokio::join!(tenant.client.list_containers(&ALL), async {
        agent.is_asked().await;
        drop(agent);
    });
    assert_eq!(list.unwrap().silent, [id]);
    assert!(began.elapsed() < Duration::from_secs(CONTAINER_ANSWER_SECONDS), "{:?}", began.elapsed());

    let (mut agent, id) = strong_machine(&tenant).await;
    let (list, ()) = tokio::join!(tenant.client.list_containers(&ALL), async {
        let broken = ContainerFacts { image: String::new(), ..facts(&running) };
        lists(&mut agent, vec![broken]).await;
        assert!(matches!(agent.hears().await, Said::Message(ToContainerAgent::Refused { .. })));
        assert!(matches!(agent.hears().await, Said::Closed { code: close::MALFORMED, .. }));
    });
    assert_eq!(list.unwrap().silent, [id]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_shared_machine_each_owner_sees_its_own() {
    // A plane of its own: a shared machine takes every owner's work.
    let plane = own_plane("shared-containers").await;
    let (one, other) = (Tenant::of(&plane, 0), Tenant::of(&plane, 1));
    let machines = Tenant { agent_token: plane.shared_agent_token().to_owned(), ..one.clone() };
    let hello = Hello { capacity: 9, ..hello(&unique("shared")) };
    let (mut agent, id) = ScriptedAgent::connect_as(&machines, hello).await;
    let ones = leased(&one, one.project().await.id, &mut agent).await;
    let others = leased(&other, other.project().await.id, &mut agent).await;
    for (tenant, own, foreign) in [(&one, &ones, &others), (&other, &others, &ones)] {
        let both = vec![facts(&ones), facts(&others)];
        let (list, ()) = tokio::join!(tenant.client.list_containers(&ALL), lists(&mut agent, both));
        let list = list.unwrap();
        assert_eq!(list.items.len(), 1);
        assert_eq!((&list.items[0].facts, list.items[0].container_agent_id), (&facts(own), id));
        // Nobody is asked about another owner's: the next question is the next one's.
        refused(tenant.client.get_container(foreign.lease.into()).await, ProblemKind::NotFound);
        refused(tenant.client.stop_container(foreign.lease.into()).await, ProblemKind::NotFound);
        let (found, ()) = tokio::join!(tenant.client.get_container(own.lease.into()), async {
            let (request, command) = agent.is_asked().await;
            assert_eq!(command, ContainerCommand::Get { id: own.lease.into() });
            agent.answers(request, ContainerAnswer::Container { container: facts(own) }).await;
        });
        assert_eq!(found.unwrap().facts, facts(own));
    }
    let kinds = other.client.list_sandboxes().await.unwrap().items;
    assert!(kinds[0].is_available, "a shared machine is everybody's to choose");
    plane.stop().await.unwrap();
}
