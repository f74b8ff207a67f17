//! Executions and their events.

use shared_contracts::events::{EventQuery, SearchQuery};
use shared_contracts::executions::CreateExecution;
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::{JSON_BODY_BYTES_MAX, PAGE_ITEMS_DEFAULT};
use shared_contracts::page::PageQuery;
use worker::Response;

use super::owned::{claims, execution_id, owner, task_key};
use super::text;
use crate::entry::call::{Call, json, json_text};
use crate::entry::idempotency::once;
use crate::executions::commands::HubCommand;
use crate::executions::{self, create_execution as create, retry_execution as retry, stop_execution as stop};
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;

pub async fn list_executions(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, executions::list_executions(&call.bindings.db, task_key(&call)?, &page).await?)
}

pub async fn create_execution(call: Call) -> Outcome<Response> {
    let key = task_key(&call)?;
    let (input, body) = call.json_of::<CreateExecution>(JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = ExecutionId::new(seed.at_ms, seed.bits());
        text(&create::create_execution(&call.bindings, key, id, input, None).await?)
    })
    .await
}

pub async fn get_execution(call: Call) -> Outcome<Response> {
    let id = execution_id(&call).await?;
    json(200, &executions::get_execution(&call.bindings, owner(&call)?, id).await?)
}

pub async fn stop_execution(call: Call) -> Outcome<Response> {
    let id = execution_id(&call).await?;
    json(202, &stop::stop_execution(&call.bindings, owner(&call)?, id).await?)
}

pub async fn retry_execution(call: Call) -> Outcome<Response> {
    let (owner_id, id) = (owner(&call)?, execution_id(&call).await?);
    once(&call, &[], async |seed| {
        let new_id = ExecutionId::new(seed.at_ms, seed.bits());
        text(&retry::retry_execution(&call.bindings, owner_id, id, new_id).await?)
    })
    .await
}

pub async fn ask_hub(call: &Call, id: ExecutionId, command: HubCommand) -> Outcome<Response> {
    object::response(&call.bindings.hub(id)?, &command).await
}

pub async fn list_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, limit } = call.query()?;
    let id = execution_id(&call).await?;
    let (after, limit) = (after.unwrap_or(0), limit.unwrap_or(PAGE_ITEMS_DEFAULT));
    ask_hub(&call, id, HubCommand::Events { after, limit }).await
}

pub async fn search_events(call: Call) -> Outcome<Response> {
    let query: SearchQuery = call.query()?;
    let id = execution_id(&call).await?;
    ask_hub(&call, id, HubCommand::Search { query }).await
}

/// What a reconnecting browser says it has goes before what the page once asked for.
pub async fn stream_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, .. } = call.query()?;
    let id = execution_id(&call).await?;
    let last = match call.header("last-event-id").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::invalid(
                "Last-Event-ID",
                "is not the sequence of an event; send the `id` of the last event seen",
            )
        })?),
        None => after,
    };
    ask_hub(&call, id, HubCommand::Stream { after: last.unwrap_or(0), token_id: call.caller.token_id() })
        .await
}

pub fn require_upgrade(call: &Call) -> Outcome<()> {
    match call.header("upgrade") {
        Some(wanted) if wanted.eq_ignore_ascii_case("websocket") => Ok(()),
        _ => Err(Failure::malformed("This opens a WebSocket; send `Upgrade: websocket`")),
    }
}

pub async fn watch_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, .. } = call.query()?;
    require_upgrade(&call)?;
    let id = execution_id(&call).await?;
    let command = HubCommand::Watch { after: after.unwrap_or(0), token_id: call.caller.token_id() };
    object::upgrade(&call.bindings.hub(id)?, &command).await
}

pub async fn append_events(call: Call) -> Outcome<Response> {
    require_upgrade(&call)?;
    // The hub knows best which lease writes, and says so on the socket.
    let lease = claims(&call)?.lease;
    let command = HubCommand::Append { generation: lease.generation };
    object::upgrade(&call.bindings.hub(lease.execution_id)?, &command).await
}
