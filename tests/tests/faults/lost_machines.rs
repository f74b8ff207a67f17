//! `kill -9` of the container agent in the middle of a run.

use std::time::{Duration, Instant};

use acceptance::agents::{Job, Log, Machine, Proxy, SOON, Tenant, Writer, eventually, lab, line, unique};
use acceptance::{create, refused};
use shared_contracts::append::AppendAnswer;
use shared_contracts::artifacts::{ArtifactType, UploadArtifact};
use shared_contracts::events::{Event, EventBody, EventQuery, LogStream};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ArtifactId, PatchBatchId};
use shared_contracts::limits::{LEASE_SECONDS, LOST_RETRIES_MAX};
use shared_contracts::patches::ProposePatch;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::TaskState;
use xtask::plane::AgentOptions;

/// Alarms and a busy machine.
const SLACK: Duration = Duration::from_secs(5);

/// `line 1` to `line COUNT`, ten a second.
fn slowly(count: usize) -> String {
    format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo \"line $i\"; sleep 0.1; done")
}

/// Events that wait on a machine's disk, whole ones only.
fn spooled(text: &str) -> Vec<Event> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Waits until this machine's disk holds events that its hub has not; what is on the disk. The network must hang.
async fn has_more_than_its_hub(machine: &Machine, job: &Job) -> Vec<Event> {
    eventually("events wait on its disk", SOON, async || {
        let query = EventQuery { after: None, limit: Some(1) };
        let head = job.client.list_events(job.id, &query).await.unwrap().head;
        let waiting = spooled(&machine.spool_text());
        waiting.last().is_some_and(|last| last.sequence >= head + 5).then_some(waiting)
    })
    .await
}

fn is_state(event: &Event, wanted: ExecutionState) -> bool {
    matches!(event.body, EventBody::Status { state, .. } if state == wanted)
}

