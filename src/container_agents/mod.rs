//! Container agents as people see them: the machines that run executions, connected, draining or gone.
//!
//! Operations: `list_container_agents`, `get_container_agent`, `drain_container_agent`, `connect_container_agent`.
//! Who is connected is the Dispatcher's; the record here follows it.

pub mod store;

use shared_contracts::container_agents::ContainerAgent;
use shared_contracts::ids::{ContainerAgentId, OwnerId};
use shared_contracts::page::PageQuery;

use crate::bindings::Bindings;
use crate::dispatch::commands::DispatchCommand;
use crate::platform::d1::{Db, parse};
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;

pub async fn list_container_agents(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    store::list(db, owner_id, page).await
}

pub async fn get_container_agent(db: &Db, owner_id: OwnerId, id: ContainerAgentId) -> Outcome<String> {
    store::get(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("container agent", id))
}

/// It finishes what it runs and takes nothing new. Draining twice is draining once.
pub async fn drain_container_agent(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: ContainerAgentId,
) -> Outcome<ContainerAgent> {
    get_container_agent(&bindings.db, owner_id, id).await?;
    let command = DispatchCommand::Drain { container_agent_id: id };
    object::call::<()>(&bindings.dispatcher()?, &command).await?;
    parse(&get_container_agent(&bindings.db, owner_id, id).await?)
}
