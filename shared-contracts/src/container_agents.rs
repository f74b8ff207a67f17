//! Container agents: the machines that run executions.

use serde::{Deserialize, Serialize};

use crate::ids::{ContainerAgentId, OwnerId};

/// How strong a machine's sandbox is; the order is the strength.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SandboxTier {
    /// No isolation to speak of. Never offered work unless it asks for `none`.
    None,
    /// Every wall stands, but some limit cannot be enforced on this machine.
    #[default]
    Limited,
    /// Every wall and every limit.
    Strong,
}

impl SandboxTier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Limited => "limited",
            Self::Strong => "strong",
        }
    }
}

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
    pub sandbox_tier: SandboxTier,
    /// The most memory that it gives one execution; what asks for more waits for another container agent.
    pub memory_mb_max: u32,
    /// The most processor cores that it gives one execution.
    pub cpu_cores_max: f64,
    /// Whether it runs every owner's executions.
    pub shared: bool,
    pub connected_at_ms: u64,
    pub disconnected_at_ms: Option<u64>,
}
