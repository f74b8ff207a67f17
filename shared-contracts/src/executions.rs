//! An execution: one try at a task by one coding agent in one sandbox.

use std::collections::BTreeMap;

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::ids::{ContainerAgentId, ExecutionId, OwnerId, PatchBatchId, ProjectId, TaskId};
use crate::limits::*;
use crate::sandboxes::{SandboxNeed, SandboxProvider, SandboxTier};
use crate::secrets::SecretUse;
use crate::text::{no_nul, one_line};

/// ```text
///             accept               sandbox started
///   queued ───────────▶ leased ─────────────────────▶ running ──▶ succeeded | failed | timed_out
///    │  ▲                │  │                          │  │
///    │  └─ lease lost ───┴──┼──────────────────────────┴──┼────▶ failed, the third time
///    └──── stop ────────────┴── stop, agent ends ─────────┴────▶ cancelled
/// ```
/// A lease is lost when it expires or its container agent gives it up. That is an event, `lost`, and no state: the
/// execution is queued again in the same update.
/// The column is `executions.state`; every arrow is one guarded update on `generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ExecutionState {
    Queued,
    Leased,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

impl ExecutionState {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Leased,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
    ];

    /// Whether nothing can happen to it any more.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
}

impl Outcome {
    pub fn state(self) -> ExecutionState {
        match self {
            Self::Succeeded => ExecutionState::Succeeded,
            Self::Failed => ExecutionState::Failed,
            Self::Cancelled => ExecutionState::Cancelled,
            Self::TimedOut => ExecutionState::TimedOut,
        }
    }
}

/// The program that does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CodingAgent {
    /// The execution's `command`, run as it is.
    Command,
}

/// What the sandbox may use. Absent fields take the defaults of the settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RequestedLimits {
    #[garde(inner(range(min = MEMORY_MB_MIN, max = MEMORY_MB_MAX)))]
    pub memory_mb: Option<u32>,
    #[garde(inner(range(min = CPU_CORES_MIN, max = CPU_CORES_MAX)))]
    pub cpu_cores: Option<f64>,
    #[garde(inner(range(min = 1, max = WALL_SECONDS_MAX)))]
    pub wall_seconds: Option<u32>,
    #[garde(inner(range(min = 4, max = PROCESSES_MAX)))]
    pub processes: Option<u32>,
    #[garde(inner(range(min = 1, max = DISK_MB_MAX)))]
    pub disk_mb: Option<u32>,
    #[garde(inner(range(min = OPEN_FILES_MIN, max = OPEN_FILES_MAX)))]
    pub open_files: Option<u32>,
    #[garde(inner(range(min = 1, max = OUTPUT_MB_MAX)))]
    pub output_mb: Option<u32>,
}

/// What the sandbox may use, all of it said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Limits {
    pub memory_mb: u32,
    pub cpu_cores: f64,
    pub wall_seconds: u32,
    pub processes: u32,
    pub disk_mb: u32,
    /// Of one process.
    #[serde(default = "default_open_files")]
    pub open_files: u32,
    /// What it may print; the rest is only counted.
    #[serde(default = "default_output_mb")]
    pub output_mb: u32,
}

fn default_open_files() -> u32 {
    OPEN_FILES_DEFAULT
}

fn default_output_mb() -> u32 {
    OUTPUT_MB_MAX
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_mb: MEMORY_MB_DEFAULT,
            cpu_cores: CPU_CORES_DEFAULT,
            wall_seconds: WALL_SECONDS_DEFAULT,
            processes: PROCESSES_DEFAULT,
            disk_mb: DISK_MB_DEFAULT,
            open_files: OPEN_FILES_DEFAULT,
            output_mb: OUTPUT_MB_MAX,
        }
    }
}

impl Limits {
    /// These limits with what was asked for put over them.
    pub fn with(self, requested: &RequestedLimits) -> Self {
        Self {
            memory_mb: requested.memory_mb.unwrap_or(self.memory_mb),
            cpu_cores: requested.cpu_cores.unwrap_or(self.cpu_cores),
            wall_seconds: requested.wall_seconds.unwrap_or(self.wall_seconds),
            processes: requested.processes.unwrap_or(self.processes),
            disk_mb: requested.disk_mb.unwrap_or(self.disk_mb),
            open_files: requested.open_files.unwrap_or(self.open_files),
            output_mb: requested.output_mb.unwrap_or(self.output_mb),
        }
    }
}

fn default_priority() -> u8 {
    PRIORITY_DEFAULT
}

