//! The task's state machine: every move a person may make, and every one they may not.

use acceptance::{Project, plane, refused};
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::{Task, TaskState, UpdateTask};

use crate::alone;

const STATES: [TaskState; 5] =
    [TaskState::Todo, TaskState::InProgress, TaskState::AiReview, TaskState::HumanReview, TaskState::Done];

fn to(state: TaskState) -> UpdateTask {
    UpdateTask { state: Some(state), ..UpdateTask::default() }
}

/// As the board draws it; a task that is told to stay where it is stays.
fn is_allowed(from: TaskState, next: TaskState) -> bool {
    use TaskState::{AiReview, Done, HumanReview, Todo};
    from == next
        || [
            (AiReview, HumanReview),
            (AiReview, Done),
            (AiReview, Todo),
            (HumanReview, Done),
            (HumanReview, Todo),
            (Done, Todo),
        ]
        .contains(&(from, next))
}

#[tokio::test]
async fn every_move_is_allowed_or_refused_as_drawn() {
    let _alone = alone().await;
    let project = Project::new().await;
    let client = &project.client;
    // A task for each pair. Executions alone lead into most states, and no machine is here to run one: so the
    // tasks are put there behind the doors, and in progress by an execution that waits.
    let mut tasks: Vec<(Task, TaskState, TaskState)> = Vec::new();
    let mut statements = String::new();
    for from in STATES {
        for next in STATES {
            let task =
                if from == TaskState::InProgress { project.queued().await.0 } else { project.task().await };
            if ![TaskState::Todo, TaskState::InProgress].contains(&from) {
                let (state, id) = (from.as_str(), task.id);
                statements.push_str(&format!("UPDATE tasks SET state = '{state}' WHERE id = '{id}';\n"));
            }
            tasks.push((task, from, next));
        }
    }
    plane().sql(&statements).unwrap();
    for (task, from, next) in tasks {
        assert_eq!(project.find_task(task.id).await.state, from);
        let moved = client.update_task(project.id, task.id, &to(next)).await;
        let now = if is_allowed(from, next) {
            assert_eq!(moved.unwrap().state, next, "{from:?} to {next:?}");
            next
        } else {
            let problem = refused(moved, ProblemKind::WrongState);
            assert!(
                problem.detail.contains(from.as_str()) && problem.detail.contains(next.as_str()),
                "{problem}"
            );
            from
        };
        assert_eq!(project.find_task(task.id).await.state, now, "{from:?} to {next:?}");
    }
}

#[tokio::test]
async fn of_two_movers_at_once_one_wins_or_both_agree() {
    let _alone = alone().await;
    let project = Project::new().await;
    let client = &project.client;
    let task = project.task().await;
    plane().sql(&format!("UPDATE tasks SET state = 'human_review' WHERE id = '{}'", task.id)).unwrap();
    let (done, back) = (to(TaskState::Done), to(TaskState::Todo));
    let (first, second) = tokio::join!(
        client.update_task(project.id, task.id, &done),
        client.update_task(project.id, task.id, &back)
    );
    // Done may be reopened, todo may not be done: so `done` can come first and both succeed, or one is refused.
    let now = project.find_task(task.id).await.state;
    match (first, second) {
        (Ok(_), Ok(_)) => assert_eq!(now, TaskState::Todo),
        (Ok(_), lost) => {
            refused(lost, ProblemKind::WrongState);
            assert_eq!(now, TaskState::Done);
        }
        (lost, Ok(_)) => {
            refused(lost, ProblemKind::WrongState);
            assert_eq!(now, TaskState::Todo);
        }
        both => panic!("nobody moved it: {both:?}"),
    }
}
