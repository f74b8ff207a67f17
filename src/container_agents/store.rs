//! SQL on `container_agents`.

use shared_contracts::dispatch::Hello;
use shared_contracts::ids::{ContainerAgentId, OwnerId};
use shared_contracts::page::PageQuery;

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::entropy;
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'owner_id', owner_id, 'name', name, 'state', state, 'version', version,
          'capacity', capacity, 'running', (SELECT count(*) FROM executions
            WHERE container_agent_id = container_agents.id AND executions.state IN ('leased', 'running')),
          'sandbox_tier', sandbox_tier, 'memory_mb_max', memory_mb_max, 'cpu_cores_max', cpu_cores_max,
          'shared', json(iif(shared, 'true', 'false')),
          'connected_at_ms', connected_at_ms, 'disconnected_at_ms', disconnected_at_ms)"
    };
}

/// A name comes back as the machine it was.
pub const CONNECT: &str = "INSERT INTO container_agents
  (id, owner_id, name, state, version, capacity, sandbox_tier, memory_mb_max, cpu_cores_max, shared,
   connected_at_ms)
  VALUES (?1, ?2, ?3, 'connected', ?4, ?5, ?6, ?7, ?8, ?9, ?10)
  ON CONFLICT (owner_id, name) DO UPDATE SET state = 'connected', version = excluded.version,
    capacity = excluded.capacity, sandbox_tier = excluded.sandbox_tier, shared = excluded.shared,
    memory_mb_max = excluded.memory_mb_max, cpu_cores_max = excluded.cpu_cores_max,
    connected_at_ms = excluded.connected_at_ms, disconnected_at_ms = NULL
  RETURNING json_quote(id) AS record";

pub const DRAINING: &str =
    "UPDATE container_agents SET state = 'draining' WHERE id = ?1 AND state = 'connected'";

pub const DISCONNECT: &str =
    "UPDATE container_agents SET state = 'disconnected', disconnected_at_ms = ?2 WHERE id = ?1";

pub const LIST: &str = crate::page_of!(record!(), "container_agents WHERE owner_id = ?1");

pub const GET: &str =
    concat!("SELECT ", record!(), " AS record FROM container_agents WHERE id = ?1 AND owner_id = ?2");

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] =
    &[("CONNECT", CONNECT), ("DRAINING", DRAINING), ("DISCONNECT", DISCONNECT), ("LIST", LIST), ("GET", GET)];

pub async fn connect(
    db: &Db,
    owner_id: OwnerId,
    shared: bool,
    hello: &Hello,
    now_ms: u64,
) -> Outcome<ContainerAgentId> {
    let args = args![
        ContainerAgentId::new(now_ms, entropy()?).to_string(),
        owner_id.to_string(),
        hello.name.as_str(),
        hello.version.as_str(),
        hello.capacity,
        hello.sandbox_tier.as_str(),
        hello.memory_mb_max,
        hello.cpu_cores_max,
        shared,
        now_ms,
    ];
    db.typed(CONNECT, args).await?.ok_or_else(|| Failure::internal("recording a container agent", "no row"))
}

pub async fn draining(db: &Db, id: ContainerAgentId) -> Outcome<()> {
    db.change(DRAINING, args![id.to_string()]).await.map(drop)
}

pub async fn disconnect(db: &Db, id: ContainerAgentId, now_ms: u64) -> Outcome<()> {
    db.change(DISCONNECT, args![id.to_string(), now_ms]).await.map(drop)
}

pub async fn list(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, owner_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: ContainerAgentId) -> Outcome<Option<String>> {
    db.record(GET, args![id.to_string(), owner_id.to_string()]).await
}
