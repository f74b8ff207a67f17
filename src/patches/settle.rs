//! What became of an application: the record and its events in one transaction, then the watchers. The Workspace is what
//! is true; if the Worker dies before D1 has it, the reconciler asks the Workspace and comes here too.

use shared_contracts::ids::ProjectId;
use shared_contracts::patches::{KeptReceipt, PatchFormat, PatchOrigin, PatchSummary};
use shared_contracts::problem::Problem;

use super::happening::Happening;
use super::store::{self, Unsettled};
use crate::bindings::Bindings;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::platform::object;
use crate::workspaces::commands::WorkspaceCommand;

/// Batches, and events, of one pass.
const BATCH: u32 = 50;
/// Longer than a request lives that may still be applying.
const SETTLED_MS: u64 = 5 * 60_000;

/// The application of an inverse is told as the revert of what it takes back.
pub async fn applied(
    bindings: &Bindings,
    patch: &PatchSummary,
    kept: KeptReceipt,
    since_ms: u64,
) -> Outcome<KeptReceipt> {
    let receipt = &kept.receipt;
    let duration_ms = receipt.applied_at_ms.saturating_sub(since_ms);
    let mut happening = Happening::applied(&kept, duration_ms)?;
    let mut happenings = Vec::new();
    if let Some(reverted_id) = patch.reverts {
        let reverted = Happening::reverted(reverted_id, &kept, duration_ms)?;
        let execution_id = store::execution_of(&bindings.db, reverted_id).await?;
        happenings.push(reverted.to(execution_id, || {
            format!("Patch batch {reverted_id} is taken back, revision {}", receipt.revision_after)
        }));
    } else {
        happening = happening.to(patch.execution_id, || {
            let (id, files) = (patch.id, receipt.files.len());
            format!("Patch batch {id} is applied: {files} files changed, revision {}", receipt.revision_after)
        });
    }
    happenings.push(happening);
    if !store::applied(&bindings.db, receipt, &happenings).await? {
        // Of two at once, one receipt is kept.
        return Ok(store::receipt(&bindings.db, patch.id).await?.unwrap_or(kept));
    }
    for happening in happenings {
        happening.tell(bindings).await;
    }
    Ok(kept)
}

pub async fn refused(
    bindings: &Bindings,
    patch: &PatchSummary,
    problem: &Problem,
    since_ms: u64,
) -> Outcome<()> {
    let now = now_ms();
    let execution_id = match patch.reverts {
        Some(reverted_id) => store::execution_of(&bindings.db, reverted_id).await?,
        None => patch.execution_id,
    };
    let happening = Happening::refused(patch.id, problem, (now.saturating_sub(since_ms), now))?
        .to(execution_id, || format!("Patch batch {} is refused: {}", patch.id, problem.detail));
    if store::refused(&bindings.db, patch.id, &problem.detail, since_ms, &happening).await? {
        happening.tell(bindings).await;
    }
    Ok(())
}

/// Of a text that was no batch there is only the event.
pub async fn unreadable(
    bindings: &Bindings,
    project_id: ProjectId,
    origin: &PatchOrigin,
    format: Option<PatchFormat>,
    happening: Happening,
) -> Outcome<()> {
    if store::unreadable(&bindings.db, project_id, origin, format, &happening).await? {
        happening.tell(bindings).await;
    }
    Ok(())
}

/// For the cron: applications of which D1 heard nothing, and events that a log has yet to be told.
pub async fn repair(bindings: &Bindings) -> Outcome<()> {
    let before_ms = now_ms().saturating_sub(SETTLED_MS);
    for unsettled in store::unsettled(&bindings.db, before_ms, BATCH).await? {
        // One that cannot be settled now does not hold up the others.
        if let Err(failure) = settle(bindings, unsettled).await {
            failure.log("settling a patch batch");
        }
    }
    for telling in store::untold(&bindings.db, before_ms, BATCH).await? {
        telling.tell(bindings).await;
    }
    Ok(())
}

async fn settle(bindings: &Bindings, unsettled: Unsettled) -> Outcome<()> {
    let Unsettled { patch, since_ms } = &unsettled;
    let command = WorkspaceCommand::Receipt { patch_batch_id: patch.id };
    match object::call(&bindings.workspace(patch.project_id)?, &command).await? {
        Some(kept) => applied(bindings, patch, kept, *since_ms).await.map(drop),
        None => store::given_up(&bindings.db, &unsettled).await,
    }
}
