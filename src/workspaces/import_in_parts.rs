//! A tree comes in parts: a manifest, then only the blobs that are missing, then the commit.
//!
//! What is sent is checked against the manifest as it comes: a blob that nobody names, or of another size than
//! declared, is refused before a byte of it is kept.

use futures::StreamExt;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::limits::{BLOB_PACK_BYTES_MAX, MANIFEST_BODY_BYTES_MAX};
use shared_contracts::workspaces::{ImportReceipt, ManifestEntry, StartedImport, StoredBlobs};
use worker::{Bucket, ByteStream};

use super::blobs::BlobWriter;
use super::import::{Staging, check_size, count_new, next_steps};
use super::tar_reader::{Step, TarReader};
use super::tree::Tree;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::number;
use crate::sql_args;

/// `start_import`: stages a manifest; answers which blobs are missing.
pub async fn start(tree: &Tree, import_id: ImportId, body: &mut ByteStream) -> Outcome<StartedImport> {
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
    require_declared_sizes(tree, import_id)?;
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
    let invalid = |why: String| Failure::invalid(&format!("manifest line {number}"), why);
    let line = std::str::from_utf8(line).map_err(|error| invalid(error.to_string()))?;
    let entry: ManifestEntry = serde_json::from_str(line).map_err(|error| invalid(error.to_string()))?;
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

/// A file whose blob is here already must be as large as the manifest says.
pub fn require_declared_sizes(tree: &Tree, import_id: ImportId) -> Outcome<()> {
    #[derive(serde::Deserialize)]
    struct Row {
        path: String,
        sha256: Sha256,
        declared: u64,
        found: u64,
    }
    let row: Option<Row> = tree.sql.first(
        "SELECT path, staged.sha256 AS sha256, staged.size_bytes AS declared, blobs.size_bytes AS found
         FROM staged JOIN blobs ON blobs.sha256 = staged.sha256
         WHERE import_id = ? AND staged.size_bytes <> blobs.size_bytes LIMIT 1",
        sql_args![import_id.to_string()],
    )?;
    row.map_or(Ok(()), |row| Err(other_size("manifest", row.sha256, row.found, &row.path, row.declared)))
}

fn other_size(field: &str, sha256: Sha256, found: u64, path: &str, declared: u64) -> Failure {
    Failure::invalid(
        field,
        format!(
            "The blob {sha256} has {found} bytes; the manifest declares {declared} for `{path}`. Start another \
             import with a manifest of the files as they are"
        ),
    )
}

/// The manifest names this blob, with this size.
fn require_declared(tree: &Tree, import_id: ImportId, sha256: Sha256, size_bytes: u64) -> Outcome<()> {
    #[derive(serde::Deserialize)]
    struct Row {
        path: String,
        size_bytes: u64,
    }
    // A file that declares another size comes first.
    let row: Option<Row> = tree.sql.first(
        "SELECT path, size_bytes FROM staged WHERE import_id = ?1 AND sha256 = ?2 ORDER BY size_bytes = ?3 LIMIT 1",
        sql_args![import_id.to_string(), sha256.to_string(), number(size_bytes)],
    )?;
    match row {
        Some(row) if row.size_bytes == size_bytes => Ok(()),
        Some(row) => Err(other_size("archive", sha256, size_bytes, &row.path, row.size_bytes)),
        None => Err(Failure::invalid(
            "archive",
            format!(
                "No file of the manifest has the blob {sha256}; leave it out, and send what `missing` lists in the \
                 answer to the manifest"
            ),
        )),
    }
}

/// `store_blobs`: a blob that is not as the manifest says is refused; what came before it is kept.
pub async fn store_blobs(
    tree: &Tree,
    bucket: &Bucket,
    project_id: ProjectId,
    import_id: ImportId,
    body: &mut ByteStream,
) -> Outcome<StoredBlobs> {
    if require_open(tree, import_id)?.is_some() {
        return Err(Failure::wrong_state(format!("Import {import_id} is committed; it takes no more blobs")));
    }
    let mut reader = TarReader::default();
    let mut current: Option<(Sha256, BlobWriter)> = None;
    let (mut stored, mut stored_bytes, mut announced) = (0, 0, 0u64);
    while let Some(steps) = next_steps(body, &mut reader).await? {
        for step in steps {
            match step {
                Step::Begin(entry) => {
                    check_size(&entry.path, entry.size)?;
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
                    require_declared(tree, import_id, sha256, entry.size)?;
                    current = Some((sha256, BlobWriter::new(project_id)));
                }
                Step::Content(piece) => {
                    if let Some((_, writer)) = &mut current {
                        writer.push(&tree.sql, bucket, piece).await?;
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
