//! The guarded updates that move executions and their tasks: each does what its comment says, and nothing the
//! second time.

use shared_contracts::executions::Execution;
use shared_contracts::ids::{ExecutionId, ProjectId, TaskId};

use super::database::{Database, SPEC, ids};
use crate::args;
use crate::executions::store::*;

/// The executions of these tests, besides the filled one.
fn exe(number: u128) -> String {
    ExecutionId::new(2, number).to_string()
}

fn task_state(database: &Database) -> String {
    database.value(
        "SELECT state || ' ' || coalesce(active_execution_id, '-') || ' ' || coalesce(error, '-') FROM tasks",
    )
}

fn take(database: &Database, execution: &str) -> usize {
    database.change(TAKE_TASK, args![ids::task(), ids::project(), ids::owner(), execution, 10])
}

fn insert(database: &Database, execution: &str) -> usize {
    let (project, task, owner) = (ids::project(), ids::task(), ids::owner());
    let args = args![execution, project, task, owner, 5, SPEC, "limited", None::<String>, 10];
    database.change(INSERT, args)
}

fn lease(database: &Database, execution: &str, generation: u32) -> usize {
    database.change(LEASE, args![execution, generation, ids::machine(), 20])
}

fn running(database: &Database, execution: &str, generation: u32, at_ms: u64) -> usize {
    database.change(RUNNING, args![execution, generation, at_ms])
}

fn requeue(database: &Database, execution: &str, generation: u32, lost_count: u32) -> usize {
    database.change(REQUEUE, args![execution, generation, lost_count, "lost", 40])
}

fn end(database: &Database, execution: &str, generation: u32, state: &str) -> usize {
    let none = None::<String>;
    let patch = Some(ids::patch());
    database.change(END, args![execution, generation, state, 0, none, "done", patch, 1_000, 20, 7, 50])
}

fn release(database: &Database, execution: &str, next: &str, error: Option<&str>) -> usize {
    database.change(RELEASE_TASK, args![ids::task(), execution, next, error, 50])
}

fn get(database: &Database, execution: &str) -> Execution {
    database.typed(GET, args![execution, ids::owner()]).unwrap()
}

fn state(database: &Database, execution: &str) -> (&'static str, u32) {
    let execution = get(database, execution);
    (execution.state.as_str(), execution.generation)
}

/// One execution that has the task and waits.
fn queued() -> (Database, String) {
    let database = Database::new().filled();
    let execution = exe(1);
    assert_eq!((take(&database, &execution), insert(&database, &execution)), (1, 1));
    (database, execution)
}

#[test]
fn a_task_is_taken_once_and_only_its_holder_is_recorded() {
    let (database, first) = queued();
    let second = exe(2);
    assert_eq!(take(&database, &first), 0, "the same again");
    assert_eq!(insert(&database, &first), 0, "the same again");
    assert_eq!(take(&database, &second), 0, "the task is taken");
    assert_eq!(insert(&database, &second), 0, "no task, no execution");
    assert_eq!(task_state(&database), format!("in_progress {first} -"), "the old error is gone");
    assert_eq!(state(&database, &first), ("queued", 0));
}

#[test]
fn a_task_is_taken_only_from_todo_and_only_by_its_owner() {
    let database = Database::new().filled();
    let (project, owner) = (ids::project(), ids::owner());
    let taken = |task: String, project: String, owner: String| {
        database.change(TAKE_TASK, args![task, project, owner, exe(1), 10])
    };
    assert_eq!(taken(ids::task(), project.clone(), "own_other".into()), 0);
    assert_eq!(taken(ids::task(), ProjectId::new(9, 9).to_string(), owner.clone()), 0);
    assert_eq!(taken(TaskId::new(9, 9).to_string(), project.clone(), owner.clone()), 0);
    for state in ["ai_review", "human_review", "done"] {
        database.change("UPDATE tasks SET state = ?1", args![state]);
        assert_eq!(taken(ids::task(), project.clone(), owner.clone()), 0, "{state}");
    }
    database.change("UPDATE tasks SET state = 'todo'", &[]);
    assert_eq!(taken(ids::task(), project, owner), 1);
}

