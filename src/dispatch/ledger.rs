//! What waits, what is on offer, what is leased, until when: the Dispatcher's own SQLite.
//!
//! A move says on what it was decided: on an [`Offer`] or a [`Lease`], not on an execution alone. So what was decided
//! before an await and comes after it changes nothing where another move came first; the answer says which.

use std::collections::HashMap;

use serde::Deserialize;
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId};
use shared_contracts::sandboxes::{OfferedSandbox, SandboxNeed, SandboxProvider, SandboxTier};
use worker::{SqlStorage, SqlStorageValue};

use super::commands::Queued;
use super::queue::{LOOKED_AT_PER_OWNER, Offer, Share, Waiting};
use super::statements::*;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::{Engine, Sql, number};
use crate::sql_args;

pub struct Ledger<E = SqlStorage> {
    sql: Sql<E>,
}

/// One execution's row.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    pub execution_id: ExecutionId,
    queued: String,
    state: EntryState,
    container_agent_id: Option<ContainerAgentId>,
    generation: Option<u32>,
    pub stop_reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EntryState {
    Waiting,
    Offered,
    Leased,
}

impl Entry {
    pub fn queued(&self) -> Outcome<Queued> {
        serde_json::from_str(&self.queued).map_err(|error| Failure::internal("a queued execution", error))
    }

    pub fn offer(&self) -> Option<Offer> {
        let container_agent_id = self.container_agent_id.filter(|_| self.state == EntryState::Offered)?;
        Some(Offer { execution_id: self.execution_id, container_agent_id })
    }

    pub fn lease(&self) -> Option<Lease> {
        let generation = self.generation.filter(|_| self.state == EntryState::Leased)?;
        Some(Lease { execution_id: self.execution_id, generation })
    }

    /// The container agent that it is offered to, or leased by.
    pub fn holder(&self) -> Option<ContainerAgentId> {
        self.container_agent_id
    }
}

#[derive(Deserialize)]
struct ShareRow {
    owner_id: OwnerId,
    active: u32,
    last_turn: u64,
}

#[derive(Deserialize)]
struct WaitingRow {
    execution_id: ExecutionId,
    owner_id: OwnerId,
    priority: u8,
    sandbox_tier: SandboxTier,
    sandbox_provider: Option<SandboxProvider>,
    image: Option<String>,
    memory_mb: u32,
    cpu_cores: f64,
    owner_concurrency: u32,
    arrival: u64,
    declined_by: Option<ContainerAgentId>,
}

impl From<WaitingRow> for Waiting {
    fn from(row: WaitingRow) -> Self {
        Self {
            execution_id: row.execution_id,
            owner_id: row.owner_id,
            priority: row.priority,
            sandbox: SandboxNeed { tier: row.sandbox_tier, provider: row.sandbox_provider, image: row.image },
            memory_mb: row.memory_mb,
            cpu_cores: row.cpu_cores,
            owner_concurrency: row.owner_concurrency,
            arrival: row.arrival,
            declined_by: row.declined_by,
        }
    }
}

#[derive(Deserialize)]
struct MachineRow {
    sandboxes: String,
}

#[derive(Deserialize)]
struct Number {
    number: Option<f64>,
}

fn json(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing a row", error))
}

impl<E: Engine> Ledger<E> {
    pub fn open(sql: Sql<E>) -> Outcome<Self> {
        sql.run(SCHEMA, Vec::new())?;
        Ok(Self { sql })
    }

