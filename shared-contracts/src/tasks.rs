//! A task: a card on the board, and its state machine.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, ProjectId, TaskId};
use crate::limits::{DESCRIPTION_BYTES_MAX, NAME_CHARS_MAX, PRIORITY_DEFAULT, PRIORITY_MAX};
use crate::text::{one_line, paragraphs};

/// ```text
///            execute                success                review
///   todo ──────────────▶ in_progress ─────────▶ ai_review ────────▶ human_review ──▶ done
///    ▲                      │ failure, cancel       │  └──────────────────────────────▲ │
///    └──────────────────────┴───────────────────────┴────── sent back, reopened ◀───────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TaskState {
    Todo,
    InProgress,
    AiReview,
    HumanReview,
    Done,
}

impl TaskState {
    /// Whether a person may move a task so. In and out of `in_progress` only executions move it.
    pub fn may_be_moved_to(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::AiReview, Self::HumanReview | Self::Done | Self::Todo)
                | (Self::HumanReview, Self::Done | Self::Todo)
                | (Self::Done, Self::Todo)
        )
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::InProgress => "in_progress",
            Self::AiReview => "ai_review",
            Self::HumanReview => "human_review",
            Self::Done => "done",
        }
    }
}

fn default_priority() -> u8 {
    PRIORITY_DEFAULT
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateTask {
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub title: String,
    /// What the coding agent is asked to do.
    #[serde(default)]
    #[garde(length(bytes, max = DESCRIPTION_BYTES_MAX), custom(paragraphs))]
    pub description: String,
    /// 0 to 9, higher first; 5 unless given.
    #[serde(default = "default_priority")]
    #[garde(range(max = PRIORITY_MAX))]
    pub priority: u8,
}

/// What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateTask {
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub title: Option<String>,
    #[garde(inner(length(bytes, max = DESCRIPTION_BYTES_MAX), custom(paragraphs)))]
    pub description: Option<String>,
    #[garde(inner(range(max = PRIORITY_MAX)))]
    pub priority: Option<u8>,
    #[garde(skip)]
    pub state: Option<TaskState>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Task {
    pub id: TaskId,
    pub project_id: ProjectId,
    pub title: String,
    pub description: String,
    pub priority: u8,
    pub state: TaskState,
    /// Why the last execution did not succeed.
    pub error: Option<String>,
    pub active_execution_id: Option<ExecutionId>,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}
