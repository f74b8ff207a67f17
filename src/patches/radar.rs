//! Conflict radar: which batches that wait change the same lines. Each was planned against a head; before two are
//! compared, both are planned against the present one.

use shared_contracts::limits::PATCH_CONFLICTS_MAX;
use shared_contracts::patches::{OperationReceipt, PatchBatch, PatchConflict, PatchSummary};
use shared_contracts::problem::Problem;
use shared_contracts::workspaces::Revision;

use super::sent::wanted;
use super::{read, store};
use crate::bindings::Bindings;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::workspaces::commands::WorkspaceCommand;
use crate::workspaces::touches::Touched;

/// Batches that are planned anew for one question; each is read from R2. What is left keeps its older lines.
const RENEWED_MAX: u32 = 20;

pub async fn conflicts(bindings: &Bindings, patch: &PatchSummary) -> Outcome<Vec<PatchConflict>> {
    let head: Revision =
        object::call(&bindings.workspace(patch.project_id)?, &WorkspaceCommand::Revision { revision: None })
            .await?;
    for outdated in store::outdated(&bindings.db, patch.id, head.revision, RENEWED_MAX).await? {
        let batch = read(&bindings.blobs()?, &outdated).await?;
        find_touches(bindings, &outdated, batch).await?;
    }
    store::conflicts(&bindings.db, patch.id, PATCH_CONFLICTS_MAX).await
}

/// The outcomes of a batch that does not fit: it may fit later. What keeps the Workspace from answering keeps nobody
/// from proposing.
pub async fn find_touches(
    bindings: &Bindings,
    patch: &PatchSummary,
    batch: PatchBatch,
) -> Outcome<Vec<OperationReceipt>> {
    let operations = batch.operations.into_iter().map(Ok).collect();
    let wanted = wanted(bindings, None, patch.project_id, patch.base_revision, operations).await?;
    let workspace = bindings.workspace(patch.project_id)?;
    match object::call(&workspace, &WorkspaceCommand::Touches { wanted }).await {
        Ok(Touched { revision, touches }) => {
            store::touch(&bindings.db, patch, revision, Some(&touches)).await?;
            Ok(Vec::new())
        }
        Err(Failure::Problem(problem)) => {
            let Problem { outcomes, revision, .. } = *problem;
            if let Some(revision) = revision {
                store::touch(&bindings.db, patch, revision, None).await?;
            }
            Ok(outcomes)
        }
        Err(failure) => {
            failure.log("finding what a patch batch touches");
            Ok(Vec::new())
        }
    }
}
