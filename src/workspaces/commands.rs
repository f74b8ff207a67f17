//! What may be asked of a [`Workspace`](super::object::Workspace).

use patch_engine::Parsed;
use serde::{Deserialize, Serialize};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, PatchBatchId, ProjectId};
use shared_contracts::patches::Reading;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::TreeQuery;

/// What is to be applied, or planned as if.
#[derive(Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// As they were read; one that could not be has the whole refused.
    pub operations: Vec<Parsed>,
    /// What they were made against; 0: nobody says.
    pub base_revision: u64,
    pub denied_paths: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum WorkspaceCommand {
    /// Answers a `Revision`; none is the head.
    Revision { revision: Option<u64> },
    /// The body is a tar or tar.gz. Answers an `ImportReceipt`.
    Import { project_id: ProjectId },
    /// The body is a manifest, a `ManifestEntry` a line. Answers a `StartedImport`.
    StartImport { import_id: ImportId },
    /// The body is a tar of blobs named by SHA-256. Answers `StoredBlobs`.
    StoreBlobs { project_id: ProjectId, import_id: ImportId },
    /// Answers an `ImportReceipt`.
    CommitImport { import_id: ImportId },
    /// Answers a page of `TreeItem`s.
    Tree { query: TreeQuery },
    /// Answers the content.
    File { path: WorkspacePath, revision: Option<u64> },
    /// Answers `ManifestEntry`s, one a line.
    Manifest { revision: Option<u64> },
    /// Answers a tar.
    Export { revision: Option<u64> },
    /// Answers the content.
    Blob { sha256: Sha256 },
    /// Answers a tar of blobs named by SHA-256.
    Blobs { sha256: Vec<Sha256> },
    /// Answers a `KeptReceipt`, or the problem `patch_refused`; a batch that was applied answers its receipt again.
    Apply {
        project_id: ProjectId,
        patch_batch_id: PatchBatchId,
        title: String,
        reading: Reading,
        wanted: Wanted,
    },
    /// Answers the `KeptReceipt` of a batch that made a revision, or nothing.
    Receipt { patch_batch_id: PatchBatchId },
    /// Writes nothing. Answers a `PatchCheck`, or the problem `patch_refused`.
    Check { project_id: ProjectId, reading: Reading, wanted: Wanted },
    /// Writes nothing. Answers what of the head is `Touched`, or the problem `patch_refused`.
    Touches { wanted: Wanted },
    /// Of a batch that was applied. Answers the `PatchBatch` that takes it back.
    Inverse { patch_batch_id: PatchBatchId },
    /// The project was deleted: nothing is kept, nobody is answered any more. Answers nothing.
    Forget,
}

impl WorkspaceCommand {
    /// Whether it may leave something that nobody refers to.
    pub fn writes(&self) -> bool {
        matches!(
            self,
            Self::Import { .. } | Self::StartImport { .. } | Self::StoreBlobs { .. } | Self::Apply { .. }
        )
    }
}
