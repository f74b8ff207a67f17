//! What is asked about patches and answered: applying and checking, receipts as they are kept, conflicts.

use garde::Validate;
use serde::{Deserialize, Serialize};

use super::{FileReceipt, LineRange, OperationReceipt, PatchBatch, PatchSummary, Receipt};
use crate::ids::{ExecutionId, PatchBatchId, PatchEventId, ProjectId};
use crate::limits::NAME_CHARS_MAX;
use crate::problem::Fault;
use crate::text::one_line;

/// In what form a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchFormat {
    /// As `diff -u` and `git diff` write it.
    UnifiedDiff,
    /// `<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE`, each with the file's name above it.
    SearchReplace,
    /// `*** Begin Patch` to `*** End Patch`.
    Codex,
    /// File names, each with its whole content in a fenced block.
    WholeFile,
    /// A patch batch's own operations as JSON.
    Json,
}

impl PatchFormat {
    pub const ALL: [Self; 5] =
        [Self::UnifiedDiff, Self::SearchReplace, Self::Codex, Self::WholeFile, Self::Json];
}

/// Who made a patch that is sent directly, as far as the sender knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchOrigin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub execution_id: Option<ExecutionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub coding_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub provider: Option<String>,
}

/// What a patch says: the text as it was made, or its operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchBody {
    Text(#[garde(skip)] String),
    Batch(#[garde(dive)] PatchBatch),
}

/// A patch sent to be applied or checked at once, without having been proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DirectPatch {
    #[garde(skip)]
    pub project_id: ProjectId,
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub title: String,
    /// Of a text; the one it looks like unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[garde(skip)]
    pub format: Option<PatchFormat>,
    #[serde(flatten)]
    #[garde(dive)]
    pub body: PatchBody,
    #[serde(default)]
    #[garde(dive)]
    pub origin: PatchOrigin,
}

/// A patch to apply or to check: either a proposed batch by its id and nothing else, or one that is sent along, as
/// `text` in any format or as a `batch` of operations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchRequest {
    #[garde(skip)]
    pub patch_batch_id: Option<PatchBatchId>,
    #[garde(skip)]
    pub project_id: Option<ProjectId>,
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub title: Option<String>,
    /// Of `text`; the one it looks like unless given.
    #[garde(skip)]
    pub format: Option<PatchFormat>,
    #[garde(skip)]
    pub text: Option<String>,
    #[garde(dive)]
    pub batch: Option<PatchBatch>,
    /// The workspace's revision that it was made against: without a `base_sha256`, an edit is placed by way of that
    /// revision's file, and a file that others changed since is neither replaced nor deleted.
    #[garde(skip)]
    pub base_revision: Option<u64>,
    #[garde(dive)]
    pub origin: Option<PatchOrigin>,
}

/// Which of the two a [`PatchRequest`] is.
#[derive(Debug, Clone, PartialEq)]
pub enum WantedPatch {
    Proposed(PatchBatchId),
    Direct { patch: DirectPatch, base_revision: Option<u64> },
}

impl PatchRequest {
    pub fn proposed(id: PatchBatchId) -> Self {
        Self { patch_batch_id: Some(id), ..Self::default() }
    }

    /// The fault names the field that is missing or too many.
    pub fn wanted(self) -> Result<WantedPatch, Fault> {
        let fault = |field: &str, message: &str| Fault { field: field.into(), message: message.into() };
        if let Some(id) = self.patch_batch_id {
            return if self == Self::proposed(id) {
                Ok(WantedPatch::Proposed(id))
            } else {
                Err(fault("patch_batch_id", "names a proposed batch, so nothing else may be given beside it"))
            };
        }
        let body = match (self.text, self.batch) {
            (Some(text), None) => PatchBody::Text(text),
            (None, Some(batch)) if self.format.is_none() => PatchBody::Batch(batch),
            (None, Some(_)) => return Err(fault("format", "is of a `text`, not of a `batch`")),
            (Some(_), Some(_)) => return Err(fault("batch", "may not be given beside `text`")),
            (None, None) => return Err(fault("text", "or `batch` or `patch_batch_id` must be given")),
        };
        let patch = DirectPatch {
            project_id: self.project_id.ok_or_else(|| fault("project_id", "must be given"))?,
            title: self.title.ok_or_else(|| fault("title", "must be given"))?,
            format: self.format,
            body,
            origin: self.origin.unwrap_or_default(),
        };
        Ok(WantedPatch::Direct { patch, base_revision: self.base_revision })
    }
}

