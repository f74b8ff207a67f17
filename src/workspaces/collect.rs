//! What abandoned imports and failed patches leave: every blob that nobody refers to goes.

use shared_contracts::ids::ImportId;
use worker::Bucket;

use super::tree::Tree;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::sql_args;

/// An import that was not committed for a day is forgotten; so is the receipt of one that was.
pub const ABANDONED_MS: u64 = 24 * 3_600 * 1_000;
/// R2 deletes up to a thousand objects in one call.
const OBJECTS_AT_ONCE: usize = 1_000;

const FORGET_ABANDONED: [&str; 2] =
    ["DELETE FROM imports WHERE import_id < ?", "DELETE FROM staged WHERE import_id < ?"];

/// First their objects in R2 come loose.
const RELEASE_BLOBS: [&str; 2] = [
    "INSERT OR IGNORE INTO loose_objects (r2_key) SELECT r2_key FROM blobs WHERE r2_key IS NOT NULL
       AND sha256 NOT IN (SELECT sha256 FROM entries UNION SELECT sha256 FROM staged)",
    "DELETE FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM entries UNION SELECT sha256 FROM staged)",
];

/// Abandoned imports go, and blobs that neither a revision nor an open import names. Only while nothing is written:
/// a blob that is being written is referred to a moment later.
pub fn forget_abandoned(tree: &Tree) -> Outcome<()> {
    let oldest = ImportId::new(now_ms().saturating_sub(ABANDONED_MS), 0).to_string();
    for statement in FORGET_ABANDONED {
        tree.sql.run(statement, sql_args![oldest.as_str()])?;
    }
    release_blobs(tree)
}

fn release_blobs(tree: &Tree) -> Outcome<()> {
    RELEASE_BLOBS.into_iter().try_for_each(|statement| tree.sql.run(statement, Vec::new()))
}

/// Loose objects leave R2, a bounded number at a time, for as long as they may. A failure leaves the rest loose.
pub async fn delete_loose_objects(tree: &Tree, bucket: &Bucket, may_go_on: impl Fn() -> bool) -> Outcome<()> {
    #[derive(serde::Deserialize)]
    struct Loose {
        r2_key: String,
    }
    while may_go_on() {
        let sql = format!("SELECT r2_key FROM loose_objects LIMIT {OBJECTS_AT_ONCE}");
        let loose: Vec<Loose> = tree.sql.rows(&sql, Vec::new())?;
        if loose.is_empty() {
            return Ok(());
        }
        bucket.delete_multiple(loose.iter().map(|object| object.r2_key.as_str()).collect()).await?;
        for object in loose {
            tree.sql.run("DELETE FROM loose_objects WHERE r2_key = ?", sql_args![object.r2_key])?;
        }
    }
    Ok(())
}

/// Whether another look is worth it, a day from now.
pub fn is_anything_left(tree: &Tree) -> Outcome<bool> {
    #[derive(serde::Deserialize)]
    struct One {}
    let left: Option<One> =
        tree.sql.first("SELECT 1 FROM imports UNION ALL SELECT 1 FROM loose_objects LIMIT 1", Vec::new())?;
    Ok(left.is_some())
}
