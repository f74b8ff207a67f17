//! Container agents: the machines that run executions.

use serde::{Deserialize, Serialize};

use crate::ids::{ContainerAgentId, OwnerId};
use crate::sandboxes::{OfferedSandbox, SandboxTier};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ContainerAgentState {
    Connected,
    /// Finishes what it runs and takes nothing new.
    Draining,
    Disconnected,
}

impl ContainerAgentState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Draining => "draining",
            Self::Disconnected => "disconnected",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerAgent {
    pub id: ContainerAgentId,
    pub owner_id: OwnerId,
    pub name: String,
    pub state: ContainerAgentState,
    /// The container agent's own version.
    pub version: String,
    /// Executions it takes at once.
    pub capacity: u32,
    /// Executions it holds now.
    pub running: u32,
    /// The strongest of its sandboxes.
    pub sandbox_tier: SandboxTier,
    /// Each kind of sandbox that was looked for there, with what `patchbay-agent doctor` says of it.
    #[serde(default)]
    pub sandboxes: Vec<OfferedSandbox>,
    /// The most memory that it gives one execution; what asks for more waits for another container agent.
    pub memory_mb_max: u32,
    /// The most processor cores that it gives one execution.
    pub cpu_cores_max: f64,
    /// Whether it runs every owner's executions.
    pub shared: bool,
    pub connected_at_ms: u64,
    pub disconnected_at_ms: Option<u64>,
}
