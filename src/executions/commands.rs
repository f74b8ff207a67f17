//! What may be asked of an [`ExecutionHub`](super::hub::ExecutionHub), by the Worker and the Dispatcher.

use serde::{Deserialize, Serialize};
use shared_contracts::dispatch::Lease;
use shared_contracts::events::SearchQuery;
use shared_contracts::executions::Outcome;
use shared_contracts::ids::{ExecutionId, ProjectId, TaskId, TokenId};
use shared_contracts::patches::PatchHappening;

/// Which execution a hub is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    pub execution_id: ExecutionId,
    pub project_id: ProjectId,
    pub task_id: TaskId,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum HubCommand {
    /// Begins the log. Answers nothing; a second time changes nothing.
    Open { identity: Identity },
    /// A new lease writes from now on. Answers the sequence of its first event.
    OpenGeneration { identity: Identity, generation: u32, machine: String },
    /// The lease is gone: nothing under it, or an older one, is believed any more. Answers nothing.
    CloseGeneration { lease: Lease, reason: String },
    /// The plane itself ends it. Answers nothing; an ended log stays as it is.
    End { identity: Identity, generation: u32, outcome: Outcome, reason: String },
    /// Something happened to a patch batch of this execution. Answers nothing; told again, or to a log that has ended,
    /// it changes nothing.
    Tell { happening: PatchHappening },
    /// The execution was deleted: nothing is kept, nobody is answered any more. Answers nothing.
    Forget,
    /// Records in D1 an end that D1 missed. Answers whether the log has ended.
    Record,
    /// Answers an `EventPage`.
    Events { after: u64, limit: u32 },
    /// Answers an `EventPage`.
    Search { query: SearchQuery },
    /// Answers a stream of server-sent events.
    Stream { after: u64, token_id: Option<TokenId> },
    /// Upgrades to a watcher's WebSocket.
    Watch { after: u64, token_id: Option<TokenId> },
    /// Upgrades to the writer's WebSocket.
    Append { generation: u32 },
}
