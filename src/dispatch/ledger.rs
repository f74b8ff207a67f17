//! The Dispatcher's own SQLite: what waits, what is on offer, what is leased, until when.

use std::collections::HashMap;

use serde::Deserialize;
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId};

use super::commands::Queued;
use super::queue::{Offer, Share, Waiting};
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::{Sql, number};
use crate::sql_args;

/// `queued` holds the whole [`Queued`] as JSON: it comes back whole when a lease is lost. An execution is in one
/// row from its queueing to its end; `generation` is set while it is leased.
const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS executions (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    execution_id TEXT NOT NULL UNIQUE,
    owner_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    queued TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'offered', 'leased')),
    container_agent_id TEXT,
    declined_by TEXT,
    generation INTEGER,
    stop_reason TEXT,
    -- When an offer or a lease runs out.
    expires_at_ms INTEGER
  );
  CREATE INDEX IF NOT EXISTS executions_by_expiry ON executions (expires_at_ms) WHERE expires_at_ms IS NOT NULL;
  CREATE INDEX IF NOT EXISTS executions_by_agent ON executions (container_agent_id)
    WHERE container_agent_id IS NOT NULL;
  CREATE TABLE IF NOT EXISTS turns (owner_id TEXT PRIMARY KEY, turn INTEGER NOT NULL);";

pub struct Ledger {
    sql: Sql,
}

/// One execution's row.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub execution_id: ExecutionId,
    queued: String,
    pub state: EntryState,
    pub container_agent_id: Option<ContainerAgentId>,
    pub generation: Option<u32>,
    pub stop_reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryState {
    Waiting,
    Offered,
    Leased,
}

const ENTRY: &str =
    "SELECT execution_id, queued, state, container_agent_id, generation, stop_reason FROM executions";

impl Entry {
    pub fn queued(&self) -> Outcome<Queued> {
        serde_json::from_str(&self.queued).map_err(|error| Failure::internal("a queued execution", error))
    }

    pub fn lease(&self) -> Option<Lease> {
        let generation = self.generation.filter(|_| self.state == EntryState::Leased)?;
        Some(Lease { execution_id: self.execution_id, generation })
    }

    pub fn is_held_by(&self, agent: ContainerAgentId) -> bool {
        self.container_agent_id == Some(agent)
    }
}

#[derive(Deserialize)]
struct WaitingRow {
    arrival: u64,
    queued: String,
    declined_by: Option<ContainerAgentId>,
}

#[derive(Deserialize)]
struct ShareRow {
    owner_id: OwnerId,
    active: u32,
    turn: u64,
}

#[derive(Deserialize)]
struct Count {
    count: u32,
}

#[derive(Deserialize)]
struct Expiry {
    at_ms: Option<f64>,
}

fn json(queued: &Queued) -> Outcome<String> {
    serde_json::to_string(queued).map_err(|error| Failure::internal("writing a row", error))
}

impl Ledger {
    pub fn open(sql: Sql) -> Outcome<Self> {
        sql.run(SCHEMA, Vec::new())?;
        Ok(Self { sql })
    }

    pub fn enqueue(&self, queued: &Queued) -> Outcome<()> {
        self.sql.run(
            "INSERT INTO executions (execution_id, owner_id, priority, queued, state) VALUES (?, ?, ?, ?, 'waiting')
             ON CONFLICT (execution_id) DO NOTHING",
            sql_args![
                queued.execution_id.to_string(),
                queued.owner_id.to_string(),
                number(queued.priority.into()),
                json(queued)?
            ],
        )
    }

    pub fn entry(&self, id: ExecutionId) -> Outcome<Option<Entry>> {
        self.sql.first(&format!("{ENTRY} WHERE execution_id = ?"), sql_args![id.to_string()])
    }

    pub fn held_by(&self, agent: ContainerAgentId) -> Outcome<Vec<Entry>> {
        self.sql.rows(&format!("{ENTRY} WHERE container_agent_id = ?"), sql_args![agent.to_string()])
    }

    pub fn expired(&self, now_ms: u64) -> Outcome<Vec<Entry>> {
        self.sql.rows(&format!("{ENTRY} WHERE expires_at_ms <= ? LIMIT 100"), sql_args![number(now_ms)])
    }

    pub fn next_expiry_ms(&self) -> Outcome<Option<u64>> {
        let row: Option<Expiry> = self.sql.first(
            "SELECT min(expires_at_ms) AS at_ms FROM executions WHERE expires_at_ms IS NOT NULL",
            Vec::new(),
        )?;
        Ok(row.and_then(|row| row.at_ms).map(|at_ms| at_ms as u64))
    }

    pub fn forget(&self, id: ExecutionId) -> Outcome<()> {
        self.sql.run("DELETE FROM executions WHERE execution_id = ?", sql_args![id.to_string()])
    }

