//! SQL on `container_agents`.

use shared_contracts::containers::{ContainerCleanup, ContainerId};
use shared_contracts::dispatch::Hello;
use shared_contracts::ids::{ContainerAgentId, ContainerCleanupId, OwnerId};
use shared_contracts::limits::{CLEANUPS_KEPT_MAX, USABLE_MACHINES_MAX};
use shared_contracts::page::PageQuery;
use shared_contracts::sandboxes::{OfferedSandbox, SandboxProvider};

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::{derived, entropy};
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'owner_id', owner_id, 'name', name, 'state', state, 'version', version,
          'capacity', capacity, 'running', (SELECT count(*) FROM executions
            WHERE container_agent_id = container_agents.id AND executions.state IN ('leased', 'running')),
          'sandbox_tier', sandbox_tier, 'sandboxes', json(sandboxes), 'memory_mb_max', memory_mb_max, 'cpu_cores_max', cpu_cores_max,
          'shared', json(iif(shared, 'true', 'false')),
          'connected_at_ms', connected_at_ms, 'disconnected_at_ms', disconnected_at_ms)"
    };
}

/// A name comes back as the machine it was.
pub const CONNECT: &str = "INSERT INTO container_agents
  (id, owner_id, name, state, version, capacity, sandbox_tier, memory_mb_max, cpu_cores_max, shared,
   connected_at_ms, sandboxes)
  VALUES (?1, ?2, ?3, 'connected', ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
  ON CONFLICT (owner_id, name) DO UPDATE SET state = 'connected', version = excluded.version,
    capacity = excluded.capacity, sandbox_tier = excluded.sandbox_tier, sandboxes = excluded.sandboxes,
    shared = excluded.shared,
    memory_mb_max = excluded.memory_mb_max, cpu_cores_max = excluded.cpu_cores_max,
    connected_at_ms = excluded.connected_at_ms, disconnected_at_ms = NULL
  RETURNING json_quote(id) AS record";

pub const DRAINING: &str =
    "UPDATE container_agents SET state = 'draining' WHERE id = ?1 AND state = 'connected'";

pub const DISCONNECT: &str =
    "UPDATE container_agents SET state = 'disconnected', disconnected_at_ms = ?2 WHERE id = ?1";

/// Those that are said to be connected, and were before a while ago, oldest first.
pub const CONNECTED: &str = "SELECT json_group_array(id) AS record FROM (SELECT id FROM container_agents
  WHERE state <> 'disconnected' AND connected_at_ms < ?1 ORDER BY connected_at_ms LIMIT ?2)";

/// Unless it has come back meanwhile.
pub const NOT_CONNECTED: &str = "UPDATE container_agents SET state = 'disconnected', disconnected_at_ms = ?2
  WHERE id = ?1 AND connected_at_ms < ?3";

/// Those that take work of this owner's now, with what their sandboxes are, without all that was looked at. At most
/// `?2`, the owner's own first.
pub const USABLE: &str = "SELECT json_group_array(json_object('name', name, 'capacity', capacity,
    'memory_mb_max', memory_mb_max, 'cpu_cores_max', cpu_cores_max, 'sandboxes', json((
      SELECT json_group_array(json_set(value, '$.findings', json('[]'))) FROM json_each(sandboxes))))) AS record
  FROM (SELECT * FROM container_agents WHERE owner_id = ?1 AND state = 'connected'
    UNION ALL
    SELECT * FROM container_agents WHERE shared = 1 AND state = 'connected' AND owner_id <> ?1
    LIMIT ?2)";

/// `?1` is a JSON array. What is recorded already stays as it is.
pub const CLEANED_UP: &str =
    "INSERT INTO container_cleanups (id, container_agent_id, container_id, provider, reason, at_ms)
  SELECT value ->> '$.id', ?2, value ->> '$.container_id', value ->> '$.provider', value ->> '$.reason',
    value ->> '$.at_ms' FROM json_each(?1) WHERE true ON CONFLICT (id) DO NOTHING";

pub const FORGET_CLEANUPS: &str = "DELETE FROM container_cleanups WHERE container_agent_id = ?1
  AND id <= (SELECT id FROM container_cleanups WHERE container_agent_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)";

pub const LIST_CLEANUPS: &str = crate::page_of!(
    "json_object('id', container_id, 'provider', provider, 'reason', reason, 'at_ms', at_ms)",
    "container_cleanups WHERE container_agent_id = ?1"
);

