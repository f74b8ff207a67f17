//! SQL on `projects`, and what a deletion leaves to `deletions`.

use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::page::PageQuery;
use shared_contracts::projects::{Project, UpdateProject};
use shared_contracts::sandboxes::SandboxTier;

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'owner_id', owner_id, 'name', name, 'description', description,
          'denied_paths', json(denied_paths), 'egress', json(egress), 'sandbox_tier_min', sandbox_tier_min,
          'created_at_ms', created_at_ms, 'updated_at_ms', updated_at_ms)"
    };
}

/// A second try with the same id is the same project.
pub const INSERT: &str =
    "INSERT INTO projects (id, owner_id, name, description, created_at_ms, updated_at_ms)
  VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT (id) DO NOTHING";

pub const LIST: &str = crate::page_of!(record!(), "projects WHERE owner_id = ?1");

pub const GET: &str =
    concat!("SELECT ", record!(), " AS record FROM projects WHERE id = ?1 AND owner_id = ?2");

/// For whoever has seen that the project is the caller's.
pub const DENIED_PATHS: &str =
    "SELECT denied_paths AS record FROM projects WHERE id = ?1 AND (?2 IS NULL OR owner_id = ?2)";

/// The weakest sandbox in which its executions may run.
pub const SANDBOX_TIER_MIN: &str =
    "SELECT json_quote(sandbox_tier_min) AS record FROM projects WHERE id = ?1";

pub const UPDATE: &str = "UPDATE projects
  SET name = coalesce(?3, name), description = coalesce(?4, description),
    denied_paths = coalesce(?5, denied_paths), egress = coalesce(?6, egress),
    sandbox_tier_min = coalesce(?7, sandbox_tier_min), updated_at_ms = ?8
  WHERE id = ?1 AND owner_id = ?2";

/// What is left to remove once the project is gone, if it may go. In one transaction with [`LEAVE_EXECUTIONS`] and
/// [`DELETE`], which do nothing without it.
pub const LEAVE: &str = "INSERT INTO deletions (id, kind, deleted_at_ms, due_at_ms)
  SELECT id, 'project', ?3, ?3 FROM projects WHERE id = ?1 AND owner_id = ?2
    AND NOT EXISTS (SELECT 1 FROM executions WHERE project_id = ?1 AND ended_at_ms IS NULL)";

pub const LEAVE_EXECUTIONS: &str = "INSERT INTO deletions (id, kind, deleted_at_ms, due_at_ms)
  SELECT id, 'execution', ?2, ?2 FROM executions WHERE project_id = ?1
    AND EXISTS (SELECT 1 FROM deletions WHERE deletions.id = ?1)";

pub const DELETE: &str =
    "DELETE FROM projects WHERE id = ?1 AND EXISTS (SELECT 1 FROM deletions WHERE deletions.id = ?1)";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("INSERT", INSERT),
    ("LIST", LIST),
    ("GET", GET),
    ("DENIED_PATHS", DENIED_PATHS),
    ("SANDBOX_TIER_MIN", SANDBOX_TIER_MIN),
    ("UPDATE", UPDATE),
    ("LEAVE", LEAVE),
    ("LEAVE_EXECUTIONS", LEAVE_EXECUTIONS),
    ("DELETE", DELETE),
];

pub async fn insert(db: &Db, project: &Project) -> Outcome<()> {
    let args = args![
        project.id.to_string(),
        project.owner_id.to_string(),
        project.name.as_str(),
        project.description.as_str(),
        project.created_at_ms,
    ];
    db.change(INSERT, args).await.map(drop)
}

pub async fn list(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, owner_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: ProjectId) -> Outcome<Option<String>> {
    db.record(GET, args![id.to_string(), owner_id.to_string()]).await
}

pub async fn denied_paths(db: &Db, owner_id: Option<OwnerId>, id: ProjectId) -> Outcome<Option<Vec<String>>> {
    db.typed(DENIED_PATHS, args![id.to_string(), owner_id.map(|id| id.to_string())]).await
}

pub async fn sandbox_tier_min(db: &Db, id: ProjectId) -> Outcome<Option<SandboxTier>> {
    db.typed(SANDBOX_TIER_MIN, args![id.to_string()]).await
}

pub async fn update(
    db: &Db,
    owner_id: OwnerId,
    id: ProjectId,
    input: &UpdateProject,
    now_ms: u64,
) -> Outcome<()> {
    let list = |list: &Option<Vec<String>>| {
        let text = list.as_ref().map(serde_json::to_string).transpose();
        text.map_err(|error| Failure::internal("writing a list", error))
    };
    let args = args![
        id.to_string(),
        owner_id.to_string(),
        input.name.as_deref(),
        input.description.as_deref(),
        list(&input.denied_paths)?,
        list(&input.egress)?,
        input.sandbox_tier_min.map(SandboxTier::as_str),
        now_ms,
    ];
    db.change(UPDATE, args).await.map(drop)
}

/// Whether it was there and could go.
pub async fn delete(db: &Db, owner_id: OwnerId, id: ProjectId, now_ms: u64) -> Outcome<bool> {
    let id = id.to_string();
    let statements = [
        (LEAVE, args![id.as_str(), owner_id.to_string(), now_ms] as &[_]),
        (LEAVE_EXECUTIONS, args![id.as_str(), now_ms]),
        (DELETE, args![id.as_str()]),
    ];
    Ok(db.change_all(&statements).await?.last().is_some_and(|deleted| *deleted > 0))
}
