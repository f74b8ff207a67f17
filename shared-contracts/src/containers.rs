//! Containers: the sandboxes that are there now, on all connected machines, as people see and steer them. What is asked
//! of them goes over the container agents' connections.

use std::fmt;
use std::str::FromStr;

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::dispatch::Lease;
use crate::executions::Limits;
use crate::ids::{ContainerAgentId, ExecutionId, ProjectId, TaskId};
use crate::limits::{FINDING_BYTES_MAX, IMAGE_BYTES_MAX};
use crate::problem::Problem;
use crate::sandboxes::SandboxProvider;

/// One lease's sandbox: `<execution id>.<generation>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId {
    pub execution_id: ExecutionId,
    pub generation: u32,
}

impl From<Lease> for ContainerId {
    fn from(lease: Lease) -> Self {
        Self { execution_id: lease.execution_id, generation: lease.generation }
    }
}

impl ContainerId {
    pub fn lease(self) -> Lease {
        Lease { execution_id: self.execution_id, generation: self.generation }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.execution_id, self.generation)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.to_string()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a container's id, which is an execution's id, a dot and a generation")]
pub struct NotAContainerId;

impl FromStr for ContainerId {
    type Err = NotAContainerId;

    fn from_str(text: &str) -> Result<Self, NotAContainerId> {
        let (execution_id, generation) = text.rsplit_once('.').ok_or(NotAContainerId)?;
        let is_number = !generation.is_empty() && generation.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || (generation.len() > 1 && generation.starts_with('0')) {
            return Err(NotAContainerId);
        }
        Ok(Self {
            execution_id: execution_id.parse().map_err(|_| NotAContainerId)?,
            generation: generation.parse().map_err(|_| NotAContainerId)?,
        })
    }
}

impl TryFrom<String> for ContainerId {
    type Error = NotAContainerId;

    fn try_from(text: String) -> Result<Self, NotAContainerId> {
        text.parse()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ContainerId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ContainerId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "One lease's sandbox: the execution's id, a dot, the lease's generation."
        })
    }
}

/// ```text
///   creating ──▶ running ⇄ frozen ──▶ stopped, then gone
///       └──────────┴────▶ error
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ContainerState {
    Creating,
    Running,
    /// Every process inside stands still.
    Frozen,
    Stopped,
    Error,
}

/// A container as its machine sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerFacts {
    #[garde(skip)]
    pub id: ContainerId,
    #[garde(skip)]
    pub project_id: ProjectId,
    #[garde(skip)]
    pub task_id: TaskId,
    #[garde(skip)]
    pub provider: SandboxProvider,
    #[garde(length(bytes, min = 1, max = IMAGE_BYTES_MAX))]
    pub image: String,
    #[garde(skip)]
    pub state: ContainerState,
    #[garde(skip)]
    pub limits: Limits,
    /// How often it was started again within its lease.
    #[garde(skip)]
    pub restarts: u32,
    #[garde(skip)]
    pub created_at_ms: u64,
    /// When what runs in it now was started.
    #[garde(skip)]
    pub started_at_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Container {
    pub container_agent_id: ContainerAgentId,
    pub container_agent: String,
    #[serde(flatten)]
    pub facts: ContainerFacts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerList {
    pub items: Vec<Container>,
    /// Container agents that did not answer in time: what runs there is not in the list.
    pub silent: Vec<ContainerAgentId>,
}

/// Which containers to list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerQuery {
    #[garde(skip)]
    pub project_id: Option<ProjectId>,
    #[garde(skip)]
    pub execution_id: Option<ExecutionId>,
}

/// What a container uses at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerStats {
    pub at_ms: u64,
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    pub memory_limit_bytes: u64,
    /// CPU time used since it was started.
    pub cpu_ms: u64,
    /// Over the last moments; 100 is one core.
    pub cpu_percent: f64,
    pub processes: u32,
    pub processes_limit: u32,
    /// Processes that the kernel killed because the memory limit was reached.
    pub out_of_memory_kills: u64,
    /// Forks refused because the process limit was reached.
    pub refused_forks: u64,
}

/// What is asked of a container agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum ContainerCommand {
    List,
    Get {
        id: ContainerId,
    },
    Stats {
        id: ContainerId,
    },
    /// The command again, in a new sandbox, under the same lease.
    Restart {
        id: ContainerId,
    },
    /// Everything inside is killed at once; its execution ends as cancelled.
    Stop {
        id: ContainerId,
    },
    Freeze {
        id: ContainerId,
    },
    Thaw {
        id: ContainerId,
    },
    /// What a stopped or orphaned one left on the machine. One that runs is refused.
    Remove {
        id: ContainerId,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum ContainerAnswer {
    Listed {
        containers: Vec<ContainerFacts>,
    },
    /// To get, restart, stop, freeze and thaw.
    Container {
        container: ContainerFacts,
    },
    Stats {
        stats: ContainerStats,
    },
    Removed,
    Refused {
        problem: Problem,
    },
}

/// What the container agent found left over and removed by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ContainerCleanup {
    #[garde(skip)]
    pub id: ContainerId,
    #[garde(skip)]
    pub provider: SandboxProvider,
    /// Why it was removed: its agent had died, it hung, its execution was over.
    #[garde(length(bytes, min = 1, max = FINDING_BYTES_MAX))]
    pub reason: String,
    #[garde(skip)]
    pub at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let id = ContainerId { execution_id: ExecutionId::new(1, 2), generation: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        let execution = id.execution_id;
        for text in [
            "",
            "x.1",
            &execution.to_string(),
            &format!("{execution}."),
            &format!("{execution}.01"),
            &format!("{execution}.+1"),
        ] {
            assert_eq!(text.parse::<ContainerId>(), Err(NotAContainerId), "{text}");
        }
    }
}