    /// Whether the row was still as the move expects it.
    fn moves(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<bool> {
        Ok(self.sql.changed(sql, args)? > 0)
    }

    /// The same for a move whose last two parameters are a lease.
    fn moves_lease(&self, sql: &str, mut args: Vec<SqlStorageValue>, lease: Lease) -> Outcome<bool> {
        args.extend(sql_args![lease.execution_id.to_string(), number(lease.generation.into())]);
        self.moves(sql, args)
    }

    fn number(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Option<u64>> {
        let row: Option<Number> = self.sql.first(sql, args)?;
        Ok(row.and_then(|row| row.number).map(|number| number as u64))
    }

    // What is so.

    pub fn entry(&self, id: ExecutionId) -> Outcome<Option<Entry>> {
        self.sql.first(ENTRY, sql_args![id.to_string()])
    }

    pub fn held_by(&self, agent: ContainerAgentId) -> Outcome<Vec<Entry>> {
        self.sql.rows(HELD_BY, sql_args![agent.to_string()])
    }

    pub fn held_count(&self, agent: ContainerAgentId) -> Outcome<u32> {
        let count = self.number(HELD_COUNT, sql_args![agent.to_string()])?;
        Ok(count.and_then(|count| count.try_into().ok()).unwrap_or(0))
    }

    /// The one that is overdue the longest.
    pub fn expired(&self, now_ms: u64) -> Outcome<Option<Entry>> {
        self.sql.first(EXPIRED, sql_args![number(now_ms)])
    }

    pub fn next_expiry_ms(&self) -> Outcome<Option<u64>> {
        self.number(NEXT_EXPIRY, Vec::new())
    }

    /// Every owner that has something waiting.
    pub fn shares(&self) -> Outcome<HashMap<OwnerId, Share>> {
        let rows: Vec<ShareRow> = self.sql.rows(SHARES, Vec::new())?;
        let share = |ShareRow { owner_id, active, last_turn }| (owner_id, Share { active, last_turn });
        Ok(rows.into_iter().map(share).collect())
    }

    /// The first of what each of these owners has waiting.
    pub fn waiting(&self, owners: impl Iterator<Item = OwnerId>) -> Outcome<Vec<Waiting>> {
        let mut waiting = Vec::new();
        for owner_id in owners {
            let args = sql_args![owner_id.to_string(), number(LOOKED_AT_PER_OWNER)];
            waiting.extend(self.sql.rows::<WaitingRow>(WAITING, args)?.into_iter().map(Waiting::from));
        }
        Ok(waiting)
    }

    /// What a connected container agent's sandboxes are, by what offers are made; without what was found of them.
    pub fn sandboxes(&self, agent: ContainerAgentId) -> Outcome<Vec<OfferedSandbox>> {
        let Some(row): Option<MachineRow> = self.sql.first(MACHINE, sql_args![agent.to_string()])? else {
            return Ok(Vec::new());
        };
        serde_json::from_str(&row.sandboxes)
            .map_err(|error| Failure::internal("a machine's sandboxes", error))
    }

    /// Among its owner's own: 1 is next.
    pub fn position(&self, id: ExecutionId) -> Outcome<Option<u64>> {
        self.number(POSITION, sql_args![id.to_string()])
    }

    // Machines.

    pub fn keep_machine(&self, agent: ContainerAgentId, sandboxes: &[OfferedSandbox]) -> Outcome<()> {
        let asked_for = |sandbox: &OfferedSandbox| OfferedSandbox {
            provider: sandbox.provider,
            tier: sandbox.tier,
            reason: String::new(),
            images: sandbox.images.clone(),
            findings: Vec::new(),
        };
        let kept: Vec<_> = sandboxes.iter().map(asked_for).collect();
        self.sql.run(KEEP_MACHINE, sql_args![agent.to_string(), json(&kept)?])
    }

    pub fn forget_machine(&self, agent: ContainerAgentId) -> Outcome<()> {
        self.sql.run(FORGET_MACHINE, sql_args![agent.to_string()])
    }

    // Moves.

    pub fn enqueue(&self, queued: &Queued) -> Outcome<()> {
        self.sql.run(
            ENQUEUE,
            sql_args![
                queued.execution_id.to_string(),
                json(queued)?,
                queued.owner_id.to_string(),
                number(queued.priority.into()),
                queued.sandbox_tier.as_str(),
                number(queued.memory_mb.into()),
                queued.cpu_cores,
                number(queued.owner_concurrency.into()),
            ],
        )
    }

    pub fn offer(&self, offer: &Offer, expires_at_ms: u64) -> Outcome<bool> {
        let id = offer.execution_id.to_string();
        self.moves(OFFER, sql_args![offer.container_agent_id.to_string(), number(expires_at_ms), id])
    }

    /// Declined, or not answered: back into the queue, at its old place.
    pub fn withdraw(&self, offer: &Offer) -> Outcome<bool> {
        let args = sql_args![offer.execution_id.to_string(), offer.container_agent_id.to_string()];
        self.moves(WITHDRAW, args)
    }

    /// The offer becomes a lease, and only this is its owner's turn. `queued` carries the generation, which stays spent
    /// whatever becomes of the lease.
    pub fn lease(&self, offer: &Offer, queued: &Queued, expires_at_ms: u64) -> Outcome<bool> {
        let id = offer.execution_id.to_string();
        let is_made = self.moves(
            LEASE,
            sql_args![
                json(queued)?,
                number(queued.generation.into()),
                number(expires_at_ms),
                id.as_str(),
                offer.container_agent_id.to_string(),
            ],
        )?;
        if is_made {
            self.sql.run(TAKE_TURN, sql_args![id])?;
        }
        Ok(is_made)
    }

    /// A heartbeat renews it; a loss, which takes longer than one event, is not begun again before this.
    pub fn extend(&self, lease: Lease, until_ms: u64) -> Outcome<bool> {
        self.moves_lease(EXTEND, sql_args![number(until_ms)], lease)
    }

    /// The lease came to nothing: its execution waits as it is now, at its old place.
    pub fn requeue(&self, lease: Lease, queued: &Queued) -> Outcome<bool> {
        self.moves_lease(REQUEUE, sql_args![json(queued)?], lease)
    }

    pub fn stop_leased(&self, lease: Lease, reason: &str) -> Outcome<bool> {
        self.moves_lease(STOP_LEASED, sql_args![reason], lease)
    }

    pub fn forget(&self, lease: Lease) -> Outcome<bool> {
        self.moves_lease(FORGET, Vec::new(), lease)
    }

    /// This lease's terminal event is stored.
    pub fn forget_ended(&self, lease: Lease) -> Outcome<bool> {
        self.moves_lease(FORGET_ENDED, Vec::new(), lease)
    }

    /// No lease: whatever offer there is, is withdrawn, and none follows. It is due again at this time, unless it is
    /// forgotten before.
    pub fn stop_unleased(&self, id: ExecutionId, reason: &str, until_ms: u64) -> Outcome<bool> {
        self.moves(STOP_UNLEASED, sql_args![reason, number(until_ms), id.to_string()])
    }

    pub fn forget_stopped(&self, id: ExecutionId) -> Outcome<bool> {
        self.moves(FORGET_STOPPED, sql_args![id.to_string()])
    }
}
