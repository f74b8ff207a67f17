//! SQL on `patch_batches` and `patch_events`. What happens to a batch and the event of it commit together.

use sha2::Digest;
use shared_contracts::ids::{OwnerId, PatchBatchId, PatchEventId, ProjectId};
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{PatchSummary, Receipt};
use shared_contracts::problem::Problem;

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'project_id', project_id, 'execution_id', execution_id, 'title', title,
          'state', state, 'base_revision', base_revision, 'operation_count', operation_count,
          'size_bytes', size_bytes, 'revision_after', revision_after, 'reason', reason,
          'created_at_ms', created_at_ms, 'decided_at_ms', decided_at_ms)"
    };
}

pub const EXISTS: &str = "SELECT '1' AS record FROM patch_batches WHERE id = ?1";

pub const PROPOSE: &str =
    "INSERT INTO patch_batches (id, project_id, execution_id, title, state, base_revision,
  operation_count, size_bytes, created_at_ms) VALUES (?1, ?2, ?3, ?4, 'proposed', ?5, ?6, ?7, ?8)
  ON CONFLICT (id) DO NOTHING";

/// Once for each id, which derives from what happened; and a batch is applied once, whenever that was.
pub const EVENT: &str = "INSERT INTO patch_events
  (id, patch_batch_id, project_id, execution_id, kind, detail, duration_ms, created_at_ms)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";

pub const APPLIED: &str = "UPDATE patch_batches
  SET state = 'applied', revision_after = ?2, reason = NULL, decided_at_ms = ?3
  WHERE id = ?1 AND state <> 'applied'";

pub const REFUSED: &str = "UPDATE patch_batches SET state = 'conflicted', reason = ?2, decided_at_ms = ?3
  WHERE id = ?1 AND state IN ('proposed', 'conflicted')";

pub const REJECT: &str = "UPDATE patch_batches SET state = 'rejected', reason = ?2, decided_at_ms = ?3
  WHERE id = ?1 AND state IN ('proposed', 'conflicted')";

pub const LIST: &str = crate::page_of!(record!(), "patch_batches WHERE project_id = ?1");

pub const GET: &str = concat!(
    "SELECT ",
    record!(),
    " AS record FROM patch_batches WHERE id = ?1 AND EXISTS
      (SELECT 1 FROM projects WHERE projects.id = patch_batches.project_id AND owner_id = ?2)"
);

pub const RECEIPT: &str =
    "SELECT detail AS record FROM patch_events WHERE patch_batch_id = ?1 AND kind = 'applied' LIMIT 1";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("EXISTS", EXISTS),
    ("PROPOSE", PROPOSE),
    ("EVENT", EVENT),
    ("APPLIED", APPLIED),
    ("REFUSED", REFUSED),
    ("REJECT", REJECT),
    ("LIST", LIST),
    ("GET", GET),
    ("RECEIPT", RECEIPT),
];

pub async fn exists(db: &Db, id: PatchBatchId) -> Outcome<bool> {
    Ok(db.record(EXISTS, args![id.to_string()]).await?.is_some())
}

pub async fn list(db: &Db, project_id: ProjectId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, project_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: PatchBatchId) -> Outcome<Option<PatchSummary>> {
    db.typed(GET, args![id.to_string(), owner_id.to_string()]).await
}

pub async fn receipt(db: &Db, id: PatchBatchId) -> Outcome<Option<Receipt>> {
    db.typed(RECEIPT, args![id.to_string()]).await
}

/// One thing that happened to a batch.
struct Happening<'a> {
    kind: &'a str,
    detail: String,
    duration_ms: u64,
    at_ms: u64,
}

impl Happening<'_> {
    /// The same happening told twice has the same id.
    fn id(&self, patch: &PatchSummary) -> PatchEventId {
        let digest = sha2::Sha256::digest(format!("{} {}", patch.id, self.kind));
        let random = digest.iter().take(16).fold(0u128, |bits, byte| (bits << 8) | u128::from(*byte));
        PatchEventId::new(self.at_ms, random)
    }
}

async fn record(
    db: &Db,
    patch: &PatchSummary,
    statement: &str,
    statement_args: &[crate::platform::d1::Arg],
    happening: Happening<'_>,
) -> Outcome<bool> {
    let event = args![
        happening.id(patch).to_string(),
        patch.id.to_string(),
        patch.project_id.to_string(),
        patch.execution_id.map(|id| id.to_string()),
        happening.kind,
        happening.detail.as_str(),
        happening.duration_ms,
        happening.at_ms,
    ];
    let changed = db.change_all(&[(statement, statement_args), (EVENT, event)]).await?;
    Ok(changed.first().copied().unwrap_or(0) > 0)
}

fn json(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing a patch event", error))
}

pub async fn propose(db: &Db, patch: &PatchSummary) -> Outcome<()> {
    let args = args![
        patch.id.to_string(),
        patch.project_id.to_string(),
        patch.execution_id.map(|id| id.to_string()),
        patch.title.as_str(),
        patch.base_revision,
        patch.operation_count,
        patch.size_bytes,
        patch.created_at_ms,
    ];
    let detail = format!("{{\"operation_count\":{}}}", patch.operation_count);
    let happening = Happening { kind: "proposed", detail, duration_ms: 0, at_ms: patch.created_at_ms };
    record(db, patch, PROPOSE, args, happening).await.map(drop)
}

pub async fn applied(db: &Db, patch: &PatchSummary, receipt: &Receipt, duration_ms: u64) -> Outcome<()> {
    let args = args![patch.id.to_string(), receipt.revision_after, receipt.applied_at_ms];
    let happening =
        Happening { kind: "applied", detail: json(receipt)?, duration_ms, at_ms: receipt.applied_at_ms };
    record(db, patch, APPLIED, args, happening).await.map(drop)
}

pub async fn refused(
    db: &Db,
    patch: &PatchSummary,
    problem: &Problem,
    duration_ms: u64,
    at_ms: u64,
) -> Outcome<()> {
    let args = args![patch.id.to_string(), problem.detail.as_str(), at_ms];
    let happening = Happening { kind: "refused", detail: json(&problem.outcomes)?, duration_ms, at_ms };
    record(db, patch, REFUSED, args, happening).await.map(drop)
}

/// Whether it could still be rejected. An event without a change would tell of what did not happen, so the change
/// goes first.
pub async fn reject(db: &Db, patch: &PatchSummary, reason: &str, at_ms: u64) -> Outcome<bool> {
    let changed = db.change(REJECT, args![patch.id.to_string(), reason, at_ms]).await?;
    if changed == 0 {
        return Ok(false);
    }
    let happening = Happening { kind: "rejected", detail: json(&reason)?, duration_ms: 0, at_ms };
    record(db, patch, REJECT, args![patch.id.to_string(), reason, at_ms], happening).await?;
    Ok(true)
}