fn is_lost(event: &Event) -> bool {
    matches!(event.body, EventBody::Lost { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_machine_takes_over_and_late_posts_are_refused() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let network = Proxy::before(&lab().url()).await;
    let options = AgentOptions {
        url: Some(network.url.clone()),
        capacity: 1,
        ..AgentOptions::named(&unique("machine"))
    };
    let mut first = Machine::with(lab(), &tenant, options).await;
    let job = Job::script(&project, &slowly(100)).await;
    job.prints("line 5").await;
    let second = Machine::start(lab(), &tenant, 1).await;
    let watcher = tokio::spawn(job.client.watch(job.id, 0).collect());

    // 1. What it still says does not get through any more; then it dies.
    network.hold("/logs/append");
    let late = has_more_than_its_hub(&first, &job).await.last().unwrap().sequence;
    let folder = first.execution_folders().remove(0);
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("execution.json")).unwrap()).unwrap();
    let token = kept["execution_token"].as_str().unwrap().to_owned();
    first.kill();
    let killed = Instant::now();
    eventually("what ran there dies with it", SOON, async || first.processes().is_empty().then_some(()))
        .await;

    // 2. Its lease runs out.
    let lost = job.event("`lost`", is_lost).await;
    let took = killed.elapsed();
    assert!(took <= Duration::from_secs(LEASE_SECONDS) + SLACK, "the loss was noticed after {took:?}");
    assert!(lost.sequence <= late, "the test is about events that came too late");
    assert_eq!(lost.generation, 1);

    // 3. The other machine runs it; the first one comes back and wants to say the rest.
    let leased = job
        .event_after(lost.sequence, "the next lease", |event| is_state(event, ExecutionState::Leased))
        .await;
    assert_eq!(leased.generation, 2);
    job.event_after(leased.sequence, "it runs", |event| is_state(event, ExecutionState::Running)).await;
    network.release();
    first.restart().await;
    eventually("it gives up its leftovers", SOON, async || {
        first.execution_folders().is_empty().then_some(())
    })
    .await;
    // By hand, too, with the token that it had.
    let (mut writer, answer) = Writer::open(&tenant.client, job.id, &token).await;
    assert!(matches!(answer, AppendAnswer::Fenced { generation: 2, .. }), "{answer:?}");
    let answer = writer.send(1, lost.sequence, &[line("late")]).await;
    assert!(matches!(answer, AppendAnswer::Fenced { generation: 2, .. }), "{answer:?}");
    let client = tenant.client.with_token(&token);
    let about = UploadArtifact {
        path: WorkspacePath::parse("late.txt").unwrap(),
        artifact_type: ArtifactType::File,
        size_bytes: 4,
        sha256: Sha256::of(b"late"),
    };
    let id = ArtifactId::new(acceptance::now_ms(), 1);
    refused(client.upload_artifact(job.id, id, &about, b"late".to_vec()).await, ProblemKind::Conflict);
    let patch =
        acceptance::Project { client: client.clone(), id: job.project }.batch(vec![create("late", "late")]);
    let patch = ProposePatch { id: Some(PatchBatchId::new(acceptance::now_ms(), 1)), ..patch };
    refused(client.propose_execution_patch(job.id, &patch).await, ProblemKind::Conflict);

    // 4. It ends once, under the second lease, and its log tells it all.
    let log = job.log().await;
    assert!(Log::whole(watcher.await.unwrap().unwrap()) == log);
    assert_eq!(log.end().outcome, Outcome::Succeeded);
    assert_eq!(
        log.states(),
        [
            (0, ExecutionState::Queued),
            (1, ExecutionState::Leased),
            (1, ExecutionState::Running),
            (2, ExecutionState::Leased),
            (2, ExecutionState::Running)
        ]
    );
    let mut after = log.0.iter().skip_while(|event| event.sequence <= lost.sequence);
    assert!(after.all(|event| event.generation == 2), "the first one's late events are in the log");
    Log::assert_numbered(&log.printed_under(2), 100);
    let of_first = log.printed_under(1);
    assert!((5..100).contains(&of_first.len()));
    Log::assert_numbered(&of_first, of_first.len());
    let record = job.record().await;
    assert_eq!((record.generation, record.lost_count), (2, 1));
    assert_eq!(record.container_agent_id, Some(second.record.id));
    assert_eq!(job.task().await.state, TaskState::AiReview);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_comes_back_gives_it_up_at_once_and_loses_no_line() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let network = Proxy::before(&lab().url()).await;
    let options = AgentOptions { url: Some(network.url.clone()), ..AgentOptions::named(&unique("machine")) };
    let mut machine = Machine::with(lab(), &tenant, options).await;
    let job = Job::script(&project, &slowly(60)).await;
    let streamed = tokio::spawn(job.client.watch(job.id, 0).collect());
    let messages = tokio::spawn(job.client.watch_socket(job.id, 0).collect());
    let acknowledged = job.prints("line 10").await;
    // Some of its log is on its disk only when it dies.
    network.hold("/logs/append");
    has_more_than_its_hub(&machine, &job).await;
    machine.kill();
    let on_disk = spooled(&machine.spool_text());
    assert!(on_disk.last().unwrap().sequence > acknowledged.sequence);
    network.release();
    machine.restart().await;
    let restarted = Instant::now();
    job.event_after(acknowledged.sequence, "the next lease", |event| {
        event.generation == 2 && is_state(event, ExecutionState::Leased)
    })
    .await;
    assert!(restarted.elapsed() < Duration::from_secs(10), "nobody waits for a lease to run out");

    let log = job.log().await;
    assert!(
        Log::whole(streamed.await.unwrap().unwrap()) == log,
        "a watcher saw something that was lost later"
    );
    assert!(Log::whole(messages.await.unwrap().unwrap()) == log);
    for event in &on_disk {
        assert_eq!(log.0[event.sequence as usize - 1], *event, "what was on its disk is in the log");
    }
    let before = log.printed_under(1);
    assert!(before.len() >= 10);
    Log::assert_numbered(&before, before.len());
    Log::assert_numbered(&log.printed_under(2), 60);
    let lost = log.0.iter().find(|event| is_lost(event)).unwrap();
    let EventBody::Lost { reason } = &lost.body else { panic!("not a loss") };
    assert!(reason.contains("restarted"), "{reason}");
    let record = job.record().await;
    assert_eq!((record.state, record.generation, record.lost_count), (ExecutionState::Succeeded, 2, 1));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_three_times_is_failed() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, "echo up; sleep 1000").await;
    for generation in 1..=LOST_RETRIES_MAX + 1 {
        job.event(&format!("it is up, try {generation}"), |event| {
            event.generation == generation
                && matches!(&event.body, EventBody::Log { text, .. } if text == "up")
        })
        .await;
        machine.kill();
        machine.restart().await;
    }
    let log = job.log().await;
    let times = LOST_RETRIES_MAX + 1;
    assert_eq!(log.end().outcome, Outcome::Failed);
    assert!(log.end().reason.contains(&format!("lost {times} times")), "{}", log.end().reason);
    assert!(log.end().reason.contains("restarted"), "{}", log.end().reason);
    assert_eq!(log.lines(LogStream::Stdout), ["up", "up", "up"]);
    let record = job.record().await;
    assert_eq!((record.state, record.generation), (ExecutionState::Failed, times));
    assert_eq!(record.reason.as_deref(), Some(log.end().reason));
    let task = job.task().await;
    assert_eq!((task.state, task.error.as_deref()), (TaskState::Todo, Some(log.end().reason)));
    // And it can be tried again by hand.
    let again = job.sibling(&tenant.client.retry_execution(job.id).await.unwrap());
    again.prints("up").await;
    again.stop().await;
    assert_eq!(again.ends().await.state, ExecutionState::Cancelled);
    machine.stop().await;
}