pub const LIST: &str = crate::page_of!(record!(), "container_agents WHERE owner_id = ?1");

pub const GET: &str =
    concat!("SELECT ", record!(), " AS record FROM container_agents WHERE id = ?1 AND owner_id = ?2");

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("CONNECT", CONNECT),
    ("DRAINING", DRAINING),
    ("DISCONNECT", DISCONNECT),
    ("CONNECTED", CONNECTED),
    ("NOT_CONNECTED", NOT_CONNECTED),
    ("USABLE", USABLE),
    ("CLEANED_UP", CLEANED_UP),
    ("FORGET_CLEANUPS", FORGET_CLEANUPS),
    ("LIST_CLEANUPS", LIST_CLEANUPS),
    ("LIST", LIST),
    ("GET", GET),
];

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
        json(&hello.sandboxes)?,
    ];
    db.typed(CONNECT, args).await?.ok_or_else(|| Failure::internal("recording a container agent", "no row"))
}

pub async fn draining(db: &Db, id: ContainerAgentId) -> Outcome<()> {
    db.change(DRAINING, args![id.to_string()]).await.map(drop)
}

pub async fn disconnect(db: &Db, id: ContainerAgentId, now_ms: u64) -> Outcome<()> {
    db.change(DISCONNECT, args![id.to_string(), now_ms]).await.map(drop)
}

pub async fn connected(db: &Db, before_ms: u64, limit: u32) -> Outcome<Vec<ContainerAgentId>> {
    Ok(db.typed(CONNECTED, args![before_ms, limit]).await?.unwrap_or_default())
}

pub async fn not_connected(db: &Db, id: ContainerAgentId, now_ms: u64, before_ms: u64) -> Outcome<()> {
    db.change(NOT_CONNECTED, args![id.to_string(), now_ms, before_ms]).await.map(drop)
}

/// A container agent that takes work of an owner's.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Machine {
    pub name: String,
    pub capacity: u32,
    pub memory_mb_max: u32,
    pub cpu_cores_max: f64,
    /// Without findings.
    pub sandboxes: Vec<OfferedSandbox>,
}

pub async fn usable(db: &Db, owner_id: OwnerId) -> Outcome<Vec<Machine>> {
    let machines = db.typed(USABLE, args![owner_id.to_string(), USABLE_MACHINES_MAX]).await?;
    Ok(machines.unwrap_or_default())
}

#[derive(serde::Serialize)]
struct CleanupRow<'a> {
    id: ContainerCleanupId,
    container_id: ContainerId,
    provider: SandboxProvider,
    reason: &'a str,
    at_ms: u64,
}

impl<'a> CleanupRow<'a> {
    /// Reported again it is the same row. A machine's clock that is ahead is not believed.
    fn of(agent: ContainerAgentId, cleanup: &'a ContainerCleanup, now_ms: u64) -> Self {
        let ContainerCleanup { id: container_id, provider, reason, at_ms } = cleanup;
        let what = format!("{agent} {container_id} {} {at_ms}", provider.as_str());
        let at_ms = *at_ms.min(&now_ms);
        let id = ContainerCleanupId::new(at_ms, derived(what));
        Self { id, container_id: *container_id, provider: *provider, reason, at_ms }
    }
}

/// The newest are kept.
pub async fn cleaned_up(
    db: &Db,
    agent: ContainerAgentId,
    removed: &[ContainerCleanup],
    now_ms: u64,
) -> Outcome<()> {
    let rows: Vec<_> = removed.iter().map(|cleanup| CleanupRow::of(agent, cleanup, now_ms)).collect();
    let agent = agent.to_string();
    let statements = [
        (CLEANED_UP, args![json(&rows)?, agent.as_str()] as &[_]),
        (FORGET_CLEANUPS, args![agent.as_str(), CLEANUPS_KEPT_MAX]),
    ];
    db.change_all(&statements).await.map(drop)
}

pub async fn list_cleanups(db: &Db, agent: ContainerAgentId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST_CLEANUPS, agent.to_string(), page).await
}

fn json(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing a record", error))
}

pub async fn list(db: &Db, owner_id: OwnerId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, owner_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: ContainerAgentId) -> Outcome<Option<String>> {
    db.record(GET, args![id.to_string(), owner_id.to_string()]).await
}
