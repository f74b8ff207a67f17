//! Who runs when.

use acceptance::agents::{Job, Machine, SOON, Tenant, eventually, lab, own_plane, shell, unique};
use acceptance::refused;
use shared_contracts::executions::{CreateExecution, ExecutionState, Outcome};
use shared_contracts::limits::CONCURRENT_EXECUTIONS_PER_OWNER_DEFAULT;
use shared_contracts::problem::ProblemKind;
use xtask::plane::AgentOptions;

/// Runs until it is stopped.
const ENDLESS: &str = "while :; do sleep 100; done";

fn with_priority(priority: u8) -> CreateExecution {
    CreateExecution { priority, ..shell("true") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_executed_once_at_a_time() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let job = Job::script(&project, ENDLESS).await;
    let second = || async { tenant.client.create_execution(project.id, job.task, &shell("true")).await };
    refused(second().await, ProblemKind::WrongState);
    job.reaches(ExecutionState::Running).await;
    refused(second().await, ProblemKind::WrongState);
    assert_eq!(job.history().await.len(), 1);
    // At the same moment, exactly one is taken.
    let task = project.task().await;
    let input = shell("true");
    let tries = (0..8).map(|_| tenant.client.create_execution(project.id, task.id, &input));
    let (taken, refusals): (Vec<_>, Vec<_>) =
        futures_util::future::join_all(tries).await.into_iter().partition(Result::is_ok);
    assert_eq!(taken.len(), 1);
    for refusal in refusals {
        refused(refusal, ProblemKind::WrongState);
    }
    job.stop().await;
    job.ends().await;
    let again = second().await.unwrap();
    assert_eq!(job.sibling(&again).log().await.end().outcome, Outcome::Succeeded);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sixth_of_one_owner_waits_until_one_ends() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 10).await;
    let mut first = Vec::new();
    for _ in 0..CONCURRENT_EXECUTIONS_PER_OWNER_DEFAULT {
        first.push(Job::script(&project, ENDLESS).await);
    }
    for job in &first {
        job.reaches(ExecutionState::Running).await;
    }
    let sixth = Job::script(&project, ENDLESS).await;
    let seventh = Job::script(&project, ENDLESS).await;
    // The Dispatcher handled the sixth before it answered for the seventh: what it would offer, it has offered.
    let waiting = sixth.record().await;
    assert_eq!((waiting.state, waiting.queue_position), (ExecutionState::Queued, Some(1)));
    assert_eq!(seventh.record().await.queue_position, Some(2));
    assert_eq!(machine.listed().await.running, 5);

    first[2].stop().await;
    sixth.reaches(ExecutionState::Running).await;
    assert!(first[2].record().await.state.is_ended(), "it waited for the end of another");
    assert_eq!(sixth.record().await.queue_position, None);
    let waiting = seventh.record().await;
    assert_eq!((waiting.state, waiting.queue_position), (ExecutionState::Queued, Some(1)));
    for job in first.iter().chain([&sixth, &seventh]) {
        if !job.record().await.state.is_ended() {
            job.stop().await;
        }
        assert_eq!(job.ends().await.state, ExecutionState::Cancelled);
    }
    machine.stop().await;
}

/// In which order they began.
async fn order(jobs: &[&Job]) -> Vec<usize> {
    let mut began = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let record = job.ends().await;
        assert_eq!(record.state, ExecutionState::Succeeded);
        began.push((record.started_at_ms.unwrap(), index));
    }
    began.sort_unstable();
    began.into_iter().map(|(_, index)| index).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn higher_priority_goes_first() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let blocker = Job::script(&project, ENDLESS).await;
    blocker.reaches(ExecutionState::Running).await;
    let low = Job::submit(&project, &with_priority(0)).await;
    let middle = Job::submit(&project, &with_priority(5)).await;
    let high = Job::submit(&project, &with_priority(9)).await;
    let later = Job::submit(&project, &with_priority(9)).await;
    let mut places = Vec::new();
    for job in [&high, &later, &middle, &low] {
        places.push(job.record().await.queue_position);
    }
    assert_eq!(places, [Some(1), Some(2), Some(3), Some(4)]);
    blocker.stop().await;
    assert_eq!(order(&[&high, &later, &middle, &low]).await, [0, 1, 2, 3]);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_take_turns_on_a_shared_machine() {
    // A plane of its own: a shared machine takes every owner's work.
    let plane = own_plane("fairness").await;
    let (one, other) = (Tenant::of(&plane, 0), Tenant::of(&plane, 1));
    let (project, others_project) = (one.project().await, other.project().await);
    let options = AgentOptions {
        capacity: 1,
        token: Some(plane.shared_agent_token().to_owned()),
        ..AgentOptions::named(&unique("shared"))
    };
    let machine = Machine::with(&plane, &one, options).await;
    assert!(machine.record.shared);
    let blocker = Job::script(&project, ENDLESS).await;
    blocker.reaches(ExecutionState::Running).await;
    let mut many = Vec::new();
    for _ in 0..4 {
        many.push(Job::script(&project, "true").await);
    }
    let few = [Job::script(&others_project, "true").await, Job::script(&others_project, "true").await];
    assert_eq!(few[0].record().await.queue_position, Some(1), "among its owner's own");
    blocker.stop().await;
    let all: Vec<&Job> = many.iter().chain(&few).collect();
    // The other owner's two are numbers 4 and 5; nobody's four stand in their way.
    assert_eq!(order(&all).await, [4, 0, 5, 1, 2, 3]);
    machine.stop().await;
    plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_owners_machine_takes_nothing() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let project = tenant.project().await;
    let strangers = Machine::start(lab(), &stranger, 5).await;
    let job = Job::script(&project, "true").await;
    let own = Job::script(&stranger.project().await, "true").await;
    assert_eq!(own.log().await.end().outcome, Outcome::Succeeded);
    assert_eq!(job.record().await.state, ExecutionState::Queued);
    refused(stranger.client.get_execution(job.id).await, ProblemKind::NotFound);
    let machine = Machine::start(lab(), &tenant, 1).await;
    assert_eq!(job.ends().await.container_agent_id, Some(machine.record.id));
    eventually("the machine is free again", SOON, async || {
        (machine.listed().await.running == 0).then_some(())
    })
    .await;
    strangers.stop().await;
    machine.stop().await;
}
