//! What may be asked of the [`Dispatcher`](super::object::Dispatcher).

use serde::{Deserialize, Serialize};
use shared_contracts::containers::{ContainerAnswer, ContainerCommand, ContainerId};
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId, ProjectId, TaskId, TokenId};
use shared_contracts::sandboxes::{SandboxProvider, SandboxTier};

/// An execution that waits for a container agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Queued {
    pub execution_id: ExecutionId,
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub owner_id: OwnerId,
    pub priority: u8,
    /// The weakest sandbox that will do.
    pub sandbox_tier: SandboxTier,
    #[serde(default)]
    pub sandbox_provider: Option<SandboxProvider>,
    #[serde(default)]
    pub image: Option<String>,
    /// What its sandbox needs of a machine.
    pub memory_mb: u32,
    pub cpu_cores: f64,
    /// The newest lease so far; 0 before the first.
    pub generation: u32,
    pub lost_count: u32,
    /// How many of its owner's executions may run at once.
    pub owner_concurrency: u32,
}

/// What one container agent said to a question about containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub container_agent_id: ContainerAgentId,
    pub name: String,
    /// None of one that did not answer in time, or is not connected.
    pub answer: Option<ContainerAnswer>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum DispatchCommand {
    /// Answers nothing. What is queued or leased already stays as it is.
    Enqueue { queued: Queued },
    /// Answers nothing. Out of the queue, or the container agent is told to stop it.
    Stop { execution_id: ExecutionId, reason: String },
    /// Answers the place among its owner's own, 1 is next; none where it does not wait.
    QueuePosition { execution_id: ExecutionId },
    /// The terminal event is stored: the lease is free. Answers nothing.
    Ended { lease: Lease },
    /// Answers nothing; the container agent takes no more work.
    Drain { container_agent_id: ContainerAgentId },
    /// Answers those of these executions that are neither queued nor leased.
    Unknown { executions: Vec<ExecutionId> },
    /// Answers those of these container agents that have no connection.
    NotConnected { container_agents: Vec<ContainerAgentId> },
    /// Upgrades to a container agent's WebSocket. The token has been checked.
    Connect { owner_id: OwnerId, shared: bool, token_id: TokenId, token_expires_at_ms: Option<u64> },
    /// Asks about containers: `of` names the one that the command is about. Answers [`Told`]s, each within
    /// [`CONTAINER_ANSWER_SECONDS`](shared_contracts::limits::CONTAINER_ANSWER_SECONDS): of the container agent that
    /// holds its lease, otherwise of all connected ones that this owner may use.
    AskContainers { owner_id: OwnerId, of: Option<ContainerId>, command: ContainerCommand },
    /// Answers nothing. Connections opened with this token check it again with their next heartbeat.
    TokenRevoked { token_id: TokenId },
}
