//! SQL on `patch_batches`, `patch_events` and `patch_touches`. What happens to a batch and the event of it commit
//! together.

use serde::Deserialize;
use shared_contracts::ids::{ExecutionId, OwnerId, PatchBatchId, PatchEventId, ProjectId};
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{
    KeptReceipt, PatchConflict, PatchFormat, PatchOrigin, PatchSummary, Receipt,
};

use super::happening::{Happening, Telling, name};
use crate::args;
use crate::platform::d1::{Arg, Db, Statement, parse};
use crate::platform::failure::{Failure, Outcome};
use crate::platform::paging;
use crate::workspaces::touches::Touch;

macro_rules! record {
    () => {
        "json_object('id', id, 'project_id', project_id, 'execution_id', execution_id, 'title', title,
          'state', CASE WHEN reverted_by IS NULL THEN state ELSE 'reverted' END, 'base_revision', base_revision, 'operation_count', operation_count,
          'size_bytes', size_bytes, 'format', format, 'reverts', reverts, 'revision_after', revision_after, 'reason', reason,
          'created_at_ms', created_at_ms, 'decided_at_ms', decided_at_ms)"
    };
}

pub const EXISTS: &str = "SELECT '1' AS record FROM patch_batches WHERE id = ?1";

pub const EXECUTION_OF: &str = "SELECT json_quote(execution_id) AS record FROM patch_batches WHERE id = ?1";

/// Which coding agent made it, an execution's record knows where nobody says.
pub const PROPOSE: &str =
    "INSERT INTO patch_batches (id, project_id, execution_id, title, state, base_revision,
    operation_count, size_bytes, created_at_ms, coding_agent, model, provider, format, reverts, applying_since_ms)
  VALUES (?1, ?2, ?3, ?4, 'proposed', ?5, ?6, ?7, ?8,
    coalesce(?9, (SELECT json_extract(spec, '$.coding_agent') FROM executions WHERE id = ?3)), ?10, ?11, ?12, ?13, ?14)
  ON CONFLICT (id) DO NOTHING";

/// Once for each thing that happens, however often it is asked for: by the indexes of `patch_events`. Of those who
/// reject at once, the one that did.
pub const EVENT: &str =
    "INSERT INTO patch_events (id, patch_batch_id, project_id, execution_id, kind, detail, duration_ms,
    created_at_ms, step, outcome, revision, untold, coding_agent, model, provider, format)
  SELECT ?1, id, project_id, execution_id, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, coding_agent, model, provider, format
  FROM patch_batches WHERE id = ?2 AND (?3 <> 'rejected' OR (state = 'rejected' AND decided_at_ms = ?6))
  ON CONFLICT DO NOTHING";

/// Of a text that could not be read there is no batch.
pub const UNREADABLE: &str = "INSERT INTO patch_events (id, project_id, execution_id, kind, detail,
    duration_ms, created_at_ms, outcome, revision, untold, coding_agent, model, provider, format)
  VALUES (?1, ?2, ?3, 'refused', ?4, ?5, ?6, ?7, ?8, ?9,
    coalesce(?10, (SELECT json_extract(spec, '$.coding_agent') FROM executions WHERE id = ?3)), ?11, ?12, ?13)
  ON CONFLICT DO NOTHING";

pub const BEGIN: &str = "UPDATE patch_batches SET applying_since_ms = ?2
  WHERE id = ?1 AND state IN ('proposed', 'conflicted')";

pub const APPLIED: &str = "UPDATE patch_batches
  SET state = 'applied', revision_after = ?2, reason = NULL, decided_at_ms = ?3, applying_since_ms = NULL
  WHERE id = ?1 AND state <> 'applied'";

/// By the batch that was applied, if it is an inverse.
pub const REVERTED: &str = "UPDATE patch_batches SET reverted_by = ?1
  WHERE id = (SELECT reverts FROM patch_batches WHERE id = ?1) AND state = 'applied' AND reverted_by IS NULL";

/// An application that began later is still under way.
pub const REFUSED: &str = "UPDATE patch_batches SET state = 'conflicted', reason = ?2, decided_at_ms = ?3,
    applying_since_ms = nullif(applying_since_ms, ?4)
  WHERE id = ?1 AND state IN ('proposed', 'conflicted')";

