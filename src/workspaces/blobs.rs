//! Content, named by SHA-256: small in the object's SQLite, large in R2 under the project's own prefix, so that a
//! hash learnt elsewhere opens nothing here.

use sha2::Digest;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ProjectId;
use shared_contracts::limits::INLINE_BLOB_BYTES_MAX;
use worker::{Bucket, MultipartUpload, UploadedPart};

use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::entropy;
use crate::platform::sql::{Sql, number};
use crate::sql_args;

/// R2 takes parts of at least 5 MiB, and all but the last of the same size.
const PART_BYTES: usize = 5 * 1024 * 1024;

pub const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS blobs (
    sha256 TEXT PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    -- NULL: in R2, under this key.
    content BLOB,
    r2_key TEXT,
    CHECK ((content IS NULL) <> (r2_key IS NULL))
  ) WITHOUT ROWID;
  -- In R2, and no blob refers to it: it is being written, or is to be deleted.
  CREATE TABLE IF NOT EXISTS loose_objects (r2_key TEXT PRIMARY KEY) WITHOUT ROWID;";

#[derive(serde::Deserialize)]
struct Place {
    r2_key: Option<String>,
    size_bytes: u64,
}

/// Where a project's large blobs are in R2.
pub fn prefix(project_id: ProjectId) -> String {
    format!("blobs/{project_id}/")
}

/// Where a blob's content is.
pub enum Content {
    Inline(Vec<u8>),
    Object { key: String, size_bytes: u64 },
}

pub fn find(sql: &Sql, sha256: Sha256) -> Outcome<Option<Content>> {
    let key = sha256.to_string();
    let place: Option<Place> =
        sql.first("SELECT r2_key, size_bytes FROM blobs WHERE sha256 = ?", sql_args![key.as_str()])?;
    match place {
        None => Ok(None),
        Some(Place { r2_key: Some(key), size_bytes }) => Ok(Some(Content::Object { key, size_bytes })),
        Some(_) => {
            let content = sql.blob("SELECT content FROM blobs WHERE sha256 = ?", sql_args![key])?;
            Ok(content.map(Content::Inline))
        }
    }
}

/// The whole content in memory: for what is at most a file's size.
pub async fn read(sql: &Sql, bucket: &Bucket, sha256: Sha256) -> Outcome<Option<Vec<u8>>> {
    match find(sql, sha256)? {
        None => Ok(None),
        Some(Content::Inline(bytes)) => Ok(Some(bytes)),
        Some(Content::Object { key, .. }) => {
            let object = bucket.get(&key).execute().await?;
            let body = object.as_ref().and_then(worker::Object::body);
            let body =
                body.ok_or_else(|| Failure::internal("a large blob", format!("{key} is not in R2")))?;
            Ok(Some(body.bytes().await?))
        }
    }
}

/// Keeps small content; a blob that is there already is left alone. Answers whether it is new.
pub fn keep_inline(sql: &Sql, sha256: Sha256, bytes: Vec<u8>) -> Outcome<bool> {
    if exists(sql, sha256)? {
        return Ok(false);
    }
    sql.run(
        "INSERT INTO blobs (sha256, size_bytes, content) VALUES (?, ?, ?)",
        sql_args![sha256.to_string(), number(bytes.len() as u64), bytes],
    )?;
    Ok(true)
}

pub fn exists(sql: &Sql, sha256: Sha256) -> Outcome<bool> {
    #[derive(serde::Deserialize)]
    struct One {}
    let row: Option<One> =
        sql.first("SELECT 1 FROM blobs WHERE sha256 = ?", sql_args![sha256.to_string()])?;
    Ok(row.is_some())
}

/// Keeps content of any size that is in memory already.
pub async fn keep(sql: &Sql, bucket: &Bucket, project_id: ProjectId, bytes: Vec<u8>) -> Outcome<Sha256> {
    let mut writer = BlobWriter::new(project_id);
    writer.push(sql, bucket, bytes).await?;
    Ok(writer.finish(sql, bucket).await?.sha256)
}

/// What was written.
pub struct Written {
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub new: bool,
}

