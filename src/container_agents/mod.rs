//! Container agents as people see them: the machines that run executions, connected, draining or gone.
//!
//! Operations: `list_container_agents`, `get_container_agent`, `drain_container_agent`, `connect_container_agent`,
//! `list_container_cleanups`.
//! Who is connected is the Dispatcher's; the record here follows it.

pub mod store;

pub use store::Machine;

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

/// Those that take work of this owner's now.
pub async fn usable(db: &Db, owner_id: OwnerId) -> Outcome<Vec<Machine>> {
    store::usable(db, owner_id).await
}

pub async fn list_container_cleanups(
    db: &Db,
    owner_id: OwnerId,
    id: ContainerAgentId,
    page: &PageQuery,
) -> Outcome<String> {
    get_container_agent(db, owner_id, id).await?;
    store::list_cleanups(db, id, page).await
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
