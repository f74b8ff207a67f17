//! What became of a patch: outcomes, operation by operation, and receipts.

use serde::{Deserialize, Serialize};

use super::{PatchBatch, PatchFormat};
use crate::hash::Sha256;
use crate::ids::{PatchBatchId, ProjectId};
use crate::paths::WorkspacePath;

/// By which rung of the placement ladder an operation found its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PlacementStep {
    /// The file is the one the operation was made against.
    Base,
    /// Mapped line by line from the base to the present file.
    Provenance,
    /// The old lines stand exactly once in the file.
    Exact,
    /// They do but for their line terminators.
    LineEndings,
    /// They do but for blanks at the ends of lines.
    TrailingSpace,
    /// They do but for an indentation that differs everywhere alike; the new lines are indented to match.
    Indentation,
    /// They do but for typographic quotes, dashes and spaces.
    Punctuation,
    /// The lines to replace stand there, some of the context around them was edited; far ahead of any other place.
    Partial,
}

/// Lines of a file, counted from 1, both ends included. `last` is one less than `first` where there is no line, as
/// after a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LineRange {
    pub first: u32,
    pub last: u32,
}

/// A place where a hunk may belong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Candidate {
    pub lines: LineRange,
    /// The first of these lines as they stand in the file.
    pub excerpt: String,
    /// How alike they are to the hunk's old lines; 100 is the same.
    pub score_percent: u8,
}

/// The place that comes nearest to a hunk that has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Nearest {
    pub lines: LineRange,
    pub score_percent: u8,
    /// From the hunk's old lines to the file's, as a unified diff without heads.
    pub diff: String,
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
        candidates: Vec<Candidate>,
        hint: String,
    },
    NoMatch {
        hunk: u32,
        nearest: Option<Nearest>,
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
        /// Where in the text that was sent, counted from 1; none where it was not text.
        line: Option<u32>,
        column: Option<u32>,
        what: String,
        hint: String,
    },
}

impl OperationOutcome {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Applied { .. } | Self::AlreadyApplied)
    }

    /// As `outcome` says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::AlreadyApplied => "already_applied",
            Self::StaleBase { .. } => "stale_base",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NoMatch { .. } => "no_match",
            Self::MissingFile { .. } => "missing_file",
            Self::FileExists { .. } => "file_exists",
            Self::NotText { .. } => "not_text",
            Self::TooLarge { .. } => "too_large",
            Self::DeniedPath { .. } => "denied_path",
            Self::Overlaps { .. } => "overlaps",
            Self::Malformed { .. } => "malformed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OperationReceipt {
    /// Position in the batch, from 0.
    pub index: u32,
    /// As it was sent: a refused path may be no path of a workspace.
    pub path: String,
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

/// What applying a patch to a directory did, and how to take it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TreeReceipt {
    /// None where nothing was written: a check, or everything was already applied.
    pub id: Option<PatchBatchId>,
    /// The format that the text was in.
    pub format: Option<PatchFormat>,
    /// What was forgiven in reading it.
    pub notes: Vec<String>,
    pub operations: Vec<OperationReceipt>,
    pub files: Vec<FileReceipt>,
    pub applied_at_ms: u64,
    /// The apply that this one took back.
    pub reverts: Option<PatchBatchId>,
    /// Takes it back; left out where the receipt is only shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<PatchBatch>,
}