#[test]
fn a_lease_is_granted_once_per_generation_and_never_backwards() {
    let (database, execution) = queued();
    assert_eq!(lease(&database, &execution, 2), 1);
    assert_eq!(lease(&database, &execution, 2), 0, "the same again");
    assert_eq!(lease(&database, &execution, 1), 0, "an older one that was overtaken");
    assert_eq!(state(&database, &execution), ("leased", 2));
    assert_eq!(get(&database, &execution).container_agent_id.unwrap().to_string(), ids::machine());
    assert_eq!(lease(&database, &execution, 3), 1, "a newer one");
}

#[test]
fn a_lease_stands_until_it_is_lost_taken_over_or_its_execution_ends() {
    let (database, execution) = queued();
    let is_held = |generation: u32| database.record(HELD, args![execution.as_str(), generation]).is_some();
    assert!(!is_held(0), "it waits");
    lease(&database, &execution, 1);
    assert!(is_held(1) && !is_held(0) && !is_held(2));
    running(&database, &execution, 1, 30);
    assert!(is_held(1));
    requeue(&database, &execution, 1, 1);
    assert!(!is_held(1), "lost");
    lease(&database, &execution, 2);
    assert!(is_held(2) && !is_held(1));
    end(&database, &execution, 2, "succeeded");
    assert!(!is_held(2), "ended");
}

#[test]
fn what_is_to_be_stopped_or_has_ended_is_not_leased() {
    let (database, execution) = queued();
    assert_eq!(database.change(REQUEST_STOP, args![execution.as_str(), "own_other"]), 0, "another's");
    assert_eq!(database.change(REQUEST_STOP, args![execution.as_str(), ids::owner()]), 1);
    assert_eq!(
        database.change(REQUEST_STOP, args![execution.as_str(), ids::owner()]),
        1,
        "wishing twice is fine"
    );
    assert!(get(&database, &execution).stop_requested);
    assert_eq!(lease(&database, &execution, 1), 0);
    assert_eq!(end(&database, &execution, 0, "cancelled"), 1);
    assert_eq!(database.change(REQUEST_STOP, args![execution.as_str(), ids::owner()]), 0, "ended");
    assert_eq!(lease(&database, &execution, 1), 0, "ended");
}

#[test]
fn running_is_believed_of_the_present_lease_alone() {
    let (database, execution) = queued();
    assert_eq!(running(&database, &execution, 0, 30), 0, "it is not leased");
    lease(&database, &execution, 1);
    assert_eq!(running(&database, &execution, 2, 30), 0, "a lease that is not");
    assert_eq!(running(&database, &execution, 1, 30), 1);
    assert_eq!(running(&database, &execution, 1, 31), 0, "the same again");
    requeue(&database, &execution, 1, 1);
    lease(&database, &execution, 2);
    assert_eq!(running(&database, &execution, 1, 32), 0, "the lost lease");
    assert_eq!(running(&database, &execution, 2, 33), 1);
    assert_eq!(get(&database, &execution).started_at_ms, Some(30), "the first start stays");
}

#[test]
fn a_loss_is_counted_once_and_does_not_reach_a_newer_lease() {
    let (database, execution) = queued();
    assert_eq!(requeue(&database, &execution, 0, 1), 0, "it waits already");
    lease(&database, &execution, 1);
    running(&database, &execution, 1, 30);
    assert_eq!(requeue(&database, &execution, 1, 1), 1);
    assert_eq!(requeue(&database, &execution, 1, 1), 0, "the same again");
    let found = get(&database, &execution);
    assert_eq!((found.state.as_str(), found.lost_count, found.container_agent_id), ("queued", 1, None));
    lease(&database, &execution, 2);
    assert_eq!(requeue(&database, &execution, 1, 2), 0, "late, of the first lease");
    assert_eq!(state(&database, &execution), ("leased", 2));
    end(&database, &execution, 2, "succeeded");
    assert_eq!(requeue(&database, &execution, 2, 2), 0, "ended");
}

