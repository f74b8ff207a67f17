//! What deleted projects and tasks leave outside of D1, removed by the reconciler in bounded steps.
//!
//! ```text
//!   delete_project, delete_task ── one transaction ──▶ the records are gone, and `deletions` names what they owned
//!   a pass: objects forget, a page of each prefix in R2 goes ──▶ more is left: the next pass goes on
//!                                                           ──▶ nothing is left: a last pass an hour after the deletion
//! ```
//! The last pass removes what was still under way when the records went: an import, the proposal of a patch batch.
//! Every step may be repeated. The column that moves is `deletions.due_at_ms`; the last pass removes the row.

pub mod store;

use store::{Deletion, Leftover};

use crate::bindings::Bindings;
use crate::executions::commands::HubCommand;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::platform::{object, prefix};
use crate::workspaces::commands::WorkspaceCommand;
use crate::{artifacts, patches, workspaces};

/// Rows of one pass. Each takes about six calls, and the platform allows an invocation a thousand.
const BATCH: u32 = 50;
/// What failed is tried again after this.
const RETRY_MS: u64 = 60_000;
/// Longer than any request that may have been under way.
const LAST_PASS_MS: u64 = 3_600_000;

/// For the cron: one pass over what is due.
pub async fn work_off(bindings: &Bindings) -> Outcome<()> {
    let due = store::due(&bindings.db, now_ms(), BATCH).await?;
    for deletion in &due {
        // Before the step: one that fails does not hold up the others.
        store::postpone(&bindings.db, deletion, now_ms() + RETRY_MS).await?;
        if let Err(failure) = step(bindings, deletion).await {
            failure.log("deletion");
        }
    }
    Ok(())
}

async fn step(bindings: &Bindings, deletion: &Deletion) -> Outcome<()> {
    let begun_ms = now_ms();
    let is_done = remove(bindings, &deletion.what).await?;
    let last_pass_ms = deletion.deleted_at_ms + LAST_PASS_MS;
    match is_done {
        false => store::postpone(&bindings.db, deletion, begun_ms).await,
        true if begun_ms < last_pass_ms => store::postpone(&bindings.db, deletion, last_pass_ms).await,
        true => store::done(&bindings.db, deletion).await,
    }
}

/// Whether nothing is left. The objects go first: they are what still writes.
async fn remove(bindings: &Bindings, leftover: &Leftover) -> Outcome<bool> {
    match *leftover {
        Leftover::Project { id } => {
            object::call::<()>(&bindings.workspace(id)?, &WorkspaceCommand::Forget).await?;
            let bucket = bindings.blobs()?;
            Ok(prefix::clear(&bucket, workspaces::blobs::prefix(id)).await?
                && prefix::clear(&bucket, patches::prefix(id)).await?)
        }
        Leftover::Execution { id } => {
            object::call::<()>(&bindings.hub(id)?, &HubCommand::Forget).await?;
            prefix::clear(&bindings.artifacts()?, artifacts::prefix(id)).await
        }
    }
}
