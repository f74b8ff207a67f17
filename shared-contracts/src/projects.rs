//! A project: a code base with its workspace and tasks.

use garde::Validate;
use serde::{Deserialize, Serialize};

use crate::egress::egress_entry;
use crate::ids::{OwnerId, ProjectId};
use crate::limits::{
    DENIED_PATHS_MAX, DESCRIPTION_BYTES_MAX, EGRESS_ENTRIES_MAX, EGRESS_ENTRY_BYTES_MAX, NAME_CHARS_MAX,
};
use crate::sandboxes::SandboxTier;
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
    /// What its executions may reach over the network: `example.com:443`, `*.example.com:443` for every host below it,
    /// `192.0.2.7:8080`, `[2001:db8::7]:8080`. Nothing unless listed. Addresses of the
    /// machine's own networks only where its operator vouches for them.
    #[garde(inner(length(max = EGRESS_ENTRIES_MAX), inner(length(bytes, min = 1, max = EGRESS_ENTRY_BYTES_MAX), custom(egress_entry))))]
    pub egress: Option<Vec<String>>,
    /// The weakest sandbox in which its executions may run.
    #[garde(skip)]
    pub sandbox_tier_min: Option<SandboxTier>,
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
    #[serde(default)]
    pub egress: Vec<String>,
    #[serde(default)]
    pub sandbox_tier_min: SandboxTier,
    pub created_at_ms: u64,
    pub updated_at_ms: u64,
}
