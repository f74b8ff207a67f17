//! An execution's events: numbered without gaps from 1, across all its generations.

use serde::{Deserialize, Serialize};

use crate::executions::{ExecutionState, Outcome};
use crate::ids::{ArtifactId, PatchBatchId};
use crate::patches::PatchHappening;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EventSource {
    /// The coding agent, through its output.
    Agent,
    /// The sandbox it runs in.
    Container,
    /// Patchbay itself.
    System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum LogStream {
    Stdout,
    Stderr,
    /// A message of Patchbay's, not of the coding agent's.
    System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ContainerStatus {
    Creating,
    Running,
    Stopped,
    Error,
}

/// What an execution used, from its cgroup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum SecretPlace {
    Patch,
    Artifact,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EgressMoment {
    /// The request was read and judged; nothing was dialled yet.
    Decided,
    /// Its connection is closed; the bytes are all that it moved.
    Ended,
}

/// One connection out of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EgressEvent {
    pub moment: EgressMoment,
    /// Counts the execution's connections from 1; an end has the number of its decision.
    pub connection: u64,
    pub allowed: bool,
    /// As it was asked for; empty where the request names none.
    pub host: String,
    pub port: Option<u16>,
    /// What the host was found to be: the address that is dialled.
    pub address: Option<String>,
    /// A word for programs, such as `not_listed`.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
    /// Out of the sandbox.
    pub bytes_up: u64,
    /// Into the sandbox.
    pub bytes_down: u64,
    /// Decisions before this one that were made and not told, because there were too many at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped_before: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EventBody {
    /// One line of output, without its line terminator.
    Log {
        level: LogLevel,
        stream: LogStream,
        text: String,
        /// The line was longer than a log line may be: it goes on in the next event of this stream.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        continues: bool,
    },
    /// The execution came into this state.
    Status {
        state: ExecutionState,
        message: String,
    },
    /// The lease ended before the execution did: another lease follows, or its end.
    Lost {
        reason: String,
    },
    ContainerStatus {
        status: ContainerStatus,
        message: String,
    },
    ResourceUsage {
        memory_bytes: u64,
        /// 100 is one core.
        cpu_percent: f64,
        processes: u32,
    },
    /// A patch batch was proposed.
    Patch {
        patch_batch_id: PatchBatchId,
        operations: u32,
        summary: String,
    },
    /// The plane says what became of a patch batch of this execution.
    PatchEvent(PatchHappening),
    Artifact {
        artifact_id: ArtifactId,
        path: String,
        size_bytes: u64,
    },
    /// The sandbox asked for the network: what was decided, and later how the connection ended.
    Egress(EgressEvent),
    /// A secret stands in something that the execution delivers. It was not changed.
    SecretFound {
        name: String,
        place: SecretPlace,
        path: String,
        /// From the file's beginning.
        offset_bytes: u64,
    },
    /// The terminal event: nothing follows it.
    Ended {
        outcome: Outcome,
        exit_code: Option<i32>,
        exit_signal: Option<i32>,
        reason: String,
        usage: Usage,
        patch_batch_id: Option<PatchBatchId>,
    },
}

impl EventBody {
    /// The `event:` field under which a server-sent event stream shows it.
    pub fn stream_name(&self) -> &'static str {
        match self {
            Self::Log { .. } => "log",
            Self::Status { .. } => "status",
            Self::Lost { .. } => "lost",
            Self::ContainerStatus { .. } => "container_status",
            Self::ResourceUsage { .. } => "resource_usage",
            Self::Patch { .. } => "patch",
            Self::PatchEvent(_) => "patch_event",
            Self::Artifact { .. } => "artifact",
            Self::Egress(_) => "egress",
            Self::SecretFound { .. } => "secret_found",
            Self::Ended { .. } => "complete",
        }
    }

    /// Shows every text that comes, or may come, from outside of Patchbay: what a secret could stand in.
    pub fn each_text(&mut self, mut show: impl FnMut(&mut String)) {
        match self {
            Self::Log { text, .. } => show(text),
            Self::Status { message, .. } | Self::ContainerStatus { message, .. } => show(message),
            Self::Lost { reason } | Self::Ended { reason, .. } => show(reason),
            Self::Patch { summary, .. } => show(summary),
            Self::Artifact { path, .. } | Self::SecretFound { path, .. } => show(path),
            Self::Egress(egress) => [&mut egress.host, &mut egress.message].into_iter().for_each(show),
            // The plane's own.
            Self::PatchEvent(_) | Self::ResourceUsage { .. } => {}
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// 1, 2, 3, …: the order in which watchers see it.
    pub sequence: u64,
    /// The lease under which it was written; 0 before the first.
    pub generation: u32,
    /// When it was written, by the writer's clock.
    pub at_ms: u64,
    pub source: EventSource,
    #[serde(flatten)]
    pub body: EventBody,
}

/// Which events to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventQuery {
    /// Only events with a greater sequence.
    #[garde(skip)]
    pub after: Option<u64>,
    /// At most 1,000; 50 unless given.
    #[garde(inner(range(min = 1, max = crate::limits::EVENT_PAGE_ITEMS_MAX)))]
    pub limit: Option<u32>,
}

/// Which log lines to find.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SearchQuery {
    /// Text that the line contains, in any case.
    #[garde(inner(length(bytes, min = 1, max = crate::limits::SEARCH_TEXT_BYTES_MAX)))]
    pub text: Option<String>,
    /// This level or a more severe one.
    #[garde(skip)]
    pub level: Option<LogLevel>,
    #[garde(skip)]
    pub after: Option<u64>,
    #[garde(inner(range(min = 1, max = crate::limits::EVENT_PAGE_ITEMS_MAX)))]
    pub limit: Option<u32>,
}

/// Events in order. `next` is the `after` of the following page; none means the log's present end was reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventPage {
    pub items: Vec<Event>,
    pub next: Option<u64>,
    /// The newest sequence in the log.
    pub head: u64,
    /// Whether the terminal event is in the log.
    pub ended: bool,
}

/// What a WebSocket watcher is sent. Events come as they are, one JSON object a line, one or more in a message;
/// this is everything else. A text message `ping` is answered `pong`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "watch", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WatchMessage {
    /// You were too slow and are sent nothing more: acknowledge and resume after this sequence.
    Sync {
        after: u64,
        head: u64,
    },
    Heartbeat {
        head: u64,
    },
}

/// What a WebSocket watcher sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "watch", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum WatcherMessage {
    /// Everything up to this sequence was taken; makes room for more, and resumes after a `sync`.
    Acknowledge { through: u64 },
}
