//! How an execution ends when its command does not succeed, and how it is tried again.

use acceptance::agents::{Job, Machine, Tenant, lab, shell};
use acceptance::{command, refused};
use shared_contracts::events::LogStream;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::page::PageQuery;
use shared_contracts::patches::PatchState;
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::TaskState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_script_fails_and_what_it_made_is_kept() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let mut input =
        shell("echo half done; echo changed > README.md; mkdir out; echo why > out/why.txt; exit 3");
    input.artifacts = vec!["out/*".into()];
    let job = Job::submit(&project, &input).await;
    let log = job.log().await;
    let end = log.end();
    assert_eq!((end.outcome, end.exit_code, end.exit_signal), (Outcome::Failed, Some(3), None));
    assert!(end.reason.contains("exit code 3"), "{}", end.reason);
    assert_eq!(log.lines(LogStream::Stdout), ["half done"]);

    let record = job.record().await;
    assert_eq!((record.state, record.exit_code), (ExecutionState::Failed, Some(3)));
    let task = job.task().await;
    assert_eq!((task.state, task.active_execution_id), (TaskState::Todo, None));
    assert_eq!(task.error.as_deref(), Some(end.reason));
    let page = PageQuery { after: None, limit: None };
    let kept = tenant.client.list_artifacts(job.id, &page).await.unwrap().items;
    assert_eq!(kept.iter().map(|kept| kept.path.as_str()).collect::<Vec<_>>(), ["out/why.txt"]);
    // Half of the work may be worth keeping: it is proposed, and nobody has to take it.
    let patch = tenant.client.get_patch(record.patch_batch_id.expect("a patch batch")).await.unwrap();
    assert_eq!(patch.summary.state, PatchState::Proposed);
    assert_eq!(project.head().await, 1);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn death_by_signal_and_a_command_that_is_not_there() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let killed = Job::script(&project, "kill -SEGV $$").await;
    let absent = Job::submit(&project, &command(&["no-such-program", "--please"])).await;

    let log = killed.log().await;
    let end = log.end();
    assert_eq!((end.outcome, end.exit_code, end.exit_signal), (Outcome::Failed, None, Some(11)));
    assert!(end.reason.contains("signal 11"), "{}", end.reason);
    let record = killed.record().await;
    assert_eq!((record.exit_code, record.exit_signal), (None, Some(11)));

    let log = absent.log().await;
    assert_eq!((log.end().outcome, log.end().exit_code), (Outcome::Failed, Some(127)));
    assert!(log.end().reason.contains("no-such-program"), "{}", log.end().reason);
    assert_eq!(absent.task().await.state, TaskState::Todo);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_is_another_execution_done_in_the_same_way() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let mut input = shell("echo \"try of $WHO\"; exit 1");
    input.environment.insert("WHO".into(), "somebody".into());
    input.limits.wall_seconds = Some(77);
    input.artifacts = vec!["*.txt".into()];
    let first = Job::submit(&project, &input).await;
    refused(tenant.client.retry_execution(first.id).await, ProblemKind::WrongState);
    assert_eq!(first.log().await.end().outcome, Outcome::Failed);

    let again = tenant.client.retry_execution(first.id).await.unwrap();
    assert_ne!(again.id, first.id);
    assert_eq!((again.retry_of, again.state, again.generation), (Some(first.id), ExecutionState::Queued, 0));
    assert_eq!(again.spec, first.record().await.spec);
    let second = first.sibling(&again);
    let log = second.log().await;
    assert_eq!(log.lines(LogStream::Stdout), ["try of somebody"]);
    assert_eq!(first.log().await.lines(LogStream::Stdout), ["try of somebody"], "each has a log of its own");
    let ids: Vec<_> = first.history().await.iter().map(|execution| execution.id).collect();
    assert_eq!(ids, [second.id, first.id], "newest first");
    machine.stop().await;
}
