//! A project: a code base with its workspace and tasks, owned by one owner. It has no states: it is there or not.
//!
//! Operations: `create_project`, `list_projects`, `get_project`, `update_project`, `delete_project`.

pub mod store;

use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::page::PageQuery;
use shared_contracts::projects::{CreateProject, Project, UpdateProject};
use shared_contracts::sandboxes::SandboxTier;

use crate::platform::clock::now_ms;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};

pub async fn create_project(
    db: &Db,
    owner_id: OwnerId,
    id: ProjectId,
    input: CreateProject,
) -> Outcome<Project> {
    let CreateProject { name, description } = input;
    let now = now_ms();
    let project = Project {
        id,
        owner_id,
        name,
        description,
        denied_paths: Vec::new(),
        egress: Vec::new(),
        sandbox_tier_min: SandboxTier::None,
        created_at_ms: now,
        updated_at_ms: now,
    };
    store::insert(db, &project).await?;
    Ok(project)
}

pub async fn list_projects(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    store::list(db, owner_id, page).await
}

pub async fn get_project(db: &Db, owner_id: OwnerId, id: ProjectId) -> Outcome<String> {
    store::get(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("project", id))
}

/// For what lies below a project: fails as if it were absent unless it is the owner's.
pub async fn require(db: &Db, owner_id: OwnerId, id: ProjectId) -> Outcome<()> {
    get_project(db, owner_id, id).await.map(drop)
}

/// Globs of paths that patch batches may not touch. With an owner this is [`require`] too.
pub async fn denied_paths(db: &Db, owner_id: Option<OwnerId>, id: ProjectId) -> Outcome<Vec<String>> {
    store::denied_paths(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("project", id))
}

/// The weakest sandbox in which its executions may run. For whoever has seen that the project is the caller's.
pub async fn sandbox_tier_min(db: &Db, id: ProjectId) -> Outcome<SandboxTier> {
    store::sandbox_tier_min(db, id).await?.ok_or_else(|| Failure::not_found("project", id))
}

pub async fn update_project(
    db: &Db,
    owner_id: OwnerId,
    id: ProjectId,
    input: UpdateProject,
) -> Outcome<String> {
    store::update(db, owner_id, id, &input, now_ms()).await?;
    get_project(db, owner_id, id).await
}

/// The project is gone at once, unless an execution is active, and with it everything in D1 that refers to it. What it
/// owned elsewhere goes by and by: see [`crate::deletions`].
pub async fn delete_project(db: &Db, owner_id: OwnerId, id: ProjectId) -> Outcome<()> {
    if store::delete(db, owner_id, id, now_ms()).await? {
        return Ok(());
    }
    get_project(db, owner_id, id).await?;
    Err(Failure::wrong_state(format!("Project {id} has an active execution; stop it first")))
}
