//! SQL on `deletions`. Rows come in with what they name going out: in `projects::store` and `tasks::store`.

use serde::Deserialize;
use shared_contracts::ids::{ExecutionId, ProjectId};

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::Outcome;

/// What waits longest goes first.
pub const DUE: &str = "SELECT json_group_array(json_object('id', id, 'kind', kind,
    'deleted_at_ms', deleted_at_ms)) AS record
  FROM (SELECT * FROM deletions WHERE due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2)";

pub const POSTPONE: &str = "UPDATE deletions SET due_at_ms = ?2 WHERE id = ?1";

pub const DONE: &str = "DELETE FROM deletions WHERE id = ?1";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] = &[("DUE", DUE), ("POSTPONE", POSTPONE), ("DONE", DONE)];

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Deletion {
    #[serde(flatten)]
    pub what: Leftover,
    pub deleted_at_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Leftover {
    Project { id: ProjectId },
    Execution { id: ExecutionId },
}

impl Deletion {
    fn id(&self) -> String {
        match self.what {
            Leftover::Project { id } => id.to_string(),
            Leftover::Execution { id } => id.to_string(),
        }
    }
}

pub async fn due(db: &Db, now_ms: u64, limit: u32) -> Outcome<Vec<Deletion>> {
    Ok(db.typed(DUE, args![now_ms, limit]).await?.unwrap_or_default())
}

pub async fn postpone(db: &Db, deletion: &Deletion, until_ms: u64) -> Outcome<()> {
    db.change(POSTPONE, args![deletion.id(), until_ms]).await.map(drop)
}

pub async fn done(db: &Db, deletion: &Deletion) -> Outcome<()> {
    db.change(DONE, args![deletion.id()]).await.map(drop)
}
