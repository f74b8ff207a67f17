//! What an execution leaves behind.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::hash::Sha256;
use crate::ids::{ArtifactId, ExecutionId};
use crate::limits::ARTIFACT_BYTES_MAX;
use crate::paths::WorkspacePath;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ArtifactType {
    File,
    Screenshot,
    TestReport,
    Coverage,
    Output,
}

impl ArtifactType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Screenshot => "screenshot",
            Self::TestReport => "test_report",
            Self::Coverage => "coverage",
            Self::Output => "output",
        }
    }
}

/// Said in the query of an upload; the body is the content itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadArtifact {
    #[garde(skip)]
    pub path: WorkspacePath,
    #[garde(skip)]
    pub artifact_type: ArtifactType,
    #[garde(range(max = ARTIFACT_BYTES_MAX))]
    pub size_bytes: u64,
    /// The store refuses content that hashes to something else.
    #[garde(skip)]
    pub sha256: Sha256,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Artifact {
    pub id: ArtifactId,
    pub execution_id: ExecutionId,
    pub artifact_type: ArtifactType,
    pub path: WorkspacePath,
    pub size_bytes: u64,
    pub mime_type: String,
    pub sha256: Sha256,
    pub created_at_ms: u64,
}