fn variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.len() <= NAME_CHARS_MAX
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn environment_rules(environment: &BTreeMap<String, String>, _: &()) -> garde::Result {
    if environment.len() > ENVIRONMENT_VARIABLES_MAX {
        return Err(garde::Error::new(format!("has more than {ENVIRONMENT_VARIABLES_MAX} variables")));
    }
    for (name, value) in environment {
        if !variable_name(name) {
            return Err(garde::Error::new(format!(
                "`{}` is not a variable name: letters, digits and `_`, not starting with a digit",
                name.escape_debug()
            )));
        }
        if value.len() > ENVIRONMENT_VALUE_BYTES_MAX || value.contains('\0') {
            return Err(garde::Error::new(format!(
                "the value of `{name}` is longer than {ENVIRONMENT_VALUE_BYTES_MAX} bytes or contains NUL"
            )));
        }
    }
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateExecution {
    #[garde(skip)]
    pub coding_agent: CodingAgent,
    /// Program and arguments; the program is looked up in the sandbox's `PATH`.
    #[garde(
        length(min = 1, max = COMMAND_ARGUMENTS_MAX),
        inner(length(bytes, max = COMMAND_ARGUMENT_BYTES_MAX), custom(no_nul))
    )]
    pub command: Vec<String>,
    #[serde(default)]
    #[garde(custom(environment_rules))]
    pub environment: BTreeMap<String, String>,
    #[serde(default)]
    #[garde(dive)]
    pub limits: RequestedLimits,
    /// Globs below the workspace's root, such as `target/report/**`; matching files are kept, also on failure.
    #[serde(default)]
    #[garde(length(max = ARTIFACT_GLOBS_MAX), inner(length(bytes, min = 1, max = PATH_BYTES_MAX), custom(no_nul)))]
    pub artifacts: Vec<String>,
    /// Keeps all of them as one artifact, `artifacts.tar.gz`.
    #[serde(default)]
    #[garde(skip)]
    pub archive_artifacts: bool,
    /// 0 to 9, higher first; 5 unless given.
    #[serde(default = "default_priority")]
    #[garde(range(max = PRIORITY_MAX))]
    pub priority: u8,
    /// The weakest sandbox that will do; unless given `limited`, or what the project asks for where that is more.
    #[serde(default)]
    #[garde(skip)]
    pub sandbox_tier: Option<SandboxTier>,
    /// What makes the sandbox; whatever the machine has that is strong enough unless given.
    #[serde(default)]
    #[garde(skip)]
    pub sandbox_provider: Option<SandboxProvider>,
    /// What is in the sandbox besides the workspace: `host` for the machine's own programs, an image of a registry named by
    /// its digest, or `dir:` or `tar:` with a path of the machine. One that the machine lists; its default unless given.
    #[serde(default)]
    #[garde(inner(length(bytes, min = 1, max = IMAGE_BYTES_MAX), custom(one_line)))]
    pub image: Option<String>,
    /// Gives it a pseudo-terminal of this size instead of two pipes.
    #[serde(default)]
    #[garde(dive)]
    pub terminal: Option<Terminal>,
    /// Secrets of the project that it gets.
    #[serde(default)]
    #[garde(length(max = SECRETS_PER_PROJECT_MAX), dive)]
    pub secrets: Vec<SecretUse>,
    /// The workspace's revision to start from; the head unless given.
    #[garde(inner(range(min = 1)))]
    pub revision: Option<u64>,
}

/// The size of a pseudo-terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Terminal {
    #[garde(range(min = 1, max = TERMINAL_SIDE_MAX))]
    pub rows: u16,
    #[garde(range(min = 1, max = TERMINAL_SIDE_MAX))]
    pub columns: u16,
}

/// Everything a container agent needs to run an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecutionSpec {
    pub coding_agent: CodingAgent,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    pub artifacts: Vec<String>,
    #[serde(default)]
    pub archive_artifacts: bool,
    pub sandbox_tier: SandboxTier,
    #[serde(default)]
    pub sandbox_provider: Option<SandboxProvider>,
    #[serde(default)]
    pub image: Option<String>,
    #[serde(default)]
    pub terminal: Option<Terminal>,
    #[serde(default)]
    pub secrets: Vec<SecretUse>,
    /// 0 where the workspace was empty.
    pub base_revision: u64,
}

impl ExecutionSpec {
    pub fn sandbox_need(&self) -> SandboxNeed {
        SandboxNeed { tier: self.sandbox_tier, provider: self.sandbox_provider, image: self.image.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Execution {
    pub id: ExecutionId,
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub owner_id: OwnerId,
    pub state: ExecutionState,
    /// Raised by every lease; 0 before the first.
    pub generation: u32,
    pub priority: u8,
    pub spec: ExecutionSpec,
    pub container_agent_id: Option<ContainerAgentId>,
    /// Its place among its owner's own queued executions, 1 is next: higher priority first, then older. What other
    /// owners have queued is not counted: owners take turns. Only while queued, and only where one execution is
    /// asked for.
    #[serde(default)]
    pub queue_position: Option<u32>,
    pub stop_requested: bool,
    pub exit_code: Option<i32>,
    pub exit_signal: Option<i32>,
    /// Why it ended as it did, or why it was lost.
    pub reason: Option<String>,
    pub patch_batch_id: Option<PatchBatchId>,
    pub retry_of: Option<ExecutionId>,
    /// How often its machine was lost.
    pub lost_count: u32,
    pub memory_peak_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
    pub event_count: Option<u64>,
    pub created_at_ms: u64,
    pub started_at_ms: Option<u64>,
    pub ended_at_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> CreateExecution {
        CreateExecution {
            coding_agent: CodingAgent::Command,
            command: vec!["true".into()],
            environment: BTreeMap::new(),
            limits: RequestedLimits::default(),
            artifacts: Vec::new(),
            archive_artifacts: false,
            priority: 5,
            sandbox_tier: None,
            sandbox_provider: None,
            image: None,
            terminal: None,
            secrets: Vec::new(),
            revision: None,
        }
    }

    #[test]
    fn rules_name_the_field() {
        assert!(valid().validate().is_ok());
        let mut no_command = valid();
        no_command.command.clear();
        assert!(no_command.validate().unwrap_err().to_string().contains("command"));
        let mut nul = valid();
        nul.command = vec!["a\0b".into()];
        assert!(nul.validate().unwrap_err().to_string().contains("command[0]"));
        let mut variable = valid();
        variable.environment.insert("1A".into(), String::new());
        assert!(variable.validate().unwrap_err().to_string().contains("`1A`"));
        let mut memory = valid();
        memory.limits.memory_mb = Some(1);
        assert!(memory.validate().unwrap_err().to_string().contains("limits.memory_mb"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let text = r#"{"coding_agent":"command","command":["true"],"limts":{}}"#;
        assert!(serde_json::from_str::<CreateExecution>(text).unwrap_err().to_string().contains("limts"));
    }
}
