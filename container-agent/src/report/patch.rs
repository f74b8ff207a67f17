//! The overlay's changes as one proposed patch batch against the revision that the execution began with.

use std::sync::Arc;

use shared_contracts::events::{EventBody, EventSource, LogLevel, SecretPlace};
use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::{NAME_CHARS_MAX, PATCH_BODY_BYTES_MAX, PATCH_OPERATIONS_MAX};
use shared_contracts::patches::{ProposePatch, ProposedPatch};

use super::{ReportError, blocking};
use crate::execution::Execution;
use crate::sandbox::Collected;
use crate::workspace::{Tree, changes};
use crate::{clock, secrets};

/// Of operations that do not fit; the plane answers them all again (`POST /api/patches/check`).
const REFUSED_SHOWN_MAX: usize = 20;
/// Four bytes each at most: well within a line of the log.
const LINE_CHARS_MAX: usize = 8 * 1024;

/// Proposes it, if anything changed.
pub async fn propose(
    execution: &Execution,
    tree: &Tree,
    collected: &Arc<Collected>,
) -> Result<Option<PatchBatchId>, ReportError> {
    // 1. What changed, and what of it a patch can carry.
    let failed = |error: &dyn std::fmt::Display| {
        ReportError::Failed(format!("the changes could not be proposed: {error}"))
    };
    let lower = tree.open().map_err(|error| failed(&error))?;
    let collected = Arc::clone(collected);
    let (found, batch) = blocking(move || {
        let found = changes::read(&lower, &collected)?;
        let batch = patch_engine::diff(&found.files);
        Ok::<_, changes::ChangesError>((found, batch))
    })
    .await?
    .map_err(|error| failed(&error))?;
    say_what_is_missing(execution, &found);
    say_where_secrets_are(execution, &found);
    let operations = batch.operations.len();
    if operations == 0 {
        return Ok(None);
    }
    // 2. All or nothing: a batch is not split.
    if operations > PATCH_OPERATIONS_MAX {
        return Err(failed(&format!(
            "they are {operations} operations and a patch batch holds at most {PATCH_OPERATIONS_MAX}; change fewer \
             files, or let .gitignore name build output"
        )));
    }
    let id = PatchBatchId::new(clock::now_ms(), clock::random());
    let leased = &execution.leased;
    let proposal = ProposePatch {
        id: Some(id),
        project_id: leased.project_id,
        execution_id: Some(leased.lease.execution_id),
        title: title(&leased.task_title),
        base_revision: leased.spec.base_revision,
        batch,
    };
    let body = serde_json::to_vec(&proposal).map_err(|error| failed(&error))?;
    if body.len() as u64 > PATCH_BODY_BYTES_MAX {
        return Err(failed(&format!(
            "they are {} bytes and a patch batch holds at most {PATCH_BODY_BYTES_MAX}; keep large files out of the \
             workspace, or declare them as artifacts and name them in .gitignore",
            body.len()
        )));
    }
    // 3. Sent until it is there; its id makes a second sending the same proposal.
    let body: Arc<[u8]> = body.into();
    let path = format!("/api/sandbox/executions/{}/patches", leased.lease.execution_id);
    let sent = execution.agent.plane.request(&execution.held, move |client, url| {
        let request = client
            .post(format!("{url}{path}"))
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        Box::pin(async { Ok(request) })
    });
    let answer =
        sent.await.map_err(|error| ReportError::from_api("the changes could not be proposed", error))?;
    let files = found.files.len();
    let body = EventBody::Patch {
        patch_batch_id: id,
        operations: u32::try_from(operations).unwrap_or(u32::MAX),
        summary: format!("{files} files changed, {operations} operations"),
    };
    execution.spool.event(EventSource::System, body);
    // 4. It is kept, whether or not it fits what others did meanwhile; the log says what would have to change.
    if let Ok(proposed) = answer.json::<ProposedPatch>().await {
        say_what_does_not_fit(execution, &proposed);
    }
    Ok(Some(id))
}

/// Each refused operation as the plane's structured answer, one a line.
fn say_what_does_not_fit(execution: &Execution, proposed: &ProposedPatch) {
    let refused: Vec<_> = proposed.outcomes.iter().filter(|receipt| !receipt.outcome.is_success()).collect();
    if refused.is_empty() {
        return;
    }
    let (count, all) = (refused.len(), proposed.outcomes.len());
    let text = format!("{count} of {all} operations do not fit the workspace as it is now:");
    execution.spool.note(LogLevel::Warn, text);
    for receipt in refused.into_iter().take(REFUSED_SHOWN_MAX) {
        let line = serde_json::to_string(receipt).unwrap_or_default();
        execution.spool.note(LogLevel::Warn, line.chars().take(LINE_CHARS_MAX).collect::<String>());
    }
}

/// In names, too. What was there before the execution is not its doing.
fn say_where_secrets_are(execution: &Execution, found: &changes::Changes) {
    let Some(redactor) = execution.spool.redactor() else { return };
    for change in &found.files {
        let mut at = secrets::find(redactor, change.path.as_str().as_bytes());
        let before =
            change.before.as_ref().map(|file| secrets::find(redactor, &file.bytes)).unwrap_or_default();
        if let Some(after) = &change.after {
            let known = |name: &String| before.iter().any(|(known, _)| known == name);
            at.extend(secrets::find(redactor, &after.bytes).into_iter().filter(|(name, _)| !known(name)));
        }
        secrets::report(&execution.spool, SecretPlace::Patch, change.path.as_str(), &at);
    }
}

fn say_what_is_missing(execution: &Execution, found: &changes::Changes) {
    if let Some(why) = &found.unsettled {
        execution.spool.note(LogLevel::Warn, format!("{why}: the changes may be half of a patch"));
    }
    if found.ignored > 0 {
        let text = format!("{} new files are not in the patch, because .gitignore names them", found.ignored);
        execution.spool.note(LogLevel::Info, text);
    }
    if found.skipped > 0 {
        let text = format!(
            "{} paths are not in the patch, because a workspace cannot hold them (.git, devices, links that lead \
             outside, unusual names): {}{}",
            found.skipped,
            found.skipped_examples.join(", "),
            if found.skipped > found.skipped_examples.len() { ", …" } else { "" }
        );
        execution.spool.note(LogLevel::Warn, text);
    }
}

/// One line of at most the length that a title may have.
fn title(task_title: &str) -> String {
    let line: String =
        task_title.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_CHARS_MAX).collect();
    if line.trim().is_empty() { "Changes of an execution".to_owned() } else { line }
}
