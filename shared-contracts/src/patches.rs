//! Patch batches: operations that apply together or not at all.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::hash::Sha256;
use crate::ids::{ExecutionId, PatchBatchId, ProjectId};
use crate::limits::{NAME_CHARS_MAX, PATCH_OPERATIONS_MAX};
use crate::paths::WorkspacePath;
use crate::text::one_line;
use crate::workspaces::FileMode;

/// A file's whole content: text as it is, anything else in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Content {
    Text(String),
    /// Standard base64 with padding (RFC 4648 §4).
    Base64(String),
}

impl Content {
    pub fn from_bytes(bytes: &[u8]) -> Self {
        use base64::Engine as _;
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(base64::engine::general_purpose::STANDARD.encode(bytes)),
        }
    }

    /// The bytes, or none where the base64 is not one.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        use base64::Engine as _;
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => base64::engine::general_purpose::STANDARD.decode(text).ok(),
        }
    }
}

/// A replacement of whole lines. `old` and `new` hold their line terminators; shared first and last lines are
/// context. An empty `old` inserts before `start_line`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hunk {
    /// The first line of `old` in the base file, counted from 1.
    pub start_line: u32,
    pub old: String,
    pub new: String,
}

/// One change to one file. `base_sha256` is the file's content that the change was made against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchOperation {
    /// The file must not exist.
    Create {
        path: WorkspacePath,
        content: Content,
        #[serde(default)]
        mode: FileMode,
    },
    /// Replaces lines; hunks are in order and do not overlap.
    Edit {
        path: WorkspacePath,
        base_sha256: Option<Sha256>,
        hunks: Vec<Hunk>,
    },
    /// Replaces the whole content of a file that exists.
    Replace {
        path: WorkspacePath,
        base_sha256: Option<Sha256>,
        content: Content,
    },
    Delete {
        path: WorkspacePath,
        base_sha256: Option<Sha256>,
    },
    /// The target must not exist. Content and mode go along.
    Rename {
        from: WorkspacePath,
        to: WorkspacePath,
        base_sha256: Option<Sha256>,
    },
    SetMode {
        path: WorkspacePath,
        mode: FileMode,
    },
}

impl PatchOperation {
    /// The path it is about; of a rename the old one.
    pub fn path(&self) -> &WorkspacePath {
        match self {
            Self::Create { path, .. }
            | Self::Edit { path, .. }
            | Self::Replace { path, .. }
            | Self::Delete { path, .. }
            | Self::Rename { from: path, .. }
            | Self::SetMode { path, .. } => path,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchBatch {
    /// Operations on one file compose in this order.
    #[garde(length(min = 1, max = PATCH_OPERATIONS_MAX))]
    pub operations: Vec<PatchOperation>,
}

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
pub struct ApplyPatches {
    #[garde(skip)]
    pub patch_batch_id: PatchBatchId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RejectPatch {
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub reason: String,
}

/// `proposed → applied | rejected | conflicted`; a conflicted one may be applied again once the workspace moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchState {
    Proposed,
    Applied,
    Rejected,
    Conflicted,
}

impl PatchState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Conflicted => "conflicted",
        }
    }
}

/// By which rung of the placement ladder an operation found its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PlacementStep {
    /// The file is the one the operation was made against.
    Base,
    /// The old lines stand exactly once in the file.
    Exact,
}

/// Lines of a file, counted from 1, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LineRange {
    pub first: u32,
    pub last: u32,
}

/// What became, or would become, of one operation. Each text is written for whoever must send it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OperationOutcome {
    Applied {
        step: PlacementStep,
        /// Where in the new file; empty for operations on whole files.
        lines: Vec<LineRange>,
    },
    /// The file is already as the operation wants it.
    AlreadyApplied,
    /// The file is no longer the one the operation was made against.
    StaleBase {
        wanted: Sha256,
        found: Sha256,
        hint: String,
    },
    Ambiguous {
        hunk: u32,
        candidates: Vec<LineRange>,
        hint: String,
    },
    NoMatch {
        hunk: u32,
        hint: String,
    },
    MissingFile {
        hint: String,
    },
    FileExists {
        hint: String,
    },
    NotText {
        hint: String,
    },
    TooLarge {
        hint: String,
    },
    DeniedPath {
        why: String,
    },
    Overlaps {
        with: u32,
        hint: String,
    },
    Malformed {
        what: String,
        hint: String,
    },
}

impl OperationOutcome {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::AlreadyApplied)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OperationReceipt {
    /// Position in the batch, from 0.
    pub index: u32,
    pub path: WorkspacePath,
    #[serde(flatten)]
    pub outcome: OperationOutcome,
}

/// A file before and after; none where it did not or does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileReceipt {
    pub path: WorkspacePath,
    pub sha256_before: Option<Sha256>,
    pub sha256_after: Option<Sha256>,
}

/// What applying a batch did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Receipt {
    pub patch_batch_id: PatchBatchId,
    pub project_id: ProjectId,
    pub revision_before: u64,
    /// The same as before where everything was already applied.
    pub revision_after: u64,
    pub operations: Vec<OperationReceipt>,
    pub files: Vec<FileReceipt>,
    pub applied_at_ms: u64,
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