#[test]
fn an_end_is_recorded_once_and_not_from_a_lease_that_is_gone() {
    let (database, execution) = queued();
    lease(&database, &execution, 2);
    assert_eq!(end(&database, &execution, 1, "failed"), 0, "of an older lease");
    assert_eq!(end(&database, &execution, 2, "succeeded"), 1);
    assert_eq!(end(&database, &execution, 2, "succeeded"), 0, "the same again");
    assert_eq!(end(&database, &execution, 3, "failed"), 0, "ended is ended");
    let found = get(&database, &execution);
    assert_eq!(found.state.as_str(), "succeeded");
    assert_eq!((found.exit_code, found.event_count, found.ended_at_ms), (Some(0), Some(7), Some(50)));
    assert_eq!(found.patch_batch_id.unwrap().to_string(), ids::patch());
}

#[test]
fn a_task_is_released_by_its_holder_alone() {
    let (database, first) = queued();
    let second = exe(2);
    assert_eq!(release(&database, &second, "ai_review", None), 0, "it does not hold it");
    assert_eq!(release(&database, &first, "todo", Some("broke")), 0, "it has not ended");
    assert_eq!(end(&database, &first, 0, "failed"), 1);
    assert_eq!(release(&database, &first, "todo", Some("broke")), 1);
    assert_eq!(release(&database, &first, "ai_review", None), 0, "the same again");
    assert_eq!(task_state(&database), "todo - broke");
    assert_eq!((take(&database, &second), insert(&database, &second)), (1, 1));
    assert_eq!(release(&database, &first, "todo", None), 0, "late, while another holds it");
    assert_eq!(task_state(&database), format!("in_progress {second} -"));
}

#[test]
fn the_reconciler_sees_what_has_not_moved_oldest_first_and_others_next() {
    let (database, execution) = queued();
    let other = exe(2);
    database.change("UPDATE tasks SET active_execution_id = ?1", args![other.as_str()]);
    insert(&database, &other);
    database.change("UPDATE executions SET changed_at_ms = 5 WHERE id = ?1", args![other.as_str()]);
    let unmoved = |before_ms: u64, limit: u32| -> Vec<String> {
        let found: Vec<Unmoved> = database.typed(UNMOVED, args![before_ms, limit]).unwrap();
        found.iter().map(|execution| execution.id.to_string()).collect()
    };
    assert_eq!(unmoved(5, 10), [""; 0], "the filled one has ended, and nothing is older than 5");
    assert_eq!(unmoved(100, 10), [other.clone(), execution.clone()]);
    assert_eq!(unmoved(100, 1), [other.as_str()]);
    let found: Vec<Unmoved> = database.typed(UNMOVED, args![100, 1]).unwrap();
    assert_eq!((found[0].memory_mb, found[0].cpu_cores), (64, 0.5));
    assert_eq!(database.change(LOOKED_AT, args![other.as_str(), 60]), 1);
    assert_eq!(unmoved(100, 10), [execution, other]);
    assert_eq!(database.change(LOOKED_AT, args![ids::execution(), 60]), 0, "an ended one stays as it was");
}

#[test]
fn work_is_all_that_a_container_agent_is_told() {
    let (database, execution) = queued();
    let work: Work = database.typed(WORK, args![execution]).unwrap();
    assert_eq!((work.task_title.as_str(), work.prompt.as_str()), ("T", "d"));
    assert_eq!(work.spec.command, ["true"]);
    assert_eq!(database.record(WORK, args![exe(9)]), None);
}