/// Takes content piece by piece and holds at most one part of it.
pub struct BlobWriter {
    project_id: ProjectId,
    hasher: sha2::Sha256,
    size_bytes: u64,
    pending: Vec<u8>,
    upload: Option<Upload>,
}

struct Upload {
    key: String,
    upload: MultipartUpload,
    parts: Vec<UploadedPart>,
}

impl BlobWriter {
    pub fn new(project_id: ProjectId) -> Self {
        let hasher = sha2::Sha256::new();
        Self { project_id, hasher, size_bytes: 0, pending: Vec::new(), upload: None }
    }

    /// The hash is known only at the end, so the key is not the hash. Noted before anything is there: what is given up
    /// half-way is found again.
    fn new_key(&self, sql: &Sql) -> Outcome<String> {
        let key = format!("{}{:032x}", prefix(self.project_id), entropy()?);
        sql.run("INSERT INTO loose_objects (r2_key) VALUES (?)", sql_args![key.as_str()])?;
        Ok(key)
    }

    pub async fn push(&mut self, sql: &Sql, bucket: &Bucket, piece: Vec<u8>) -> Outcome<()> {
        self.hasher.update(&piece);
        self.size_bytes += piece.len() as u64;
        if self.pending.is_empty() {
            self.pending = piece;
        } else {
            self.pending.extend_from_slice(&piece);
        }
        while self.pending.len() >= PART_BYTES {
            let rest = self.pending.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.pending, rest);
            self.send(sql, bucket, part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, sql: &Sql, bucket: &Bucket, part: Vec<u8>) -> Outcome<()> {
        if self.upload.is_none() {
            let key = self.new_key(sql)?;
            let upload = bucket.create_multipart_upload(key.as_str()).execute().await?;
            self.upload = Some(Upload { key, upload, parts: Vec::new() });
        }
        if let Some(upload) = &mut self.upload {
            let number = u16::try_from(upload.parts.len() + 1)
                .map_err(|error| Failure::internal("a large blob's part", error))?;
            upload.parts.push(upload.upload.upload_part(number, part).await?);
        }
        Ok(())
    }

    /// The hash of what came so far.
    pub fn sha256(&self) -> Sha256 {
        Sha256::from_bytes(self.hasher.clone().finalize().into())
    }

    /// The blob stands once this returns; what is abandoned before leaves nothing readable.
    pub async fn finish(mut self, sql: &Sql, bucket: &Bucket) -> Outcome<Written> {
        let sha256 = self.sha256();
        let size_bytes = self.size_bytes;
        let Some(mut upload) = self.upload.take() else {
            if size_bytes < INLINE_BLOB_BYTES_MAX {
                let new = keep_inline(sql, sha256, self.pending)?;
                return Ok(Written { sha256, size_bytes, new });
            }
            let new = !exists(sql, sha256)?;
            if new {
                let key = self.new_key(sql)?;
                bucket.put(&key, self.pending).execute().await?;
                refer(sql, sha256, size_bytes, &key)?;
            }
            return Ok(Written { sha256, size_bytes, new });
        };
        if exists(sql, sha256)? {
            upload.upload.abort().await?;
            return Ok(Written { sha256, size_bytes, new: false });
        }
        if !self.pending.is_empty() {
            let number = u16::try_from(upload.parts.len() + 1)
                .map_err(|error| Failure::internal("a large blob's part", error))?;
            upload.parts.push(upload.upload.upload_part(number, self.pending).await?);
        }
        upload.upload.complete(upload.parts).await?;
        refer(sql, sha256, size_bytes, &upload.key)?;
        Ok(Written { sha256, size_bytes, new: true })
    }
}

fn refer(sql: &Sql, sha256: Sha256, size_bytes: u64, key: &str) -> Outcome<()> {
    sql.run(
        "INSERT INTO blobs (sha256, size_bytes, r2_key) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        sql_args![sha256.to_string(), number(size_bytes), key],
    )?;
    // Of two that came at once, the second one's object stays loose.
    sql.run(
        "DELETE FROM loose_objects WHERE r2_key = ?2
           AND EXISTS (SELECT 1 FROM blobs WHERE sha256 = ?1 AND r2_key = ?2)",
        sql_args![sha256.to_string(), key],
    )
}