pub const REJECT: &str = "UPDATE patch_batches SET state = 'rejected', reason = ?2, decided_at_ms = ?3
  WHERE id = ?1 AND state IN ('proposed', 'conflicted')";

/// Applications of which nothing was heard, the longest first.
pub const UNSETTLED: &str = concat!(
    "SELECT json_group_array(json_object('since_ms', applying_since_ms, 'patch', ",
    record!(),
    ")) AS record FROM (SELECT * FROM patch_batches WHERE applying_since_ms < ?1 ORDER BY applying_since_ms LIMIT ?2)"
);

/// Nothing came of it.
pub const GIVEN_UP: &str =
    "UPDATE patch_batches SET applying_since_ms = NULL WHERE id = ?1 AND applying_since_ms = ?2";

/// What has waited longest to be told.
pub const UNTOLD: &str = "SELECT json_group_array(json(untold)) AS record
  FROM (SELECT untold FROM patch_events WHERE untold IS NOT NULL AND created_at_ms < ?1
    ORDER BY created_at_ms LIMIT ?2)";

pub const TOLD: &str = "UPDATE patch_events SET untold = NULL WHERE id = ?1";

pub const LIST: &str = crate::page_of!(record!(), "patch_batches WHERE project_id = ?1");

pub const GET: &str = concat!(
    "SELECT ",
    record!(),
    " AS record FROM patch_batches WHERE id = ?1 AND EXISTS
      (SELECT 1 FROM projects WHERE projects.id = patch_batches.project_id AND owner_id = ?2)"
);

pub const RECEIPT: &str =
    "SELECT detail AS record FROM patch_events WHERE patch_batch_id = ?1 AND kind = 'applied' LIMIT 1";

pub const UNTOUCH: &str = "DELETE FROM patch_touches WHERE patch_batch_id = ?1";

pub const TOUCH: &str = "INSERT INTO patch_touches
    (patch_batch_id, project_id, path, first_line, last_line, operations)
  SELECT ?1, ?2, value ->> 'path', value ->> 'first', value ->> 'last', value -> 'operations' FROM json_each(?3)
  WHERE EXISTS (SELECT 1 FROM patch_batches WHERE id = ?1) ON CONFLICT DO NOTHING";

pub const TOUCHED: &str = "UPDATE patch_batches SET touched_revision = ?2 WHERE id = ?1";

/// Of the batches that wait and touch a file that this one touches, itself among them: those whose lines are an older
/// head's.
pub const OUTDATED: &str = concat!(
    "SELECT json_group_array(",
    record!(),
    ") AS record FROM (SELECT * FROM patch_batches WHERE id IN
      (SELECT theirs.patch_batch_id FROM patch_touches AS mine JOIN patch_touches AS theirs
        ON theirs.project_id = mine.project_id AND theirs.path = mine.path WHERE mine.patch_batch_id = ?1)
      AND touched_revision < ?2 AND state IN ('proposed', 'conflicted') LIMIT ?3)"
);

/// What is decided is compared with nothing any more.
pub const SETTLE: &str = "DELETE FROM patch_touches WHERE patch_batch_id = ?1 AND EXISTS
  (SELECT 1 FROM patch_batches WHERE id = ?1 AND state IN ('applied', 'rejected'))";

