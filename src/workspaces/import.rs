//! A whole tree comes in as one stream.
//!
//! Files are staged under an import id and become a revision in one moment, or never. Blobs are kept as they come:
//! a second try of a broken import sends them to the same place.

use futures::StreamExt;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::limits::{FILE_BYTES_MAX, WORKSPACE_BYTES_MAX, WORKSPACE_FILES_MAX};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{FileMode, ImportReceipt, ManifestEntry};
use worker::{Bucket, ByteStream};

use super::blobs::BlobWriter;
use super::commit::commit;
use super::tar_reader::{Entry, EntryKind, Step, TarError, TarReader};
use super::tree::Tree;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::number;
use crate::sql_args;

pub const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS imports (import_id TEXT PRIMARY KEY, new_blob_bytes INTEGER NOT NULL, receipt TEXT);
  CREATE TABLE IF NOT EXISTS staged (
    import_id TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    -- As the manifest declares it.
    size_bytes INTEGER NOT NULL,
    mode TEXT NOT NULL,
    PRIMARY KEY (import_id, path)
  ) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS staged_by_blob ON staged (import_id, sha256);";

/// Rows written by one statement.
const STAGE_ROWS: usize = 500;

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

/// Collects the files of one import, and writes them many at a time.
pub struct Staging<'a> {
    tree: &'a Tree,
    import_id: ImportId,
    rows: Vec<ManifestEntry>,
    files: u64,
    bytes: u64,
}

impl<'a> Staging<'a> {
    pub fn begin(tree: &'a Tree, import_id: ImportId) -> Outcome<Self> {
        tree.sql.run(
            "INSERT INTO imports (import_id, new_blob_bytes) VALUES (?, 0)",
            sql_args![import_id.to_string()],
        )?;
        Ok(Self { tree, import_id, rows: Vec::new(), files: 0, bytes: 0 })
    }

    pub fn add(&mut self, entry: ManifestEntry) -> Outcome<()> {
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
    pub fn flush(&mut self) -> Outcome<()> {
        let rows =
            serde_json::to_string(&self.rows).map_err(|error| Failure::internal("staging files", error))?;
        self.rows.clear();
        self.tree.sql.run(
            "INSERT OR REPLACE INTO staged (import_id, path, sha256, size_bytes, mode)
             SELECT ?1, value ->> 'path', value ->> 'sha256', value ->> 'size_bytes', value ->> 'mode'
             FROM json_each(?2)",
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

pub fn check_size(path: &str, size: u64) -> Outcome<()> {
    if size <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Failure::too_large(&format!("The file `{}`", path.escape_debug()), FILE_BYTES_MAX, "bytes"))
}

/// What the next portion of the stream completes; none once the archive is over.
pub async fn next_steps(body: &mut ByteStream, reader: &mut TarReader) -> Outcome<Option<Vec<Step>>> {
    while !reader.is_over() {
        let steps = reader.steps()?;
        if !steps.is_empty() {
            return Ok(Some(steps));
        }
        match body.next().await {
            Some(piece) => reader.push(&piece?),
            None => return Ok(Some(reader.finish()?)),
        }
    }
    Ok(None)
}

/// `import_workspace`: reads the archive as it comes, holding one piece of one file.
pub async fn import(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    import_id: ImportId,
    body: &mut ByteStream,
) -> Outcome<ImportReceipt> {
    let mut staging = Staging::begin(tree, import_id)?;
    let mut reader = TarReader::default();
    let mut current: Option<(Entry, WorkspacePath, BlobWriter)> = None;
    let mut new_blob_bytes = 0;
    while let Some(steps) = next_steps(body, &mut reader).await? {
        for step in steps {
            match step {
                Step::Begin(entry) => {
                    let path = parsed(&entry.path)?;
                    check_size(&entry.path, entry.size)?;
                    let mut writer = BlobWriter::new(project_id);
                    if let EntryKind::Symlink { target } = &entry.kind {
                        writer.push(&tree.sql, bucket, target.clone().into_bytes()).await?;
                    }
                    current = Some((entry, path, writer));
                }
                Step::Content(piece) => {
                    if let Some((_, _, writer)) = &mut current {
                        writer.push(&tree.sql, bucket, piece).await?;
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

pub fn count_new(tree: &Tree, import_id: ImportId, bytes: u64) -> Outcome<()> {
    tree.sql.run(
        "UPDATE imports SET new_blob_bytes = new_blob_bytes + ? WHERE import_id = ?",
        sql_args![number(bytes), import_id.to_string()],
    )
}
