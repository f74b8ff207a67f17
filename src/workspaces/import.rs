//! A whole tree comes in: as one stream, or as a manifest and then only the blobs that are missing.
//!
//! Files are staged under an import id and become a revision in one moment, or never. Blobs are kept as they come:
//! a second try of a broken import sends them to the same place.

use futures::StreamExt;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::limits::{
    BLOB_PACK_BYTES_MAX, FILE_BYTES_MAX, LINK_TARGET_BYTES_MAX, MANIFEST_BODY_BYTES_MAX, WORKSPACE_BYTES_MAX,
    WORKSPACE_FILES_MAX,
};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{
    FileMode, ImportReceipt, ManifestEntry, Revision, StartedImport, StoredBlobs,
};
use worker::{Bucket, ByteStream};

use super::blobs::{self, BlobWriter};
use super::tar_reader::{Entry, EntryKind, Step, TarError, TarReader};
use super::tree::Tree;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::number;
use crate::sql_args;

pub const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS imports (import_id TEXT PRIMARY KEY, new_blob_bytes INTEGER NOT NULL, receipt TEXT);
  CREATE TABLE IF NOT EXISTS staged (
    import_id TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    mode TEXT NOT NULL,
    PRIMARY KEY (import_id, path)
  ) WITHOUT ROWID;";

/// Rows written by one statement.
const STAGE_ROWS: usize = 500;
/// An import that was not committed for a day is forgotten.
const ABANDONED_MS: u64 = 24 * 3_600 * 1_000;

impl From<TarError> for Failure {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Unsupported { .. } | TarError::BadName => Self::invalid("archive", error.to_string()),
            TarError::NotTar(_) | TarError::Truncated => {
                Self::malformed(format!("The archive cannot be read: {error}"))
            }
        }
    }
}

/// Collects files, and writes them many at a time.
struct Staging<'a> {
    tree: &'a Tree,
    import_id: ImportId,
    rows: Vec<ManifestEntry>,
    files: u64,
    bytes: u64,
}

impl<'a> Staging<'a> {
    fn begin(tree: &'a Tree, import_id: ImportId) -> Outcome<Self> {
        let oldest = ImportId::new(now_ms().saturating_sub(ABANDONED_MS), 0).to_string();
        for table in ["imports", "staged"] {
            tree.sql.run(&format!("DELETE FROM {table} WHERE import_id < ?"), sql_args![oldest.as_str()])?;
        }
        tree.sql.run(
            "INSERT INTO imports (import_id, new_blob_bytes) VALUES (?, 0)",
            sql_args![import_id.to_string()],
        )?;
        Ok(Self { tree, import_id, rows: Vec::new(), files: 0, bytes: 0 })
    }

    fn add(&mut self, entry: ManifestEntry) -> Outcome<()> {
        self.files += 1;
        self.bytes += entry.size_bytes;
        if self.files > WORKSPACE_FILES_MAX {
            return Err(Failure::too_large("A workspace", WORKSPACE_FILES_MAX, "files"));
        }
        if self.bytes > WORKSPACE_BYTES_MAX {
            return Err(Failure::too_large("A workspace", WORKSPACE_BYTES_MAX, "bytes"));
        }
        self.rows.push(entry);
        if self.rows.len() >= STAGE_ROWS { self.flush() } else { Ok(()) }
    }

    /// As an unpacked archive would be: the last entry of a path stands.
    fn flush(&mut self) -> Outcome<()> {
        let rows =
            serde_json::to_string(&self.rows).map_err(|error| Failure::internal("staging files", error))?;
        self.rows.clear();
        self.tree.sql.run(
            "INSERT OR REPLACE INTO staged (import_id, path, sha256, mode)
             SELECT ?1, value ->> 'path', value ->> 'sha256', value ->> 'mode' FROM json_each(?2)",
            sql_args![self.import_id.to_string(), rows],
        )
    }
}

fn parsed(path: &str) -> Outcome<WorkspacePath> {
    // Archives made of `.` name everything `./…`.
    let path = path.strip_prefix("./").unwrap_or(path);
    WorkspacePath::parse(path)
        .map_err(|error| Failure::invalid("archive", format!("`{}`: {error}", path.escape_debug())))
}

