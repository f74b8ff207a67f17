//! The Worker goes away and comes back in the middle of a run, once in good order and once by SIGKILL.

use acceptance::agents::{Job, Log, Machine, Tenant, own_plane};
use shared_contracts::events::{Event, LogStream};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::tasks::TaskState;
use xtask::client::Watcher;

const LINES: usize = 250;

/// Every event, and how often it connected.
async fn to_the_end(mut watcher: Watcher) -> (Vec<Event>, u32) {
    let mut events = Vec::new();
    while let Some(event) = watcher.next().await.unwrap() {
        events.push(event);
    }
    (events, watcher.connections())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_and_every_watcher_sees_all_of_it() {
    let mut plane = own_plane("restarts").await;
    let tenant = Tenant::of(&plane, 0);
    let project = tenant.project().await;
    let machine = Machine::start(&plane, &tenant, 2).await;
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"line $i\"; sleep 0.1; done; echo x > new"
    );
    let job = Job::script(&project, &script).await;
    let watchers = [job.client.watch(job.id, 0), job.client.watch_socket(job.id, 0)];
    let watching = watchers.map(|watcher| tokio::spawn(to_the_end(watcher)));
    // Waits for nobody and asks for nothing: it holds its place in the queue over both restarts.
    let waiting_project = Tenant::of(&plane, 1).project().await;
    let waiting = Job::script(&waiting_project, "true").await;

    job.prints("line 20").await;
    plane.restart_worker().await.unwrap();
    job.prints("line 80").await;
    plane.kill_worker().await.unwrap();
    plane.start_worker().await.unwrap();

    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Succeeded);
    Log::assert_numbered(&log.lines(LogStream::Stdout), LINES);
    assert_eq!(
        log.states(),
        [(0, ExecutionState::Queued), (1, ExecutionState::Leased), (1, ExecutionState::Running)],
        "one lease from beginning to end"
    );
    for watching in watching {
        let (events, connections) = watching.await.unwrap();
        assert!(connections >= 3, "{connections} connections");
        assert!(Log::whole(events) == log, "a watcher saw another log");
    }
    let record = job.record().await;
    assert_eq!((record.state, record.generation, record.lost_count), (ExecutionState::Succeeded, 1, 0));
    assert_eq!(job.task().await.state, TaskState::AiReview);
    let receipt = tenant.client.apply_patches(record.patch_batch_id.expect("a patch batch")).await.unwrap();
    assert_eq!(receipt.revision_after, 2);
    assert_eq!(project.text("new").await, "x\n");

    let waited = waiting.record().await;
    assert_eq!((waited.state, waited.queue_position), (ExecutionState::Queued, Some(1)));
    waiting.stop().await;
    assert_eq!(waiting.ends().await.state, ExecutionState::Cancelled);
    machine.stop().await;
    plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_ends_while_the_worker_is_away_is_recorded_later() {
    let mut plane = own_plane("away").await;
    let tenant = Tenant::of(&plane, 0);
    let project = tenant.project().await;
    let machine = Machine::start(&plane, &tenant, 2).await;
    let mut input = acceptance::agents::shell("echo begun; sleep 2; echo report > report.txt; echo done");
    input.artifacts = vec!["*.txt".into()];
    let job = Job::submit(&project, &input).await;
    job.prints("begun").await;
    plane.kill_worker().await.unwrap();
    // The run comes to its end with nobody to tell.
    acceptance::agents::eventually("it has ended on its machine", acceptance::agents::SOON, async || {
        machine.spool_text().contains("\"status\":\"stopped\"").then_some(())
    })
    .await;
    plane.start_worker().await.unwrap();
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Succeeded);
    assert_eq!(log.lines(LogStream::Stdout), ["begun", "done"]);
    let record = job.record().await;
    assert_eq!((record.generation, record.lost_count), (1, 0));
    assert!(record.patch_batch_id.is_some());
    let page = shared_contracts::page::PageQuery { after: None, limit: None };
    assert_eq!(tenant.client.list_artifacts(job.id, &page).await.unwrap().items.len(), 1);
    machine.stop().await;
    plane.stop().await.unwrap();
}
