//! A patch batch as it is kept: proposed, then decided.

use garde::Validate;
use serde::{Deserialize, Serialize};

use super::{PatchBatch, PatchFormat, Receipt};
use crate::ids::{ExecutionId, PatchBatchId, ProjectId};
use crate::limits::NAME_CHARS_MAX;
use crate::text::one_line;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposePatch {
    /// Made by the sender, so that a proposal sent twice is one proposal.
    #[garde(skip)]
    pub id: Option<PatchBatchId>,
    #[garde(skip)]
    pub project_id: ProjectId,
    /// The execution that made it, if one did.
    #[garde(skip)]
    pub execution_id: Option<ExecutionId>,
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub title: String,
    /// The workspace's revision it was made against.
    #[garde(skip)]
    pub base_revision: u64,
    #[garde(dive)]
    pub batch: PatchBatch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RejectPatch {
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub reason: String,
}

/// `proposed → applied | rejected | conflicted`, `applied → reverted`; a conflicted one may be applied again once the
/// workspace moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchState {
    Proposed,
    Applied,
    Rejected,
    Conflicted,
    Reverted,
}

impl PatchState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Conflicted => "conflicted",
            Self::Reverted => "reverted",
        }
    }
}

/// A patch batch's record, without its operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchSummary {
    pub id: PatchBatchId,
    pub project_id: ProjectId,
    pub execution_id: Option<ExecutionId>,
    pub title: String,
    pub state: PatchState,
    pub base_revision: u64,
    pub operation_count: u32,
    pub size_bytes: u64,
    /// Of the text that it was sent as; none where operations were sent.
    #[serde(default)]
    pub format: Option<PatchFormat>,
    /// The batch that it takes back.
    #[serde(default)]
    pub reverts: Option<PatchBatchId>,
    pub revision_after: Option<u64>,
    /// Why it was rejected or in what it conflicted.
    pub reason: Option<String>,
    pub created_at_ms: u64,
    pub decided_at_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Patch {
    #[serde(flatten)]
    pub summary: PatchSummary,
    pub batch: PatchBatch,
    /// Once applied.
    pub receipt: Option<Receipt>,
}
