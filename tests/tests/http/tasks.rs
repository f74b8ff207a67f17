//! Tasks: made, read, changed, deleted. Their state machine is in `behind/board.rs`.

use acceptance::{Project, refused};
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::{CreateTask, TaskState, UpdateTask};

#[tokio::test]
async fn a_task_is_what_was_said_and_changes_only_where_told() {
    let project = Project::new().await;
    let client = &project.client;
    let input = CreateTask { title: "T".into(), description: "D\n".into(), priority: 9 };
    let made = client.create_task(project.id, &input).await.unwrap();
    assert_eq!((made.title.as_str(), made.description.as_str(), made.priority), ("T", "D\n", 9));
    assert_eq!((made.state, made.error.clone(), made.active_execution_id), (TaskState::Todo, None, None));
    let change = UpdateTask { priority: Some(0), ..UpdateTask::default() };
    let changed = client.update_task(project.id, made.id, &change).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.description.as_str(), changed.priority), ("T", "D\n", 0));
    assert_eq!(client.get_task(project.id, made.id).await.unwrap(), changed);
    client.delete_task(project.id, made.id).await.unwrap();
    refused(client.get_task(project.id, made.id).await, ProblemKind::NotFound);
    refused(client.delete_task(project.id, made.id).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn a_refused_move_changes_nothing_else_of_the_update() {
    let project = Project::new().await;
    let task = project.task().await;
    let change =
        UpdateTask { title: Some("new".into()), state: Some(TaskState::Done), ..UpdateTask::default() };
    refused(project.client.update_task(project.id, task.id, &change).await, ProblemKind::WrongState);
    assert_eq!(project.find_task(task.id).await, task);
}
