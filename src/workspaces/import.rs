//! A whole tree comes in: as one stream, or as a manifest and then only the blobs that are missing.
//!
//! Files are staged under an import id and become a revision in one moment, or never. Blobs are kept as they come:
//! a second try of a broken import sends them to the same place.

use futures::StreamExt;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::limits::{
    BLOB_PACK_BYTES_MAX, FILE_BYTES_MAX, MANIFEST_BODY_BYTES_MAX, WORKSPACE_BYTES_MAX, WORKSPACE_FILES_MAX,
};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{FileMode, ImportReceipt, ManifestEntry, StartedImport, StoredBlobs};
use worker::{Bucket, ByteStream};

use super::blobs::BlobWriter;
use super::commit::commit;
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

/// What the next piece of the stream completes; none once the archive is over.
async fn next_steps(body: &mut ByteStream, reader: &mut TarReader) -> Outcome<Option<Vec<Step>>> {
    if reader.is_over() {
        return Ok(None);
    }
    let steps = match body.next().await {
        Some(piece) => reader.push(&piece?)?,
        None => reader.finish()?,
    };
    Ok(Some(steps))
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
    while let Some(steps) = next_steps(&mut body, &mut reader).await? {
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

/// The receipt of an import that is committed; none of one that is open.
pub fn require_open(tree: &Tree, import_id: ImportId) -> Outcome<Option<ImportReceipt>> {
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
    let (mut stored, mut stored_bytes, mut announced) = (0, 0, 0u64);
    while let Some(steps) = next_steps(&mut body, &mut reader).await? {
        for step in steps {
            match step {
                Step::Begin(entry) => {
                    // What is unpacked counts, not what was sent: a small archive may hold a large file.
                    announced += entry.size;
                    if announced > BLOB_PACK_BYTES_MAX && announced > entry.size {
                        return Err(Failure::too_large("A pack of blobs", BLOB_PACK_BYTES_MAX, "bytes"));
                    }
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
    }
    count_new(tree, import_id, stored_bytes)?;
    Ok(StoredBlobs { stored, stored_bytes })
}