/// Other waiting batches that change lines of this one.
pub const CONFLICTS: &str = "SELECT json_group_array(json_object('patch_batch_id', patch_batch_id,
    'execution_id', execution_id, 'path', path,
    'lines', json_object('first', first_line, 'last', last_line),
    'operations', json(my_operations), 'their_operations', json(operations))) AS record
  FROM (SELECT mine.operations AS my_operations, theirs.*, execution_id FROM patch_touches AS mine
    JOIN patch_touches AS theirs ON theirs.project_id = mine.project_id AND theirs.path = mine.path
      AND theirs.patch_batch_id <> mine.patch_batch_id
      AND theirs.first_line <= mine.last_line AND theirs.last_line >= mine.first_line
    JOIN patch_batches ON patch_batches.id = theirs.patch_batch_id AND state IN ('proposed', 'conflicted')
    WHERE mine.patch_batch_id = ?1 LIMIT ?2)";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[
    ("EXISTS", EXISTS),
    ("EXECUTION_OF", EXECUTION_OF),
    ("PROPOSE", PROPOSE),
    ("EVENT", EVENT),
    ("UNREADABLE", UNREADABLE),
    ("BEGIN", BEGIN),
    ("APPLIED", APPLIED),
    ("REVERTED", REVERTED),
    ("REFUSED", REFUSED),
    ("REJECT", REJECT),
    ("UNSETTLED", UNSETTLED),
    ("GIVEN_UP", GIVEN_UP),
    ("UNTOLD", UNTOLD),
    ("TOLD", TOLD),
    ("LIST", LIST),
    ("GET", GET),
    ("RECEIPT", RECEIPT),
    ("UNTOUCH", UNTOUCH),
    ("TOUCH", TOUCH),
    ("TOUCHED", TOUCHED),
    ("OUTDATED", OUTDATED),
    ("SETTLE", SETTLE),
    ("CONFLICTS", CONFLICTS),
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

pub async fn receipt(db: &Db, id: PatchBatchId) -> Outcome<Option<KeptReceipt>> {
    db.typed(RECEIPT, args![id.to_string()]).await
}

