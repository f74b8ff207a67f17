//! A task: a card on the board. Its states and the moves a person may make are drawn at
//! [`shared_contracts::tasks::TaskState`]; in and out of `in_progress` only executions move it.
//!
//! Operations: `create_task`, `list_tasks`, `get_task`, `update_task`, `delete_task`.

pub mod store;

use shared_contracts::ids::{OwnerId, ProjectId, TaskId};
use shared_contracts::page::PageQuery;
use shared_contracts::tasks::{CreateTask, Task, TaskState, UpdateTask};

use crate::platform::clock::now_ms;
use crate::platform::d1::{Db, parse};
use crate::platform::failure::{Failure, Outcome};
use crate::projects;

/// Which task, and whose.
#[derive(Debug, Clone, Copy)]
pub struct TaskKey {
    pub owner_id: OwnerId,
    pub project_id: ProjectId,
    pub id: TaskId,
}

pub async fn create_task(db: &Db, key: TaskKey, input: CreateTask) -> Outcome<Task> {
    projects::require(db, key.owner_id, key.project_id).await?;
    let now = now_ms();
    let task = Task {
        id: key.id,
        project_id: key.project_id,
        title: input.title,
        description: input.description,
        priority: input.priority,
        state: TaskState::Todo,
        error: None,
        active_execution_id: None,
        created_at_ms: now,
        updated_at_ms: now,
    };
    store::insert(db, &task).await?;
    Ok(task)
}

pub async fn list_tasks(
    db: &Db,
    owner_id: OwnerId,
    project_id: ProjectId,
    page: &PageQuery,
) -> Outcome<String> {
    projects::require(db, owner_id, project_id).await?;
    store::list(db, project_id, page).await
}

pub async fn get_task(db: &Db, key: TaskKey) -> Outcome<String> {
    store::get(db, key).await?.ok_or_else(|| Failure::not_found("task", key.id))
}

/// The update is guarded by the state that the move was judged from, so two movers cannot both win.
pub async fn update_task(db: &Db, key: TaskKey, input: UpdateTask) -> Outcome<String> {
    let task: Task = parse(&get_task(db, key).await?)?;
    if let Some(next) = input.state
        && next != task.state
        && !task.state.may_be_moved_to(next)
    {
        let (from, to) = (task.state.as_str(), next.as_str());
        let detail = format!("Task {} is {from} and cannot be moved to {to}", key.id);
        return Err(Failure::wrong_state(detail));
    }
    if !store::update(db, key, &input, task.state, now_ms()).await? {
        return Err(Failure::wrong_state(format!("Task {} was moved in this moment; read it again", key.id)));
    }
    get_task(db, key).await
}

/// The task is gone at once with its executions; their logs and artifacts go by and by: see [`crate::deletions`].
pub async fn delete_task(db: &Db, key: TaskKey) -> Outcome<()> {
    if store::delete(db, key, now_ms()).await? {
        return Ok(());
    }
    get_task(db, key).await?;
    Err(Failure::wrong_state(format!("Task {} has an active execution; stop it first", key.id)))
}
