//! `check_patches`: what applying a patch would do. Nothing is written.

use shared_contracts::ids::{OwnerId, ProjectId};
use shared_contracts::patches::{PatchCheck, WantedPatch};

use super::sent::{Sent, sent, wanted};
use super::{find, read};
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::projects;
use crate::workspaces::commands::{Wanted, WorkspaceCommand};

/// `within` is the one project that the caller may see; none: all of the owner's. A patch that does not fit is refused
/// as applying it would be.
pub async fn check_patches(
    bindings: &Bindings,
    owner_id: OwnerId,
    within: Option<ProjectId>,
    patch: WantedPatch,
) -> Outcome<PatchCheck> {
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
            projects::require(&bindings.db, owner_id, patch.project_id).await?;
            (patch.project_id, base_revision.unwrap_or(0), sent(patch.body, patch.format)?)
        }
    };
    let wanted = wanted(bindings, project_id, base_revision, sent.operations).await?;
    Ok(PatchCheck { reading: sent.reading, ..check(bindings, project_id, wanted).await? })
}

pub async fn check(bindings: &Bindings, project_id: ProjectId, wanted: Wanted) -> Outcome<PatchCheck> {
    object::call(&bindings.workspace(project_id)?, &WorkspaceCommand::Check { project_id, wanted }).await
}
