//! The cron: what a crash left between D1 and the Dispatcher is brought back into step, once.

use acceptance::{Project, plane};
use shared_contracts::events::EventBody;
use shared_contracts::executions::{Execution, ExecutionState};
use shared_contracts::ids::ExecutionId;
use shared_contracts::tasks::TaskState;

use crate::alone;

/// An execution as a crash would leave it between the record in D1 and everything that follows: the task is taken,
/// the row stands, and neither a log nor the Dispatcher knows of it. It has not moved for an hour.
async fn left_behind(project: &Project, state: &str, stop_requested: bool) -> ExecutionId {
    let task = project.task().await;
    let (_, template) = project.queued().await;
    let id = ExecutionId::new(template.id.at_ms(), xtask::random::id_bits().unwrap());
    let generation = u32::from(state != "queued");
    let at_ms = acceptance::now_ms() - 3_600_000;
    plane()
        .sql(&format!(
            "UPDATE tasks SET state = 'in_progress', active_execution_id = '{id}' WHERE id = '{task}';
             INSERT INTO executions (id, project_id, task_id, owner_id, state, generation, priority, spec,
               sandbox_tier, stop_requested, created_at_ms, changed_at_ms)
             SELECT '{id}', project_id, '{task}', owner_id, '{state}', {generation}, 9, spec, sandbox_tier,
               {stop}, {at_ms}, {at_ms} FROM executions WHERE id = '{template}'",
            task = task.id,
            stop = u8::from(stop_requested),
            template = template.id,
        ))
        .unwrap();
    project.client.stop_execution(template.id).await.unwrap();
    id
}

async fn find(project: &Project, id: ExecutionId) -> Execution {
    project.client.get_execution(id).await.unwrap()
}

async fn log(project: &Project, id: ExecutionId) -> Vec<&'static str> {
    let events = project.client.all_events(id).await.unwrap();
    events
        .iter()
        .map(|event| match &event.body {
            EventBody::Status { state, .. } => state.as_str(),
            EventBody::Ended { .. } => "ended",
            other => panic!("{other:?}"),
        })
        .collect()
}

/// As if an hour had passed since anyone looked.
fn let_an_hour_pass(id: ExecutionId) {
    let at_ms = acceptance::now_ms() - 3_600_000;
    plane().sql(&format!("UPDATE executions SET changed_at_ms = {at_ms} WHERE id = '{id}'")).unwrap();
}

#[tokio::test]
async fn what_waits_and_nobody_knows_waits_again() {
    let _alone = alone().await;
    let project = Project::new().await;
    let id = left_behind(&project, "queued", false).await;
    assert_eq!(find(&project, id).await.queue_position, None, "the Dispatcher does not know it");
    plane().run_reconciler().await.unwrap();
    let found = find(&project, id).await;
    assert_eq!(found.state, ExecutionState::Queued);
    assert!(found.queue_position.is_some());
    assert_eq!(log(&project, id).await, ["queued"]);
    // A second pass finds nothing to do.
    let_an_hour_pass(id);
    plane().run_reconciler().await.unwrap();
    assert_eq!(log(&project, id).await, ["queued"]);
    let stopped = project.client.stop_execution(id).await.unwrap();
    assert_eq!(stopped.state, ExecutionState::Cancelled);
    assert_eq!(log(&project, id).await, ["queued", "ended"]);
}

#[tokio::test]
async fn what_moved_a_moment_ago_is_left_alone() {
    let _alone = alone().await;
    let project = Project::new().await;
    let id = left_behind(&project, "queued", false).await;
    let now_ms = acceptance::now_ms();
    plane().sql(&format!("UPDATE executions SET changed_at_ms = {now_ms} WHERE id = '{id}'")).unwrap();
    plane().run_reconciler().await.unwrap();
    assert_eq!(find(&project, id).await.queue_position, None);
    let_an_hour_pass(id);
    plane().run_reconciler().await.unwrap();
    assert!(find(&project, id).await.queue_position.is_some());
    project.client.stop_execution(id).await.unwrap();
}

#[tokio::test]
async fn what_runs_under_a_lease_that_nobody_knows_waits_again() {
    let _alone = alone().await;
    let project = Project::new().await;
    for state in ["leased", "running"] {
        let id = left_behind(&project, state, false).await;
        plane().run_reconciler().await.unwrap();
        let found = find(&project, id).await;
        assert_eq!((found.state, found.lost_count), (ExecutionState::Queued, 1), "{state}");
        assert!(found.queue_position.is_some(), "{state}");
        assert_eq!(found.generation, 1, "the next lease is another");
        project.client.stop_execution(id).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_to_be_stopped_ends() {
    let _alone = alone().await;
    let project = Project::new().await;
    for state in ["queued", "running"] {
        let id = left_behind(&project, state, true).await;
        plane().run_reconciler().await.unwrap();
        let found = find(&project, id).await;
        assert_eq!(found.state, ExecutionState::Cancelled, "{state}");
        let task = project.find_task(found.task_id).await;
        assert_eq!((task.state, task.active_execution_id), (TaskState::Todo, None));
        assert_eq!(log(&project, id).await, ["queued", "ended"], "{state}");
    }
}

/// D1 refuses the end of this execution, as if it were away at that moment.
fn refuse_the_end_of(id: ExecutionId) {
    let sql = format!(
        "CREATE TRIGGER refuse_end BEFORE UPDATE OF ended_at_ms ON executions WHEN NEW.id = '{id}'
         BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
    );
    plane().sql(&sql).unwrap();
}

#[tokio::test]
async fn what_has_ended_and_is_not_recorded_is_recorded() {
    let _alone = alone().await;
    let project = Project::new().await;
    let id = left_behind(&project, "queued", true).await;
    refuse_the_end_of(id);
    // The log ends, its record fails.
    plane().run_reconciler().await.unwrap();
    assert_eq!(log(&project, id).await, ["queued", "ended"]);
    assert_eq!(find(&project, id).await.state, ExecutionState::Queued);
    plane().sql("DROP TRIGGER refuse_end").unwrap();
    let_an_hour_pass(id);
    plane().run_reconciler().await.unwrap();
    let found = find(&project, id).await;
    assert_eq!((found.state, found.event_count), (ExecutionState::Cancelled, Some(2)));
    assert_eq!(project.find_task(found.task_id).await.state, TaskState::Todo);
    assert_eq!(log(&project, id).await, ["queued", "ended"], "and it ended once");
}

#[tokio::test]
async fn a_stop_that_d1_did_not_take_can_be_sent_again() {
    let _alone = alone().await;
    let project = Project::new().await;
    let (task, execution) = project.queued().await;
    refuse_the_end_of(execution.id);
    let first = project.client.stop_execution(execution.id).await;
    plane().sql("DROP TRIGGER refuse_end").unwrap();
    // Either it said that it failed, or it is done behind the answer; asking again settles it.
    if first.is_err() || find(&project, execution.id).await.state != ExecutionState::Cancelled {
        project.client.stop_execution(execution.id).await.unwrap();
    }
    let found =
        project.client.poll_until_ended(execution.id, std::time::Duration::from_secs(20)).await.unwrap();
    assert_eq!(found.state, ExecutionState::Cancelled);
    assert_eq!(project.find_task(task.id).await.state, TaskState::Todo);
    assert_eq!(log(&project, execution.id).await, ["queued", "ended"]);
}