    pub fn offer(&self, offer: &Offer, expires_at_ms: u64) -> Outcome<()> {
        let (agent, id) = (offer.container_agent_id.to_string(), offer.execution_id.to_string());
        self.sql.run(
            "UPDATE executions SET state = 'offered', container_agent_id = ?, expires_at_ms = ?
             WHERE execution_id = ? AND state = 'waiting'",
            sql_args![agent, number(expires_at_ms), id.as_str()],
        )?;
        self.sql.run(
            "INSERT INTO turns (owner_id, turn)
             SELECT owner_id, 1 + (SELECT coalesce(max(turn), 0) FROM turns) FROM executions WHERE execution_id = ?
             ON CONFLICT (owner_id) DO UPDATE SET turn = excluded.turn",
            sql_args![id],
        )
    }

    /// Back into the queue, at its old place.
    pub fn withdraw(&self, id: ExecutionId, declined_by: Option<ContainerAgentId>) -> Outcome<()> {
        self.sql.run(
            // What was to be stopped meanwhile does not wait: it is due at once.
            "UPDATE executions SET state = 'waiting', container_agent_id = NULL, declined_by = ?, generation = NULL,
             expires_at_ms = CASE WHEN stop_reason IS NULL THEN NULL ELSE 1 END WHERE execution_id = ?",
            sql_args![declined_by.map(|id| id.to_string()), id.to_string()],
        )
    }

    /// An offer becomes a lease. `queued` carries the generation, which stays spent whatever becomes of the lease.
    pub fn lease(&self, queued: &Queued, expires_at_ms: u64) -> Outcome<()> {
        self.sql.run(
            "UPDATE executions SET state = 'leased', queued = ?, generation = ?, expires_at_ms = ?
             WHERE execution_id = ?",
            sql_args![
                json(queued)?,
                number(queued.generation.into()),
                number(expires_at_ms),
                queued.execution_id.to_string()
            ],
        )
    }

    pub fn renew(&self, lease: Lease, expires_at_ms: u64) -> Outcome<()> {
        self.sql.run(
            "UPDATE executions SET expires_at_ms = ? WHERE execution_id = ? AND generation = ?",
            sql_args![number(expires_at_ms), lease.execution_id.to_string(), number(lease.generation.into())],
        )
    }

    /// A loss takes longer than one event: it is not begun again before this.
    pub fn postpone(&self, id: ExecutionId, until_ms: u64) -> Outcome<()> {
        self.sql.run(
            "UPDATE executions SET expires_at_ms = ? WHERE execution_id = ?",
            sql_args![number(until_ms), id.to_string()],
        )
    }

    /// As it waits after a loss: what it is now, at its old place.
    pub fn requeue(&self, queued: &Queued) -> Outcome<()> {
        self.sql.run(
            "UPDATE executions SET queued = ? WHERE execution_id = ?",
            sql_args![json(queued)?, queued.execution_id.to_string()],
        )?;
        self.withdraw(queued.execution_id, None)
    }

    pub fn stop(&self, id: ExecutionId, reason: &str) -> Outcome<()> {
        self.sql.run(
            "UPDATE executions SET stop_reason = ? WHERE execution_id = ?",
            sql_args![reason, id.to_string()],
        )
    }

    pub fn waiting(&self) -> Outcome<Vec<Waiting>> {
        let rows: Vec<WaitingRow> = self.sql.rows(
            "SELECT arrival, queued, declined_by FROM executions
             WHERE state = 'waiting' AND stop_reason IS NULL ORDER BY arrival",
            Vec::new(),
        )?;
        rows.into_iter()
            .map(|row| {
                let queued: Queued = serde_json::from_str(&row.queued)
                    .map_err(|error| Failure::internal("a queued execution", error))?;
                Ok(Waiting {
                    execution_id: queued.execution_id,
                    owner_id: queued.owner_id,
                    priority: queued.priority,
                    sandbox_tier: queued.sandbox_tier,
                    owner_concurrency: queued.owner_concurrency,
                    arrival: row.arrival,
                    declined_by: row.declined_by,
                })
            })
            .collect()
    }

    pub fn shares(&self) -> Outcome<HashMap<OwnerId, Share>> {
        let rows: Vec<ShareRow> = self.sql.rows(
            "SELECT owner_id, (SELECT count(*) FROM executions
               WHERE executions.owner_id = turns.owner_id AND state <> 'waiting') AS active, turn FROM turns",
            Vec::new(),
        )?;
        Ok(rows
            .into_iter()
            .map(|row| (row.owner_id, Share { active: row.active, last_turn: row.turn }))
            .collect())
    }

    /// 1 is next: before it go higher priorities, and older ones of its own.
    pub fn position(&self, id: ExecutionId) -> Outcome<Option<u32>> {
        let row: Option<Count> = self.sql.first(
            "SELECT 1 + (SELECT count(*) FROM executions AS other WHERE other.state <> 'leased'
               AND (other.priority > mine.priority
                 OR (other.priority = mine.priority AND other.arrival < mine.arrival))) AS count
             FROM executions AS mine WHERE execution_id = ? AND state <> 'leased'",
            sql_args![id.to_string()],
        )?;
        Ok(row.map(|row| row.count))
    }
}
