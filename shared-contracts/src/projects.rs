//! A project: a code base with its workspace and tasks.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::ids::{OwnerId, ProjectId};
use crate::limits::{DENIED_PATHS_MAX, DESCRIPTION_BYTES_MAX, NAME_CHARS_MAX};
use crate::text::{one_line, paragraphs};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateProject {
    #[garde(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line))]
    pub name: String,
    #[serde(default)]
    #[garde(length(bytes, max = DESCRIPTION_BYTES_MAX), custom(paragraphs))]
    pub description: String,
}

/// What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UpdateProject {
    #[garde(inner(length(chars, min = 1, max = NAME_CHARS_MAX), custom(one_line)))]
    pub name: Option<String>,
    #[garde(inner(length(bytes, max = DESCRIPTION_BYTES_MAX), custom(paragraphs)))]
    pub description: Option<String>,
    /// Operations of patch batches on paths that match one of these are refused: `*` and `?` within a name, `**` for
    /// any directories, `{a,b}` for one of several. A pattern also covers everything below what it matches.
    #[garde(inner(length(max = DENIED_PATHS_MAX), inner(length(bytes, min = 1, max = NAME_CHARS_MAX), custom(one_line))))]
    pub denied_paths: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Project {
    pub id: ProjectId,
    pub owner_id: OwnerId,
    pub name: String,
    pub description: String,
    #[serde(default)]
    pub denied_paths: Vec<String>,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}
