//! How a container agent and the Dispatcher talk: one WebSocket that the container agent opens, JSON text messages.
//!
//! ```text
//!   agent  ── hello ──▶ plane ── welcome | refused
//!   plane  ── offer ──▶ agent ── accept | decline ──▶ plane ── leased ──▶ agent runs it
//!   agent  ── heartbeat (every 10 s) ──▶ plane ── heartbeat_answer (renewed tokens, leases that are gone)
//!   plane  ── cancel | drain ──▶ agent       agent ── abandon | draining | cleaned_up ──▶ plane
//!   plane  ── container (a question about a sandbox, numbered) ──▶ agent ── container (its answer) ──▶ plane
//! ```
//! A lease ends by itself 30 s after its last heartbeat, or when the hub stores the terminal event.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::containers::{ContainerAnswer, ContainerCleanup, ContainerCommand};
use crate::executions::ExecutionSpec;
use crate::ids::{ContainerAgentId, ExecutionId, ProjectId, TaskId};
use crate::limits::{CONTAINER_AGENT_CAPACITY_MAX, CPU_CORES_MIN, MEMORY_MB_MIN, NAME_CHARS_MAX};
use crate::problem::Problem;
use crate::sandboxes::{OfferedSandbox, SandboxProvider, SandboxTier};
use crate::secrets::LeasedSecret;
use crate::text::one_line;

/// Raised when a message changes its meaning.
pub const PROTOCOL_VERSION: u32 = 1;
/// The oldest that this plane still speaks.
pub const PROTOCOL_VERSION_MIN: u32 = 1;

/// Close codes of this socket, most from the range that RFC 6455 leaves to applications.
pub mod close {
    /// The protocol is too old.
    pub const OUTDATED: u16 = 4426;
    /// Another connection of the same container agent took its place.
    pub const REPLACED: u16 = 4409;
    /// A message broke a rule.
    pub const MALFORMED: u16 = 4400;
    /// Its access token was revoked or has expired (RFC 6455: a policy is broken).
    pub const TOKEN: u16 = 1008;
}

/// A hold on an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    pub execution_id: ExecutionId,
    pub generation: u32,
}

/// The container agent's first message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
pub struct Hello {
    /// Read first, and alone decides whether the rest is read.
    #[garde(skip)]
    pub protocol: u32,
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub version: String,
    /// Unique among the owner's container agents: a second connection takes the first one's place.
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub name: String,
    #[garde(range(min = 1, max = CONTAINER_AGENT_CAPACITY_MAX))]
    pub capacity: u32,
    /// The strongest of `sandboxes`.
    #[garde(skip)]
    pub sandbox_tier: SandboxTier,
    /// What it can make, and what it found that it cannot.
    #[serde(default)]
    #[garde(length(max = SandboxProvider::ALL.len()), dive)]
    pub sandboxes: Vec<OfferedSandbox>,
    /// The most that it gives one execution: what asks for more is not offered here.
    #[garde(range(min = MEMORY_MB_MIN))]
    pub memory_mb_max: u32,
    #[garde(range(min = CPU_CORES_MIN))]
    pub cpu_cores_max: f64,
    /// What it still holds from before.
    #[garde(length(max = CONTAINER_AGENT_CAPACITY_MAX as usize))]
    pub leases: Vec<Lease>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum FromContainerAgent {
    Hello(Hello),
    Accept {
        execution_id: ExecutionId,
    },
    Decline {
        execution_id: ExecutionId,
        reason: String,
    },
    Heartbeat {
        leases: Vec<Lease>,
    },
    /// The container agent cannot finish it (it was restarted, say): let another run it at once.
    Abandon {
        lease: Lease,
        reason: String,
    },
    /// Takes nothing new; the connection closes when the last lease is done.
    Draining,
    /// Answers the command with this number.
    Container {
        request: u64,
        answer: ContainerAnswer,
    },
    /// It found these left over and removed them.
    CleanedUp {
        removed: Vec<ContainerCleanup>,
    },
}

/// Everything needed to run an execution under a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeasedExecution {
    pub lease: Lease,
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub task_title: String,
    /// The task's description: what the coding agent is asked to do.
    pub prompt: String,
    pub spec: ExecutionSpec,
    /// What no patch of this project may touch, so that the coding agent is told at once.
    #[serde(default)]
    pub denied_paths: Vec<String>,
    /// What it may reach over the network, `host:port` each; nothing unless listed.
    #[serde(default)]
    pub egress: Vec<String>,
    #[serde(default)]
    pub secrets: Vec<LeasedSecret>,
    /// The sequence of the first event to write.
    pub next_sequence: u64,
    /// For everything about this execution, under this generation only.
    pub execution_token: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RenewedToken {
    pub lease: Lease,
    pub execution_token: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum ToContainerAgent {
    Welcome {
        container_agent_id: ContainerAgentId,
        heartbeat_seconds: u64,
        lease_seconds: u64,
        /// Leases of the hello that are no longer its own: stop them, write nothing more.
        gone: Vec<Lease>,
    },
    /// The last message before the plane closes the connection.
    Refused {
        problem: Problem,
        /// For `outdated_protocol`: what this plane needs.
        protocol_min: u32,
    },
    Offer {
        execution_id: ExecutionId,
    },
    Leased(Box<LeasedExecution>),
    /// The offer that was accepted is no longer there.
    Withdrawn {
        execution_id: ExecutionId,
    },
    HeartbeatAnswer {
        gone: Vec<Lease>,
        renewed: Vec<RenewedToken>,
    },
    Cancel {
        lease: Lease,
        reason: String,
    },
    Drain,
    /// Answered once, with the same number.
    Container {
        request: u64,
        command: ContainerCommand,
    },
}
