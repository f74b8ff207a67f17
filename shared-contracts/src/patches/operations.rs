//! What a patch is made of: operations on files.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::hash::Sha256;
use crate::limits::PATCH_OPERATIONS_MAX;
use crate::paths::WorkspacePath;
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
/// context. An empty `old` inserts before `start_line`, or at the end of the file with `at_end`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hunk {
    /// The first line of `old` in the file it was made against, counted from 1. It is believed only where that file
    /// is known; elsewhere it never decides between places that look alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<u32>,
    /// Lines that stand above the hunk, outermost first, as `@@ class Parser` in the codex envelope.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    /// The last line of `old` is the last line of the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_end: bool,
    pub old: String,
    pub new: String,
}

/// Where an insertion goes. A marker is text that exactly one line of the file contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "where", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum MarkerPlace {
    Before {
        marker: String,
    },
    After {
        marker: String,
    },
    /// In place of what stands between the two lines; the lines themselves stay.
    Between {
        first: String,
        last: String,
    },
}

/// A line named by its number and what it held when it was read: `12:9f3a41`, where the second part is the first six
/// hexadecimal digits of the SHA-256 of the line without its terminator and trailing blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LineTag(pub String);

/// A replacement of the lines from `first` to `last`, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LineEdit {
    pub first: LineTag,
    pub last: LineTag,
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
    /// The file's whole content from now on, whether it exists or not. One that exists keeps its mode.
    Write {
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
    /// Puts whole lines at a marker.
    Insert {
        path: WorkspacePath,
        base_sha256: Option<Sha256>,
        at: MarkerPlace,
        text: String,
    },
    /// Replaces lines that are named by number and hash; edits are in order and do not overlap.
    EditLines {
        path: WorkspacePath,
        base_sha256: Option<Sha256>,
        edits: Vec<LineEdit>,
    },
}

impl PatchOperation {
    /// The path it is about; of a rename the old one.
    pub fn path(&self) -> &WorkspacePath {
        match self {
            Self::Create { path, .. }
            | Self::Edit { path, .. }
            | Self::Replace { path, .. }
            | Self::Write { path, .. }
            | Self::Delete { path, .. }
            | Self::Rename { from: path, .. }
            | Self::SetMode { path, .. }
            | Self::Insert { path, .. }
            | Self::EditLines { path, .. } => path,
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
