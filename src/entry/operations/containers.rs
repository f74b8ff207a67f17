//! Sandboxes to choose from, and those that are there now.

use shared_contracts::containers::{ContainerCommand, ContainerId, ContainerQuery};
use worker::Response;

use super::owned::owner;
use crate::containers;
use crate::entry::call::{Call, json, nothing};
use crate::platform::failure::Outcome;
use crate::sandboxes;

pub async fn list_sandboxes(call: Call) -> Outcome<Response> {
    json(200, &sandboxes::list_sandboxes(&call.bindings.db, owner(&call)?).await?)
}

pub async fn list_containers(call: Call) -> Outcome<Response> {
    let query: ContainerQuery = call.query()?;
    json(200, &containers::list_containers(&call.bindings, owner(&call)?, &query).await?)
}

pub async fn get_container(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_id")?;
    json(200, &containers::get_container(&call.bindings, owner(&call)?, id).await?)
}

pub async fn get_container_stats(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_id")?;
    json(200, &containers::get_container_stats(&call.bindings, owner(&call)?, id).await?)
}

pub async fn remove_container(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_id")?;
    containers::remove_container(&call.bindings, owner(&call)?, id).await?;
    nothing()
}

async fn steer(call: Call, command: fn(ContainerId) -> ContainerCommand) -> Outcome<Response> {
    let id = call.parameter("container_id")?;
    let container = containers::steer(&call.bindings, owner(&call)?, id, command(id)).await?;
    json(call.route.status, &container)
}

pub async fn restart_container(call: Call) -> Outcome<Response> {
    steer(call, |id| ContainerCommand::Restart { id }).await
}

pub async fn stop_container(call: Call) -> Outcome<Response> {
    steer(call, |id| ContainerCommand::Stop { id }).await
}

pub async fn freeze_container(call: Call) -> Outcome<Response> {
    steer(call, |id| ContainerCommand::Freeze { id }).await
}

pub async fn thaw_container(call: Call) -> Outcome<Response> {
    steer(call, |id| ContainerCommand::Thaw { id }).await
}
