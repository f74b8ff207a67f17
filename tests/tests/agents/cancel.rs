//! Stopping an execution, at each of its states.

use std::time::Duration;

use acceptance::agents::{
    Job, Machine, Proxy, SOON, Said, ScriptedAgent, Tenant, Writer, ended, eventually, lab, line, unique,
};
use acceptance::refused;
use shared_contracts::append::AppendAnswer;
use shared_contracts::dispatch::{FromContainerAgent, ToContainerAgent};
use shared_contracts::events::{ContainerStatus, EventBody, LogStream};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::TaskState;
use xtask::plane::AgentOptions;

/// It ended as cancelled, once; its task can be executed again; a second stop has nothing to stop.
async fn assert_cancelled(job: &Job) {
    let record = job.ends().await;
    assert_eq!(record.state, ExecutionState::Cancelled);
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Cancelled);
    assert_eq!(record.reason.as_deref(), Some("Stopped by its owner"));
    let task = job.task().await;
    assert_eq!((task.state, task.active_execution_id), (TaskState::Todo, None));
    assert_eq!(task.error.as_deref(), Some("Stopped by its owner"));
    refused(job.client.stop_execution(job.id).await, ProblemKind::WrongState);
    assert_eq!(job.log().await, log, "nothing follows the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queued() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let job = Job::script(&project, "echo never").await;
    job.stop().await;
    assert_cancelled(&job).await;
    assert_eq!(job.log().await.states(), [(0, ExecutionState::Queued)]);
    // A machine that comes later has nothing to do with it.
    let machine = Machine::start(lab(), &tenant, 2).await;
    let other = Job::script(&project, "echo something").await;
    assert_eq!(other.log().await.end().outcome, Outcome::Succeeded);
    assert_eq!(job.record().await.generation, 0);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leased() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut agent = ScriptedAgent::connect(&tenant, &unique("scripted"), 1).await;
    let job = Job::script(&project, "echo never").await;
    let leased = agent.takes_work().await;
    assert_eq!(job.record().await.state, ExecutionState::Leased);
    let stopping = job.stop().await;
    assert!(
        stopping.stop_requested && !stopping.state.is_ended(),
        "the container agent ends it: {stopping:?}"
    );
    let told = agent.hears().await;
    let wanted = ToContainerAgent::Cancel { lease: leased.lease, reason: "Stopped by its owner".into() };
    assert_eq!(told, Said::Message(wanted));
    let (mut writer, _) = Writer::open(&tenant.client, job.id, &leased.execution_token).await;
    let mut last = ended(Outcome::Cancelled);
    if let EventBody::Ended { reason, .. } = &mut last {
        *reason = "Stopped by its owner".into();
    }
    let answer = writer.send(1, leased.next_sequence, &[last]).await;
    assert_eq!(answer, AppendAnswer::Acknowledged { through: leased.next_sequence });
    assert_cancelled(&job).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creating() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    // The workspace does not come: the machine stays where it materialises it.
    let network = Proxy::before(&lab().url()).await;
    network.hold("/workspace/");
    let options = AgentOptions { url: Some(network.url.clone()), ..AgentOptions::named(&unique("machine")) };
    let machine = Machine::with(lab(), &tenant, options).await;
    let job = Job::script(&project, "echo never").await;
    job.event("the sandbox is being created", |event| {
        matches!(event.body, EventBody::ContainerStatus { status: ContainerStatus::Creating, .. })
    })
    .await;
    job.stop().await;
    assert_cancelled(&job).await;
    let log = job.log().await;
    assert_eq!(log.states(), [(0, ExecutionState::Queued), (1, ExecutionState::Leased)], "it never ran");
    assert_eq!(log.lines(LogStream::Stdout), [""; 0]);
    network.release();
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_and_deaf_to_sigterm() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let script = "trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 0.1; done";
    let job = Job::script(&project, script).await;
    job.prints("ready").await;
    assert!(!machine.processes().is_empty(), "the sandbox runs");
    job.stop().await;
    assert_cancelled(&job).await;
    assert_eq!(job.record().await.exit_signal, Some(9), "it did not hear SIGTERM");
    eventually("nothing of it runs on", SOON, async || machine.processes().is_empty().then_some(())).await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_and_polite() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let job =
        Job::script(&project, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done").await;
    job.prints("ready").await;
    job.stop().await;
    assert_cancelled(&job).await;
    assert_eq!(job.log().await.lines(LogStream::Stdout), ["ready", "bye"], "it may clean up");
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_then_lost_is_cancelled_not_run_again() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let name = unique("scripted");
    let mut agent = ScriptedAgent::connect(&tenant, &name, 1).await;
    let job = Job::script(&project, "echo never").await;
    let leased = agent.takes_work().await;
    let (mut writer, _) = Writer::open(&tenant.client, job.id, &leased.execution_token).await;
    writer.send(1, leased.next_sequence, &[line("so far")]).await;
    job.stop().await;
    assert!(matches!(agent.hears().await, Said::Message(ToContainerAgent::Cancel { .. })));
    let reason = "it was restarted".to_owned();
    agent.say(&FromContainerAgent::Abandon { lease: leased.lease, reason }).await;
    assert_cancelled(&job).await;
    assert_eq!(job.record().await.generation, 1);
}

/// At any moment of the grant: before D1 agrees it is withdrawn, after it the machine hears of the stop at once, not
/// with a heartbeat, of which this one sends none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_lease_is_granted() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut agent = ScriptedAgent::connect(&tenant, &unique("scripted"), 1).await;
    for try_number in 0..40 {
        let job = Job::script(&project, "echo never").await;
        let execution_id = agent.is_offered().await;
        assert_eq!(execution_id, job.id);
        agent.say(&FromContainerAgent::Accept { execution_id }).await;
        tokio::time::sleep(Duration::from_micros(try_number * 500)).await;
        let (_, lease) = tokio::join!(job.stop(), async {
            loop {
                match agent.hears().await {
                    Said::Message(ToContainerAgent::Withdrawn { .. }) => return None,
                    Said::Message(ToContainerAgent::Leased(leased)) => return Some(leased.lease),
                    // Of a lease that it does not know yet.
                    Said::Message(ToContainerAgent::Cancel { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        });
        if let Some(lease) = lease {
            let reason = "Stopped by its owner".to_owned();
            assert_eq!(agent.hears().await, Said::Message(ToContainerAgent::Cancel { lease, reason }));
            let reason = "it heard".to_owned();
            agent.say(&FromContainerAgent::Abandon { lease, reason }).await;
        }
        assert_cancelled(&job).await;
    }
}
