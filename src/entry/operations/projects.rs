//! Projects and their tasks.

use shared_contracts::ids::{ProjectId, TaskId};
use shared_contracts::limits::JSON_BODY_BYTES_MAX;
use shared_contracts::page::PageQuery;
use shared_contracts::projects::{CreateProject, UpdateProject};
use shared_contracts::tasks::{CreateTask, UpdateTask};
use worker::Response;

use super::owned::{owner, task_key};
use super::text;
use crate::entry::call::{Call, json_text, nothing};
use crate::entry::idempotency::once;
use crate::platform::failure::Outcome;
use crate::projects;
use crate::tasks::{self, TaskKey};

pub async fn list_projects(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, projects::list_projects(&call.bindings.db, owner(&call)?, &page).await?)
}

pub async fn create_project(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<CreateProject>(JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = ProjectId::new(seed.at_ms, seed.bits());
        text(&projects::create_project(&call.bindings.db, owner_id, id, input).await?)
    })
    .await
}

pub async fn get_project(call: Call) -> Outcome<Response> {
    json_text(
        200,
        projects::get_project(&call.bindings.db, owner(&call)?, call.parameter("project_id")?).await?,
    )
}

pub async fn update_project(call: Call) -> Outcome<Response> {
    let input: UpdateProject = call.json().await?;
    let id = call.parameter("project_id")?;
    json_text(200, projects::update_project(&call.bindings.db, owner(&call)?, id, input).await?)
}

pub async fn delete_project(call: Call) -> Outcome<Response> {
    projects::delete_project(&call.bindings.db, owner(&call)?, call.parameter("project_id")?).await?;
    nothing()
}

pub async fn list_tasks(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = call.parameter("project_id")?;
    json_text(200, tasks::list_tasks(&call.bindings.db, owner(&call)?, id, &page).await?)
}

pub async fn create_task(call: Call) -> Outcome<Response> {
    let (owner_id, project_id) = (owner(&call)?, call.parameter("project_id")?);
    let (input, body) = call.json_of::<CreateTask>(JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let key = TaskKey { owner_id, project_id, id: TaskId::new(seed.at_ms, seed.bits()) };
        text(&tasks::create_task(&call.bindings.db, key, input).await?)
    })
    .await
}

pub async fn get_task(call: Call) -> Outcome<Response> {
    json_text(200, tasks::get_task(&call.bindings.db, task_key(&call)?).await?)
}

pub async fn update_task(call: Call) -> Outcome<Response> {
    let input: UpdateTask = call.json().await?;
    json_text(200, tasks::update_task(&call.bindings.db, task_key(&call)?, input).await?)
}

pub async fn delete_task(call: Call) -> Outcome<Response> {
    tasks::delete_task(&call.bindings.db, task_key(&call)?).await?;
    nothing()
}
