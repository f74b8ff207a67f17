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
use crate::platform::clock::now_ms;
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

/// Looked at in one pass: as many as may be connected.
const REPAIRED_PER_PASS: u32 = 1_000;
/// Who came within this time is not looked at.
const SETTLED_MS: u64 = 60_000;

/// For the cron: who went while the Dispatcher was not there to hear it is not recorded as connected any longer, so that
/// nobody is refused for a machine that is gone.
pub async fn repair(bindings: &Bindings) -> Outcome<()> {
    let before_ms = now_ms().saturating_sub(SETTLED_MS);
    let container_agents = store::connected(&bindings.db, before_ms, REPAIRED_PER_PASS).await?;
    if container_agents.is_empty() {
        return Ok(());
    }
    let command = DispatchCommand::NotConnected { container_agents };
    let gone: Vec<ContainerAgentId> = object::call(&bindings.dispatcher()?, &command).await?;
    for id in gone {
        store::not_connected(&bindings.db, id, now_ms(), before_ms).await?;
    }
    Ok(())
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
