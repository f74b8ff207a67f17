//! A staged tree becomes the head: checked whole, then in one moment, or not at all.

use shared_contracts::hash::Sha256;
use shared_contracts::ids::ImportId;
use shared_contracts::limits::{LINK_TARGET_BYTES_MAX, WORKSPACE_BYTES_MAX};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{ImportReceipt, Revision};

use super::blobs;
use super::import_in_parts::{require_declared_sizes, require_open};
use super::tree::Tree;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::number;
use crate::sql_args;

#[derive(serde::Deserialize)]
struct PathRow {
    path: String,
}

#[derive(serde::Deserialize)]
struct Counts {
    files: u64,
    bytes: Option<u64>,
    missing: u64,
    added: u64,
    changed: u64,
    removed: u64,
    new_blob_bytes: u64,
}

const COUNTS: &str = "
  WITH mine AS (SELECT path, staged.sha256, mode, blobs.size_bytes FROM staged
    LEFT JOIN blobs ON blobs.sha256 = staged.sha256 WHERE import_id = ?1)
  SELECT count(*) AS files, sum(size_bytes) AS bytes, count(*) FILTER (WHERE size_bytes IS NULL) AS missing,
    count(*) FILTER (WHERE NOT EXISTS
      (SELECT 1 FROM entries WHERE entries.path = mine.path AND until IS NULL)) AS added,
    count(*) FILTER (WHERE EXISTS (SELECT 1 FROM entries WHERE entries.path = mine.path AND until IS NULL
      AND (entries.sha256 <> mine.sha256 OR entries.mode <> mine.mode))) AS changed,
    (SELECT count(*) FROM entries WHERE until IS NULL AND NOT EXISTS
      (SELECT 1 FROM staged WHERE import_id = ?1 AND staged.path = entries.path)) AS removed,
    (SELECT new_blob_bytes FROM imports WHERE import_id = ?1) AS new_blob_bytes
  FROM mine";

/// `commit_import`: 1. Everything is there and makes a tree. 2. In one moment it is the head. A second time answers
/// the same receipt; a tree that is the head already makes no new revision.
pub fn commit(tree: &Tree, import_id: ImportId) -> Outcome<ImportReceipt> {
    if let Some(receipt) = require_open(tree, import_id)? {
        return Ok(receipt);
    }
    let id = import_id.to_string();
    let counts: Counts = tree
        .sql
        .first(COUNTS, sql_args![id.as_str()])?
        .ok_or_else(|| Failure::internal("counting an import", "no row"))?;
    if counts.missing > 0 {
        let detail =
            format!("{} files of the manifest still lack their blob; send those first", counts.missing);
        return Err(Failure::wrong_state(detail));
    }
    if counts.bytes.unwrap_or(0) > WORKSPACE_BYTES_MAX {
        return Err(Failure::too_large("A workspace", WORKSPACE_BYTES_MAX, "bytes"));
    }
    require_declared_sizes(tree, import_id)?;
    check_shape(tree, &id)?;
    check_links(tree, &id)?;
    let mut revision = tree.head()?;
    if counts.added + counts.changed + counts.removed > 0 {
        revision = Revision {
            revision: revision.revision + 1,
            message: "Import".into(),
            patch_batch_id: None,
            file_count: counts.files,
            total_bytes: counts.bytes.unwrap_or(0),
            created_at_ms: now_ms(),
        };
        replace(tree, &id, &revision)?;
    }
    let receipt = ImportReceipt {
        revision,
        files_added: counts.added,
        files_changed: counts.changed,
        files_removed: counts.removed,
        new_blob_bytes: counts.new_blob_bytes,
    };
    let text =
        serde_json::to_string(&receipt).map_err(|error| Failure::internal("writing a receipt", error))?;
    tree.sql.run("UPDATE imports SET receipt = ? WHERE import_id = ?", sql_args![text, id.as_str()])?;
    tree.sql.run("DELETE FROM staged WHERE import_id = ?", sql_args![id])?;
    Ok(receipt)
}

/// A path is a file or a directory, not both; so nothing ever lies below a symbolic link.
fn check_shape(tree: &Tree, id: &str) -> Outcome<()> {
    let clash: Option<PathRow> = tree.sql.first(
        "SELECT path FROM staged WHERE import_id = ?1 AND EXISTS (SELECT 1 FROM staged AS below
         WHERE import_id = ?1 AND below.path > staged.path || '/' AND below.path < staged.path || '0') LIMIT 1",
        sql_args![id],
    )?;
    match clash {
        None => Ok(()),
        Some(PathRow { path }) => {
            Err(Failure::invalid("archive", format!("`{path}` is a file, and yet other files lie below it")))
        }
    }
}

fn check_links(tree: &Tree, id: &str) -> Outcome<()> {
    #[derive(serde::Deserialize)]
    struct Row {
        path: WorkspacePath,
        sha256: Sha256,
        size_bytes: u64,
    }
    let links: Vec<Row> = tree.sql.rows(
        "SELECT path, staged.sha256 AS sha256, blobs.size_bytes AS size_bytes FROM staged JOIN blobs ON blobs.sha256 = staged.sha256
         WHERE import_id = ? AND mode = 'symlink'",
        sql_args![id],
    )?;
    for Row { path, sha256, size_bytes } in links {
        let refused = |why: String| Failure::invalid("archive", format!("The symbolic link `{path}`: {why}"));
        if size_bytes > LINK_TARGET_BYTES_MAX {
            return Err(refused("its target is too long".into()));
        }
        let Some(blobs::Content::Inline(target)) = blobs::find(&tree.sql, sha256)? else {
            return Err(refused("its target is not there".into()));
        };
        let target = String::from_utf8(target).map_err(|_| refused("its target is not UTF-8".into()))?;
        path.resolve_link(&target)
            .map_err(|error| refused(format!("target `{}`: {error}", target.escape_debug())))?;
    }
    Ok(())
}

fn replace(tree: &Tree, id: &str, revision: &Revision) -> Outcome<()> {
    let new = number(revision.revision);
    tree.add_revision(revision, None)?;
    tree.sql.run(
        "UPDATE entries SET until = ?2 WHERE until IS NULL AND NOT EXISTS (SELECT 1 FROM staged
         WHERE import_id = ?1 AND staged.path = entries.path AND staged.sha256 = entries.sha256
           AND staged.mode = entries.mode)",
        sql_args![id, new.clone()],
    )?;
    tree.sql.run(
        "INSERT INTO entries (path, since, sha256, size_bytes, mode)
         SELECT path, ?2, staged.sha256, blobs.size_bytes, mode FROM staged JOIN blobs ON blobs.sha256 = staged.sha256
         WHERE import_id = ?1
           AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.path = staged.path AND until IS NULL)",
        sql_args![id, new],
    )
}
