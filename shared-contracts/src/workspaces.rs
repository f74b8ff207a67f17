//! A workspace: a project's file tree as a chain of revisions, its blobs named by SHA-256.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::hash::Sha256;
use crate::ids::{ImportId, PatchBatchId};
use crate::limits::{BLOB_FETCH_HASHES_MAX, FILE_BYTES_MAX, PAGE_ITEMS_MAX, PATH_BYTES_MAX};
use crate::paths::WorkspacePath;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FileMode {
    #[default]
    Regular,
    Executable,
    /// The blob is the target: relative, and inside the workspace.
    Symlink,
}

impl FileMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::Executable => "executable",
            Self::Symlink => "symlink",
        }
    }
}

/// One file of a revision; a manifest is these, ordered by path, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ManifestEntry {
    #[garde(skip)]
    pub path: WorkspacePath,
    #[garde(skip)]
    pub sha256: Sha256,
    #[garde(range(max = FILE_BYTES_MAX))]
    pub size_bytes: u64,
    #[garde(skip)]
    pub mode: FileMode,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Revision {
    /// 1, 2, 3, …; 0 is the empty workspace before the first.
    pub revision: u64,
    pub message: String,
    pub patch_batch_id: Option<PatchBatchId>,
    pub file_count: u64,
    pub total_bytes: u64,
    pub created_at_ms: u64,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ImportReceipt {
    pub revision: Revision,
    /// Against the revision before.
    pub files_added: u64,
    pub files_changed: u64,
    pub files_removed: u64,
    /// Content that the workspace did not have yet.
    pub new_blob_bytes: u64,
}

/// The answer to a manifest: send these blobs, then commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StartedImport {
    pub import_id: ImportId,
    pub missing: Vec<Sha256>,
}

/// The answer to a pack of blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoredBlobs {
    pub stored: u32,
    pub stored_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FetchBlobs {
    /// The answer is a tar of files named by these hashes, in this order.
    #[garde(length(min = 1, max = BLOB_FETCH_HASHES_MAX))]
    pub sha256: Vec<Sha256>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RevisionQuery {
    /// The head unless given.
    #[garde(skip)]
    pub revision: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TreeQuery {
    /// A directory; the root unless given.
    #[garde(inner(length(bytes, max = PATH_BYTES_MAX)))]
    pub path: Option<String>,
    #[garde(skip)]
    pub revision: Option<u64>,
    #[garde(inner(length(bytes, max = PATH_BYTES_MAX)))]
    pub after: Option<String>,
    #[garde(inner(range(min = 1, max = PAGE_ITEMS_MAX)))]
    pub limit: Option<u32>,
}

/// What stands in a directory, in order of name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TreeItem {
    Directory { name: String },
    File { name: String, sha256: Sha256, size_bytes: u64, mode: FileMode },
}
