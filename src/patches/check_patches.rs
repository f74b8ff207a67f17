//! `check_patches`: what applying a patch would do. Nothing is written.

use serde_json::value::RawValue;
use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::patches::{Reading, WantedPatch};

use super::sent::{Sent, sent, wanted};
use super::{find, read};
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::workspaces::commands::{Wanted, WorkspaceCommand};

/// `within` is the one project that the caller may see; none: all of the owner's. A patch that does not fit is refused
/// as applying it would be. The `PatchCheck` stays as the Workspace wrote it: its diff may be long.
pub async fn check_patches(
    bindings: &Bindings,
    owner_id: OwnerId,
    within: Option<ProjectId>,
    patch: WantedPatch,
) -> Outcome<Box<RawValue>> {
    let absent = |project_id: &ProjectId| within.is_some_and(|within| within != *project_id);
    let (project_id, base_revision, sent) = match patch {
        WantedPatch::Proposed(id) => {
            let patch = find(&bindings.db, owner_id, id).await?;
            if absent(&patch.project_id) {
                return Err(Failure::not_found("patch batch", id));
            }
            let operations = read(&bindings.blobs()?, &patch).await?.operations.into_iter().map(Ok).collect();
            let sent = Sent { operations, reading: Default::default() };
            (patch.project_id, patch.base_revision, sent)
        }
        WantedPatch::Direct { patch, base_revision } => {
            if absent(&patch.project_id) {
                return Err(Failure::not_found("project", patch.project_id));
            }
            (patch.project_id, base_revision.unwrap_or(0), sent(patch.body, patch.format)?)
        }
    };
    let wanted = wanted(bindings, Some(owner_id), project_id, base_revision, sent.operations).await?;
    check(bindings, project_id, sent.reading, wanted).await
}

pub async fn check(
    bindings: &Bindings,
    project_id: ProjectId,
    reading: Reading,
    wanted: Wanted,
) -> Outcome<Box<RawValue>> {
    let command = WorkspaceCommand::Check { project_id, reading, wanted };
    object::call(&bindings.workspace(project_id)?, &command).await
}
