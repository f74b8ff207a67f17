//! Container agents.

use shared_contracts::accounts::Scope;
use shared_contracts::page::PageQuery;
use worker::Response;

use super::executions::require_upgrade;
use super::owned::{account, owner};
use crate::container_agents;
use crate::dispatch::commands::DispatchCommand;
use crate::entry::call::{Call, json, json_text};
use crate::platform::failure::Outcome;
use crate::platform::object;

pub async fn list_container_agents(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, container_agents::list_container_agents(&call.bindings.db, owner(&call)?, &page).await?)
}

pub async fn get_container_agent(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_agent_id")?;
    json_text(200, container_agents::get_container_agent(&call.bindings.db, owner(&call)?, id).await?)
}

pub async fn drain_container_agent(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_agent_id")?;
    json(202, &container_agents::drain_container_agent(&call.bindings, owner(&call)?, id).await?)
}

pub async fn list_container_cleanups(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = call.parameter("container_agent_id")?;
    let db = &call.bindings.db;
    json_text(200, container_agents::list_container_cleanups(db, owner(&call)?, id, &page).await?)
}

pub async fn connect_container_agent(call: Call) -> Outcome<Response> {
    require_upgrade(&call)?;
    let account = account(&call)?;
    let shared = account.scopes.contains(&Scope::SharedContainerAgent);
    let command = DispatchCommand::Connect {
        owner_id: account.owner_id,
        shared,
        token_id: account.token_id,
        token_expires_at_ms: account.expires_at_ms,
    };
    object::upgrade(&call.bindings.dispatcher()?, &command).await
}
