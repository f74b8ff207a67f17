//! SQL on `tasks`. The moves that executions make are in `executions::store`: they commit with the execution's.

use shared_contracts::ids::ProjectId;
use shared_contracts::page::PageQuery;
use shared_contracts::tasks::{Task, TaskState, UpdateTask};

use super::TaskKey;
use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::Outcome;
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'project_id', project_id, 'title', title, 'description', description,
          'priority', priority, 'state', state, 'error', error, 'active_execution_id', active_execution_id,
          'created_at_ms', created_at_ms, 'updated_at_ms', updated_at_ms)"
    };
}

/// A second try with the same id is the same task.
pub const INSERT: &str = "INSERT INTO tasks
  (id, project_id, title, description, priority, state, created_at_ms, updated_at_ms)
  VALUES (?1, ?2, ?3, ?4, ?5, 'todo', ?6, ?6) ON CONFLICT (id) DO NOTHING";

pub const LIST: &str = crate::page_of!(record!(), "tasks WHERE project_id = ?1");

pub const GET: &str = concat!(
    "SELECT ",
    record!(),
    " AS record FROM tasks WHERE id = ?1 AND project_id = ?2
      AND EXISTS (SELECT 1 FROM projects WHERE projects.id = ?2 AND owner_id = ?3)"
);

pub const UPDATE: &str =
    "UPDATE tasks SET title = coalesce(?3, title), description = coalesce(?4, description),
  priority = coalesce(?5, priority), state = coalesce(?6, state), updated_at_ms = ?8
  WHERE id = ?1 AND project_id = ?2 AND state = ?7";

/// What is left to remove once the task is gone, if it may go: in one transaction with [`DELETE`].
pub const LEAVE_EXECUTIONS: &str = "INSERT INTO deletions (id, kind, deleted_at_ms, due_at_ms)
  SELECT executions.id, 'execution', ?4, ?4 FROM tasks JOIN executions ON executions.task_id = tasks.id
  WHERE tasks.id = ?1 AND tasks.project_id = ?2 AND active_execution_id IS NULL
    AND EXISTS (SELECT 1 FROM projects WHERE projects.id = ?2 AND projects.owner_id = ?3)";

pub const DELETE: &str = "DELETE FROM tasks WHERE id = ?1 AND project_id = ?2 AND active_execution_id IS NULL
  AND EXISTS (SELECT 1 FROM projects WHERE projects.id = ?2 AND owner_id = ?3)";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("GET", GET),
    ("UPDATE", UPDATE),
    ("LEAVE_EXECUTIONS", LEAVE_EXECUTIONS),
    ("DELETE", DELETE),
];

pub async fn insert(db: &Db, task: &Task) -> Outcome<()> {
    let args = args![
        task.id.to_string(),
        task.project_id.to_string(),
        task.title.as_str(),
        task.description.as_str(),
        task.priority,
        task.created_at_ms,
    ];
    db.change(INSERT, args).await.map(drop)
}

pub async fn list(db: &Db, project_id: ProjectId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, project_id.to_string(), page).await
}

pub async fn get(db: &Db, key: TaskKey) -> Outcome<Option<String>> {
    db.record(GET, args![key.id.to_string(), key.project_id.to_string(), key.owner_id.to_string()]).await
}

/// Whether the task was still in the state `from`.
pub async fn update(
    db: &Db,
    key: TaskKey,
    input: &UpdateTask,
    from: TaskState,
    now_ms: u64,
) -> Outcome<bool> {
    let args = args![
        key.id.to_string(),
        key.project_id.to_string(),
        input.title.as_deref(),
        input.description.as_deref(),
        input.priority,
        input.state.map(TaskState::as_str),
        from.as_str(),
        now_ms,
    ];
    Ok(db.change(UPDATE, args).await? > 0)
}

/// Whether it was there and could go.
pub async fn delete(db: &Db, key: TaskKey, now_ms: u64) -> Outcome<bool> {
    let (id, project_id, owner_id) =
        (key.id.to_string(), key.project_id.to_string(), key.owner_id.to_string());
    let leave = args![id.as_str(), project_id.as_str(), owner_id.as_str(), now_ms];
    let delete = args![id.as_str(), project_id.as_str(), owner_id.as_str()];
    let changed = db.change_all(&[(LEAVE_EXECUTIONS, leave), (DELETE, delete)]).await?;
    Ok(changed.last().is_some_and(|deleted| *deleted > 0))
}
