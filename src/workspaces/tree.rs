//! Revisions and the files they hold, in the object's SQLite. Synchronous: one call is one moment.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::page::Page;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{FileMode, ManifestEntry, Revision, TreeItem, TreeQuery};

use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::{Sql, number};
use crate::sql_args;

/// A file stands from revision `since` up to, and not in, revision `until`.
pub const SCHEMA: &str = "
  CREATE TABLE IF NOT EXISTS revisions (
    revision INTEGER PRIMARY KEY,
    message TEXT NOT NULL,
    patch_batch_id TEXT UNIQUE,
    receipt TEXT,
    file_count INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL
  );
  CREATE TABLE IF NOT EXISTS entries (
    path TEXT NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('regular', 'executable', 'symlink')),
    PRIMARY KEY (path, since)
  ) WITHOUT ROWID;
  CREATE UNIQUE INDEX IF NOT EXISTS entries_at_head ON entries (path) WHERE until IS NULL;";

pub struct Tree {
    pub sql: Sql,
}

const REVISION: &str =
    "SELECT revision, message, patch_batch_id, file_count, total_bytes, created_at_ms FROM revisions";

impl Tree {
    pub fn open(sql: Sql) -> Outcome<Self> {
        for schema in [SCHEMA, super::blobs::SCHEMA, super::import::SCHEMA] {
            sql.run(schema, Vec::new())?;
        }
        Ok(Self { sql })
    }

    /// The newest revision; 0, and empty, before the first.
    pub fn head(&self) -> Outcome<Revision> {
        let newest = self.sql.first(&format!("{REVISION} ORDER BY revision DESC LIMIT 1"), Vec::new())?;
        Ok(newest.unwrap_or(Revision {
            revision: 0,
            message: String::new(),
            patch_batch_id: None,
            file_count: 0,
            total_bytes: 0,
            created_at_ms: 0,
        }))
    }

    /// A revision that exists; the head where none is named.
    pub fn revision(&self, wanted: Option<u64>) -> Outcome<Revision> {
        let Some(wanted) = wanted else { return self.head() };
        let found = self.sql.first(&format!("{REVISION} WHERE revision = ?"), sql_args![number(wanted)])?;
        match found {
            Some(revision) => Ok(revision),
            None if wanted == 0 && self.head()?.revision == 0 => self.head(),
            None => Err(Failure::not_found("revision", wanted)),
        }
    }

    pub fn file(&self, path: &WorkspacePath, revision: u64) -> Outcome<Option<ManifestEntry>> {
        self.sql.first(
            "SELECT path, sha256, size_bytes, mode FROM entries
             WHERE path = ?1 AND since <= ?2 AND (until IS NULL OR until > ?2)",
            sql_args![path.as_str(), number(revision)],
        )
    }

    /// How many files of the head lie below this path, counted up to `most`. `0` is the character after `/`.
    pub fn files_below(&self, path: &WorkspacePath, most: u64) -> Outcome<u64> {
        #[derive(Deserialize)]
        struct Count {
            files: u64,
        }
        let row: Option<Count> = self.sql.first(
            "SELECT count(*) AS files FROM (SELECT 1 FROM entries
             WHERE until IS NULL AND path > ?1 || '/' AND path < ?1 || '0' LIMIT ?2)",
            sql_args![path.as_str(), number(most)],
        )?;
        Ok(row.map_or(0, |row| row.files))
    }

    pub fn is_directory(&self, path: &WorkspacePath) -> Outcome<bool> {
        Ok(self.files_below(path, 1)? > 0)
    }

    /// Files of a revision in order of path, after this one.
    pub fn files_after<T: DeserializeOwned>(
        &self,
        revision: u64,
        after: &str,
        limit: u32,
    ) -> Outcome<Vec<T>> {
        self.sql.rows(
            "SELECT path, sha256, size_bytes, mode FROM entries
             WHERE path > ?2 AND since <= ?1 AND (until IS NULL OR until > ?1) ORDER BY path LIMIT ?3",
            sql_args![number(revision), after, number(limit.into())],
        )
    }

    /// What stands in a directory, by name.
    pub fn list(&self, query: &TreeQuery) -> Outcome<Page<TreeItem>> {
        #[derive(Deserialize)]
        struct Row {
            name: String,
            is_directory: u8,
            sha256: String,
            size_bytes: u64,
            mode: FileMode,
        }
        let revision = self.revision(query.revision)?.revision;
        let prefix =
            match query.path.as_deref().map(|path| path.trim_matches('/')).filter(|path| !path.is_empty()) {
                Some(path) => {
                    let path = WorkspacePath::parse(path)
                        .map_err(|error| Failure::invalid("path", error.to_string()))?;
                    format!("{path}/")
                }
                None => String::new(),
            };
        let limit = query.limit.unwrap_or(shared_contracts::limits::PAGE_ITEMS_DEFAULT);
        let mut rows: Vec<Row> = self.sql.rows(
            "WITH below AS (SELECT substr(path, length(?1) + 1) AS rest, sha256, size_bytes, mode FROM entries
               WHERE path > ?1 AND (?1 = '' OR path < substr(?1, 1, length(?1) - 1) || '0')
                 AND since <= ?2 AND (until IS NULL OR until > ?2)),
             named AS (SELECT CASE WHEN instr(rest, '/') > 0 THEN substr(rest, 1, instr(rest, '/') - 1)
               ELSE rest END AS name, instr(rest, '/') > 0 AS is_directory, sha256, size_bytes, mode FROM below)
             SELECT name, max(is_directory) AS is_directory, sha256, size_bytes, mode FROM named
             WHERE name > ?3 GROUP BY name ORDER BY name LIMIT ?4",
            sql_args![
                prefix.as_str(),
                number(revision),
                query.after.as_deref().unwrap_or_default(),
                number(u64::from(limit) + 1)
            ],
        )?;
        if rows.is_empty() && !prefix.is_empty() && query.after.is_none() {
            return Err(Failure::not_found("directory", prefix.trim_end_matches('/')));
        }
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|row| row.name.clone());
        let items = rows.into_iter().map(|Row { name, is_directory, sha256, size_bytes, mode }| {
            if is_directory != 0 {
                return Ok(TreeItem::Directory { name });
            }
            let sha256 = sha256.parse().map_err(|error| Failure::internal("a stored hash", error))?;
            Ok(TreeItem::File { name, sha256, size_bytes, mode })
        });
        Ok(Page { items: items.collect::<Outcome<_>>()?, next })
    }

    pub fn receipt_of(&self, id: PatchBatchId) -> Outcome<Option<String>> {
        #[derive(Deserialize)]
        struct Row {
            receipt: Option<String>,
        }
        let row: Option<Row> = self
            .sql
            .first("SELECT receipt FROM revisions WHERE patch_batch_id = ?", sql_args![id.to_string()])?;
        Ok(row.and_then(|row| row.receipt))
    }

    pub fn add_revision(&self, revision: &Revision, receipt: Option<String>) -> Outcome<()> {
        self.sql.run(
            "INSERT INTO revisions (revision, message, patch_batch_id, receipt, file_count, total_bytes, created_at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            sql_args![
                number(revision.revision),
                revision.message.as_str(),
                revision.patch_batch_id.map(|id| id.to_string()),
                receipt,
                number(revision.file_count),
                number(revision.total_bytes),
                number(revision.created_at_ms)
            ],
        )
    }
}