fn check_size(path: &str, size: u64) -> Outcome<()> {
    if size <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Failure::too_large(&format!("The file `{}`", path.escape_debug()), FILE_BYTES_MAX, "bytes"))
}

/// `import_workspace`: reads the archive as it comes, holding one piece of one file.
pub async fn import(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    import_id: ImportId,
    mut body: ByteStream,
) -> Outcome<ImportReceipt> {
    let mut staging = Staging::begin(tree, import_id)?;
    let mut reader = TarReader::default();
    let mut current: Option<(Entry, WorkspacePath, BlobWriter)> = None;
    let mut new_blob_bytes = 0;
    loop {
        let steps = match body.next().await {
            Some(piece) => reader.push(&piece?)?,
            None => reader.finish()?,
        };
        let over = reader.is_over();
        for step in steps {
            match step {
                Step::Begin(entry) => {
                    let path = parsed(&entry.path)?;
                    check_size(&entry.path, entry.size)?;
                    let mut writer = BlobWriter::new(project_id);
                    if let EntryKind::Symlink { target } = &entry.kind {
                        writer.push(bucket, target.clone().into_bytes()).await?;
                    }
                    current = Some((entry, path, writer));
                }
                Step::Content(piece) => {
                    if let Some((_, _, writer)) = &mut current {
                        writer.push(bucket, piece).await?;
                    }
                }
                Step::End => {
                    let Some((entry, path, writer)) = current.take() else { continue };
                    let written = writer.finish(&tree.sql, bucket).await?;
                    new_blob_bytes += if written.new { written.size_bytes } else { 0 };
                    let mode = match entry.kind {
                        EntryKind::File { executable: false } => FileMode::Regular,
                        EntryKind::File { executable: true } => FileMode::Executable,
                        EntryKind::Symlink { .. } => FileMode::Symlink,
                    };
                    let (sha256, size_bytes) = (written.sha256, written.size_bytes);
                    staging.add(ManifestEntry { path, sha256, size_bytes, mode })?;
                }
            }
        }
        if over {
            break;
        }
    }
    staging.flush()?;
    count_new(tree, import_id, new_blob_bytes)?;
    commit(tree, import_id)
}

fn count_new(tree: &Tree, import_id: ImportId, bytes: u64) -> Outcome<()> {
    tree.sql.run(
        "UPDATE imports SET new_blob_bytes = new_blob_bytes + ? WHERE import_id = ?",
        sql_args![number(bytes), import_id.to_string()],
    )
}

/// `start_import`: stages a manifest; answers which blobs are missing.
pub async fn start(tree: &Tree, import_id: ImportId, mut body: ByteStream) -> Outcome<StartedImport> {
    let mut staging = Staging::begin(tree, import_id)?;
    let (mut pending, mut received, mut line_number) = (Vec::new(), 0u64, 0u64);
    while let Some(piece) = body.next().await {
        let piece = piece?;
        received += piece.len() as u64;
        if received > MANIFEST_BODY_BYTES_MAX {
            return Err(Failure::too_large("A manifest", MANIFEST_BODY_BYTES_MAX, "bytes"));
        }
        pending.extend_from_slice(&piece);
        let whole = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let rest = pending.split_off(whole);
        for line in std::mem::replace(&mut pending, rest).split(|byte| *byte == b'\n') {
            line_number += 1;
            stage_line(&mut staging, line, line_number)?;
        }
        line_number = line_number.saturating_sub(1);
    }
    stage_line(&mut staging, &pending, line_number + 1)?;
    staging.flush()?;
    #[derive(serde::Deserialize)]
    struct Row {
        sha256: Sha256,
    }
    let missing: Vec<Row> = tree.sql.rows(
        "SELECT DISTINCT sha256 FROM staged WHERE import_id = ?
         AND NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.sha256 = staged.sha256)",
        sql_args![import_id.to_string()],
    )?;
    Ok(StartedImport { import_id, missing: missing.into_iter().map(|row| row.sha256).collect() })
}

