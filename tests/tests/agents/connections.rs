//! The container agent's connection: draining, versions, names.

use std::time::Duration;

use acceptance::agents::{Job, Machine, SOON, Said, ScriptedAgent, Tenant, eventually, hello, lab, unique};
use acceptance::refused;
use reqwest::Method;
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::container_agents::ContainerAgentState;
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, ToContainerAgent, close,
};
use shared_contracts::events::LogStream;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::page::PageQuery;
use shared_contracts::problem::ProblemKind;

/// Long enough to see that the machine takes nothing meanwhile.
const SLOW: &str = "echo begun; sleep 4; echo done";

/// What is the same for both ways to ask for it: `ask` makes this machine drain.
async fn drains(ask: impl AsyncFnOnce(&mut Machine)) {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut machine = Machine::start(lab(), &tenant, 4).await;
    let job = Job::script(&project, SLOW).await;
    job.prints("begun").await;
    ask(&mut machine).await;
    eventually("it drains", SOON, async || {
        (machine.listed().await.state == ContainerAgentState::Draining).then_some(())
    })
    .await;
    let late = Job::script(&project, "echo late").await;
    // What it runs is finished, and then it goes.
    assert_eq!(job.log().await.lines(LogStream::Stdout), ["begun", "done"]);
    assert_eq!(job.log().await.end().outcome, Outcome::Succeeded);
    assert_eq!(machine.exit_code().await, Some(0));
    machine.assert_nothing_left();
    let listed = eventually("it is listed as gone", SOON, async || {
        Some(machine.listed().await).filter(|listed| listed.state == ContainerAgentState::Disconnected)
    })
    .await;
    assert!(listed.disconnected_at_ms.is_some());
    let waiting = late.record().await;
    assert_eq!((waiting.state, waiting.generation), (ExecutionState::Queued, 0), "it took something new");
    let next = Machine::start(lab(), &tenant, 1).await;
    assert_eq!(late.ends().await.container_agent_id, Some(next.record.id));
    next.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_drains() {
    drains(async |machine| machine.ask_to_drain().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plane_drains() {
    drains(async |machine| {
        let drained = machine.client().drain_container_agent(machine.record.id).await.unwrap();
        assert_eq!(drained.id, machine.record.id);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_gives_the_work_to_another_machine_at_once() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, "echo begun; sleep 3; echo done").await;
    job.prints("begun").await;
    let other = Machine::start(lab(), &tenant, 1).await;
    machine.ask_to_drain().await;
    eventually("it drains", SOON, async || {
        (machine.listed().await.state == ContainerAgentState::Draining).then_some(())
    })
    .await;
    machine.ask_to_drain().await;
    assert_eq!(machine.exit_code().await, Some(0));
    machine.assert_nothing_left();
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Succeeded);
    assert_eq!(log.printed_under(2), ["begun", "done"]);
    let record = job.record().await;
    assert_eq!((record.generation, record.lost_count), (2, 1));
    assert_eq!(record.container_agent_id, Some(other.record.id));
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outdated_protocol_is_refused_with_the_one_it_needs() {
    let tenant = Tenant::new();
    let mut agent = ScriptedAgent::dial(&tenant).await;
    agent.say(&FromContainerAgent::Hello(Hello { protocol: 0, ..hello(&unique("old")) })).await;
    let Said::Message(ToContainerAgent::Refused { problem, protocol_min }) = agent.hears().await else {
        panic!("it is not refused");
    };
    assert_eq!((problem.kind, problem.status), (ProblemKind::OutdatedProtocol, 426));
    assert_eq!(protocol_min, PROTOCOL_VERSION_MIN);
    assert!(problem.detail.contains("install a newer patchbay-agent"), "{}", problem.detail);
    assert!(matches!(agent.hears().await, Said::Closed { code: close::OUTDATED, .. }));
    // A newer one than the plane's is not turned away: what it adds is its own to leave out.
    let mut newer = ScriptedAgent::dial(&tenant).await;
    let hello = Hello { protocol: PROTOCOL_VERSION + 1, ..hello(&unique("new")) };
    newer.say(&FromContainerAgent::Hello(hello)).await;
    assert!(matches!(newer.hears().await, Said::Message(ToContainerAgent::Welcome { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_hello_is_refused() {
    let tenant = Tenant::new();
    let nameless = FromContainerAgent::Hello(Hello { name: String::new(), ..hello("x") });
    let idle = FromContainerAgent::Hello(Hello { capacity: 0, ..hello("x") });
    for message in [FromContainerAgent::Draining, nameless, idle] {
        let mut agent = ScriptedAgent::dial(&tenant).await;
        agent.say(&message).await;
        let said = agent.hears().await;
        assert!(
            matches!(&said, Said::Message(ToContainerAgent::Refused { problem, .. })
                if problem.kind == ProblemKind::Malformed),
            "{message:?} was answered with {said:?}"
        );
        assert!(matches!(agent.hears().await, Said::Closed { code: close::MALFORMED, .. }));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_connection_and_the_newer_one_has_it() {
    let tenant = Tenant::new();
    let name = unique("twin");
    let mut first = ScriptedAgent::connect(&tenant, &name, 1).await;
    let mut second = ScriptedAgent::connect(&tenant, &name, 1).await;
    assert!(matches!(first.hears().await, Said::Closed { code: close::REPLACED, .. }));
    let project = tenant.project().await;
    let job = Job::script(&project, "true").await;
    assert_eq!(second.is_offered().await, job.id, "work goes to the one that is there");
    job.stop().await;

    // A real one that is replaced says so and ends, rather than fight for the name.
    let mut machine = Machine::start(lab(), &tenant, 1).await;
    let _usurper = ScriptedAgent::connect(&tenant, machine.agent.name(), 1).await;
    assert_eq!(machine.exit_code().await, Some(5));
    assert_eq!(machine.listed().await.state, ContainerAgentState::Connected, "the name is connected");
    machine.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_that_is_not_answered_goes_to_another() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut silent = ScriptedAgent::connect(&tenant, &unique("silent"), 100).await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, "true").await;
    assert_eq!(silent.is_offered().await, job.id, "the roomiest is asked first");
    let asked = std::time::Instant::now();
    let record = job.ends().await;
    assert_eq!((record.state, record.generation), (ExecutionState::Succeeded, 1));
    assert_eq!(record.container_agent_id, Some(machine.record.id));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    // Its late answer is too late.
    silent.say(&FromContainerAgent::Accept { execution_id: job.id }).await;
    assert_eq!(silent.hears().await, Said::Message(ToContainerAgent::Withdrawn { execution_id: job.id }));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_the_connection_and_admits_no_other() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let input = CreateAccessToken {
        name: "leaked".into(),
        scopes: vec![Scope::ContainerAgent],
        lifetime_seconds: None,
    };
    let token = tenant.client.create_access_token(&input).await.unwrap();
    let leaked = Tenant { agent_token: token.token.clone(), ..tenant.clone() };
    let name = unique("leaked");
    let mut agent = ScriptedAgent::connect(&leaked, &name, 1).await;
    let mut bystander = ScriptedAgent::connect(&tenant, &unique("bystander"), 1).await;
    let heartbeat = FromContainerAgent::Heartbeat { leases: Vec::new() };
    let answered = |said: Said| matches!(said, Said::Message(ToContainerAgent::HeartbeatAnswer { .. }));
    agent.say(&heartbeat).await;
    assert!(answered(agent.hears().await), "the token is good");

    tenant.client.revoke_access_token(token.record.id).await.unwrap();
    agent.say(&heartbeat).await;
    let Said::Closed { code, reason } = agent.hears().await else { panic!("it stays connected") };
    assert_eq!(code, close::TOKEN);
    assert!(reason.contains("token was revoked"), "{reason}");
    bystander.say(&heartbeat).await;
    assert!(answered(bystander.hears().await), "the owner's other tokens are good");
    let again = tenant.client.with_token(&token.token).call(Method::GET, "/api/container-agents/connect");
    refused(again.empty().await, ProblemKind::Unauthenticated);
    let agents = tenant.client.list_container_agents(&PageQuery { after: None, limit: None }).await.unwrap();
    let listed = agents.items.iter().find(|listed| listed.name == name).unwrap();
    assert_eq!(listed.state, ContainerAgentState::Disconnected);
    let job = Job::script(&project, "true").await;
    assert_eq!(bystander.is_offered().await, job.id);
    job.stop().await;
}