/// How the text of a patch was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reading {
    /// None where operations were sent, not a text.
    pub format: Option<PatchFormat>,
    /// What was forgiven in reading it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A receipt as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeptReceipt {
    #[serde(flatten)]
    pub receipt: Receipt,
    #[serde(flatten)]
    pub reading: Reading,
    /// The batch that takes this one back. It is made by the first revert. None where nothing changed.
    #[serde(default)]
    pub inverse_patch_batch_id: Option<PatchBatchId>,
}

/// What a check found: applying the same patch now would do this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchCheck {
    pub project_id: ProjectId,
    /// The workspace's revision that it was placed in.
    pub revision: u64,
    #[serde(flatten)]
    pub reading: Reading,
    pub operations: Vec<OperationReceipt>,
    pub files: Vec<FileReceipt>,
    /// For people, as git writes it; none where it would be too long.
    pub diff: Option<String>,
}

/// Another batch that waits for a decision and changes lines that this one changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchConflict {
    pub patch_batch_id: PatchBatchId,
    pub execution_id: Option<ExecutionId>,
    pub path: String,
    /// Of the file at the head. The whole file where it goes, comes or moves.
    pub lines: LineRange,
    /// Positions in this batch, from 0.
    pub operations: Vec<u32>,
    /// Positions in the other batch, from 0.
    pub their_operations: Vec<u32>,
}

/// The answer to a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProposedPatch {
    #[serde(flatten)]
    pub summary: PatchSummary,
    pub conflicts: Vec<PatchConflict>,
    /// Where it does not fit the workspace as it is now: what would happen to each operation, and what to send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<OperationReceipt>,
}

/// What happened to a patch batch, in its execution's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum PatchEventKind {
    Proposed,
    Applied,
    Refused,
    Rejected,
    Reverted,
}

impl PatchEventKind {
    pub const ALL: [Self; 5] = [Self::Proposed, Self::Applied, Self::Refused, Self::Rejected, Self::Reverted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::Reverted => "reverted",
        }
    }
}

/// A patch event as watchers of its execution see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PatchHappening {
    pub patch_event_id: PatchEventId,
    /// None of a text that could not be read.
    pub patch_batch_id: Option<PatchBatchId>,
    pub kind: PatchEventKind,
    pub summary: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<WantedPatch, String> {
        serde_json::from_str::<PatchRequest>(json).unwrap().wanted().map_err(|fault| fault.field)
    }

    #[test]
    fn a_request_is_a_proposed_batch_or_one_that_is_sent_along() {
        let (project, patch) = (ProjectId::new(1, 1), PatchBatchId::new(1, 1));
        let proposed = request(&format!(r#"{{"patch_batch_id":"{patch}"}}"#));
        assert_eq!(proposed, Ok(WantedPatch::Proposed(patch)));
        let direct = request(&format!(r#"{{"project_id":"{project}","title":"t","text":"x"}}"#));
        assert!(matches!(direct, Ok(WantedPatch::Direct { base_revision: None, .. })), "{direct:?}");
        for (field, json) in [
            ("patch_batch_id", format!(r#"{{"patch_batch_id":"{patch}","title":"t"}}"#)),
            ("text", "{}".into()),
            ("project_id", r#"{"title":"t","text":"x"}"#.into()),
            ("title", format!(r#"{{"project_id":"{project}","text":"x"}}"#)),
            ("batch", r#"{"text":"x","batch":{"operations":[]}}"#.into()),
            ("format", r#"{"format":"codex","batch":{"operations":[]}}"#.into()),
        ] {
            assert_eq!(request(&json), Err(field.to_owned()), "{json}");
        }
    }
}