/// A change of a batch and the events of it, in one transaction; how many rows each changed.
async fn record(
    db: &Db,
    id: PatchBatchId,
    changes: &[Statement<'_>],
    happenings: &[Happening],
) -> Outcome<Vec<usize>> {
    let events = happenings.iter().map(event).collect::<Outcome<Vec<_>>>()?;
    let settle = args![id.to_string()];
    let mut statements = changes.to_vec();
    statements.extend(events.iter().map(|args| (EVENT, args.as_slice())));
    statements.push((SETTLE, settle));
    db.change_all(&statements).await
}

fn event(happening: &Happening) -> Outcome<Vec<Arg>> {
    let args = args![
        happening.id.to_string(),
        happening.patch_batch_id.map(|id| id.to_string()),
        happening.kind.as_str(),
        happening.detail.as_str(),
        happening.duration_ms,
        happening.at_ms,
        happening.step.as_deref(),
        happening.outcome.as_deref(),
        happening.revision,
        happening.untold()?,
    ];
    Ok(args.to_vec())
}

/// `to_apply`: its application has begun with it.
pub async fn propose(
    db: &Db,
    patch: &PatchSummary,
    origin: &PatchOrigin,
    to_apply: bool,
    happening: Happening,
) -> Outcome<()> {
    let args = args![
        patch.id.to_string(),
        patch.project_id.to_string(),
        patch.execution_id.map(|id| id.to_string()),
        patch.title.as_str(),
        patch.base_revision,
        patch.operation_count,
        patch.size_bytes,
        patch.created_at_ms,
        origin.coding_agent.as_deref(),
        origin.model.as_deref(),
        origin.provider.as_deref(),
        patch.format.and_then(name),
        patch.reverts.map(|id| id.to_string()),
        to_apply.then_some(patch.created_at_ms),
    ];
    record(db, patch.id, &[(PROPOSE, args)], &[happening]).await.map(drop)
}

/// Whether it was not before.
pub async fn unreadable(
    db: &Db,
    project_id: ProjectId,
    origin: &PatchOrigin,
    format: Option<PatchFormat>,
    happening: &Happening,
) -> Outcome<bool> {
    let args = args![
        happening.id.to_string(),
        project_id.to_string(),
        origin.execution_id.map(|id| id.to_string()),
        happening.detail.as_str(),
        happening.duration_ms,
        happening.at_ms,
        happening.outcome.as_deref(),
        happening.revision,
        happening.untold()?,
        origin.coding_agent.as_deref(),
        origin.model.as_deref(),
        origin.provider.as_deref(),
        format.and_then(name),
    ];
    Ok(db.change(UNREADABLE, args).await? > 0)
}

/// The execution that made a batch.
pub async fn execution_of(db: &Db, id: PatchBatchId) -> Outcome<Option<ExecutionId>> {
    Ok(db.typed::<Option<ExecutionId>>(EXECUTION_OF, args![id.to_string()]).await?.flatten())
}

pub async fn begin(db: &Db, id: PatchBatchId, at_ms: u64) -> Outcome<()> {
    db.change(BEGIN, args![id.to_string(), at_ms]).await.map(drop)
}

/// With the batch that it takes back, if it does. Whether it was not before.
pub async fn applied(db: &Db, receipt: &Receipt, happenings: &[Happening]) -> Outcome<bool> {
    let id = receipt.patch_batch_id.to_string();
    let applied = args![id.as_str(), receipt.revision_after, receipt.applied_at_ms];
    let changes: [Statement<'_>; 2] = [(APPLIED, applied), (REVERTED, args![id.as_str()])];
    let changed = record(db, receipt.patch_batch_id, &changes, happenings).await?;
    Ok(changed.first().is_some_and(|rows| *rows > 0))
}

/// Whether this revision had not refused it before.
pub async fn refused(
    db: &Db,
    id: PatchBatchId,
    reason: &str,
    since_ms: u64,
    happening: &Happening,
) -> Outcome<bool> {
    let args = args![id.to_string(), reason, happening.at_ms, since_ms];
    let changed = record(db, id, &[(REFUSED, args)], std::slice::from_ref(happening)).await?;
    Ok(changed.get(1).is_some_and(|rows| *rows > 0))
}

/// Whether it could still be rejected.
pub async fn reject(db: &Db, id: PatchBatchId, reason: &str, happening: Happening) -> Outcome<bool> {
    let args = args![id.to_string(), reason, happening.at_ms];
    let changed = record(db, id, &[(REJECT, args)], &[happening]).await?;
    Ok(changed.first().is_some_and(|rows| *rows > 0))
}

/// An application that began then, and that D1 has not heard of since.
#[derive(Deserialize)]
pub struct Unsettled {
    pub since_ms: u64,
    pub patch: PatchSummary,
}

pub async fn unsettled(db: &Db, before_ms: u64, most: u32) -> Outcome<Vec<Unsettled>> {
    Ok(db.typed(UNSETTLED, args![before_ms, most]).await?.unwrap_or_default())
}

pub async fn given_up(db: &Db, unsettled: &Unsettled) -> Outcome<()> {
    db.change(GIVEN_UP, args![unsettled.patch.id.to_string(), unsettled.since_ms]).await.map(drop)
}

pub async fn untold(db: &Db, before_ms: u64, most: u32) -> Outcome<Vec<Telling>> {
    Ok(db.typed(UNTOLD, args![before_ms, most]).await?.unwrap_or_default())
}

pub async fn told(db: &Db, id: PatchEventId) -> Outcome<()> {
    db.change(TOLD, args![id.to_string()]).await.map(drop)
}

/// Of this revision, instead of those of an older one. A batch that does not fit it keeps the lines where it last did.
pub async fn touch(db: &Db, patch: &PatchSummary, revision: u64, touches: Option<&[Touch]>) -> Outcome<()> {
    let (id, project_id) = (patch.id.to_string(), patch.project_id.to_string());
    let touched = args![id.as_str(), revision];
    let Some(touches) = touches else { return db.change(TOUCHED, touched).await.map(drop) };
    let touches =
        serde_json::to_string(touches).map_err(|error| Failure::internal("writing touched lines", error))?;
    let (untouch, touch) = (args![id.as_str()], args![id.as_str(), project_id, touches]);
    db.change_all(&[(UNTOUCH, untouch), (TOUCH, touch), (TOUCHED, touched)]).await.map(drop)
}

pub async fn outdated(db: &Db, id: PatchBatchId, head: u64, most: u32) -> Outcome<Vec<PatchSummary>> {
    Ok(db.typed(OUTDATED, args![id.to_string(), head, most]).await?.unwrap_or_default())
}

pub async fn conflicts(db: &Db, id: PatchBatchId, most: u32) -> Outcome<Vec<PatchConflict>> {
    let record = db.record(CONFLICTS, args![id.to_string(), most]).await?;
    record.map_or(Ok(Vec::new()), |text| parse(&text))
}