fn stage_line(staging: &mut Staging<'_>, line: &[u8], number: u64) -> Outcome<()> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let entry: ManifestEntry = serde_json::from_slice(line)
        .map_err(|error| Failure::invalid(&format!("manifest line {number}"), error.to_string()))?;
    check_size(entry.path.as_str(), entry.size_bytes)?;
    staging.add(entry)
}

fn require_open(tree: &Tree, import_id: ImportId) -> Outcome<Option<ImportReceipt>> {
    #[derive(serde::Deserialize)]
    struct Row {
        receipt: Option<String>,
    }
    let row: Option<Row> = tree
        .sql
        .first("SELECT receipt FROM imports WHERE import_id = ?", sql_args![import_id.to_string()])?;
    match row {
        None => Err(Failure::not_found("import", import_id)),
        Some(Row { receipt: None }) => Ok(None),
        Some(Row { receipt: Some(receipt) }) => serde_json::from_str(&receipt)
            .map(Some)
            .map_err(|error| Failure::internal("a stored receipt", error)),
    }
}

/// `store_blobs`: content that does not hash to its name is refused; what came before it is kept.
pub async fn store_blobs(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    import_id: ImportId,
    mut body: ByteStream,
) -> Outcome<StoredBlobs> {
    require_open(tree, import_id)?;
    let mut reader = TarReader::default();
    let mut current: Option<(Sha256, BlobWriter)> = None;
    let (mut stored, mut stored_bytes, mut received) = (0, 0, 0u64);
    loop {
        let steps = match body.next().await {
            Some(piece) => {
                let piece = piece?;
                received += piece.len() as u64;
                if received > BLOB_PACK_BYTES_MAX {
                    return Err(Failure::too_large("A pack of blobs", BLOB_PACK_BYTES_MAX, "bytes"));
                }
                reader.push(&piece)?
            }
            None => reader.finish()?,
        };
        let over = reader.is_over();
        for step in steps {
            match step {
                Step::Begin(entry) => {
                    let sha256 = entry.path.parse().map_err(|_| {
                        Failure::invalid(
                            "archive",
                            format!("`{}` is not a SHA-256", entry.path.escape_debug()),
                        )
                    })?;
                    check_size(&entry.path, entry.size)?;
                    current = Some((sha256, BlobWriter::new(project_id)));
                }
                Step::Content(piece) => {
                    if let Some((_, writer)) = &mut current {
                        writer.push(bucket, piece).await?;
                    }
                }
                Step::End => {
                    let Some((named, writer)) = current.take() else { continue };
                    let found = writer.sha256();
                    if found != named {
                        return Err(Failure::invalid(
                            "archive",
                            format!("The file `{named}` hashes to {found}"),
                        ));
                    }
                    let written = writer.finish(&tree.sql, bucket).await?;
                    stored += 1;
                    stored_bytes += if written.new { written.size_bytes } else { 0 };
                }
            }
        }
        if over {
            break;
        }
    }
    count_new(tree, import_id, stored_bytes)?;
    Ok(StoredBlobs { stored, stored_bytes })
}

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
  WITH mine AS (SELECT path, staged.sha256, mode, size_bytes FROM staged
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
        "SELECT path, staged.sha256 AS sha256, size_bytes FROM staged JOIN blobs ON blobs.sha256 = staged.sha256
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
    tree.sql.run(
        "UPDATE entries SET until = ?2 WHERE until IS NULL AND NOT EXISTS (SELECT 1 FROM staged
         WHERE import_id = ?1 AND staged.path = entries.path AND staged.sha256 = entries.sha256
           AND staged.mode = entries.mode)",
        sql_args![id, new.clone()],
    )?;
    tree.sql.run(
        "INSERT INTO entries (path, since, sha256, size_bytes, mode)
         SELECT path, ?2, staged.sha256, size_bytes, mode FROM staged JOIN blobs ON blobs.sha256 = staged.sha256
         WHERE import_id = ?1
           AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.path = staged.path AND until IS NULL)",
        sql_args![id, new],
    )?;
    tree.add_revision(revision, None)
}
