//! A database made by the migrations, asked in the way that D1 is asked.

use rusqlite::Connection;
use rusqlite::types::Value;
use serde::de::DeserializeOwned;
use shared_contracts::hash::Sha256;

use crate::platform::d1::Arg;

/// Their names and texts, in the order in which wrangler applies them.
pub fn migrations() -> Vec<(String, String)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |file: &std::path::Path| file.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), std::fs::read_to_string(file).unwrap())).collect()
}

pub struct Database(pub Connection);

/// Tables that grow with use; a full scan of one gets slower with every customer.
pub const SMALL_TABLES: &[&str] = &["settings"];

impl Database {
    /// Only the first so many migrations. Foreign keys are enforced, as D1 enforces them.
    pub fn of(count: usize) -> Self {
        let database = Self(Connection::open_in_memory().unwrap());
        database.0.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        for (name, sql) in migrations().iter().take(count) {
            database.0.execute_batch(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        database
    }

    pub fn new() -> Self {
        Self::of(usize::MAX)
    }

    /// D1 binds every number as a double.
    fn values(args: &[Arg]) -> Vec<Value> {
        args.iter()
            .map(|arg| match arg {
                Arg::Null => Value::Null,
                Arg::Number(number) => Value::Real(*number),
                Arg::Text(text) => Value::Text(text.clone()),
            })
            .collect()
    }

    pub fn try_change(&self, sql: &str, args: &[Arg]) -> rusqlite::Result<usize> {
        self.0.execute(sql, rusqlite::params_from_iter(Self::values(args)))
    }

    /// How many rows it changed.
    pub fn change(&self, sql: &str, args: &[Arg]) -> usize {
        self.try_change(sql, args).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The column `record` of its first row.
    pub fn record(&self, sql: &str, args: &[Arg]) -> Option<String> {
        let mut statement = self.0.prepare(sql).unwrap();
        assert!(statement.column_names().eq(["record"]), "{sql}");
        let mut rows = statement.query(rusqlite::params_from_iter(Self::values(args))).unwrap();
        rows.next().unwrap().and_then(|row| row.get::<_, Option<String>>(0).unwrap())
    }

    /// [`Self::record`] as its contract's type.
    pub fn typed<T: DeserializeOwned>(&self, sql: &str, args: &[Arg]) -> Option<T> {
        let record = self.record(sql, args)?;
        Some(serde_json::from_str(&record).unwrap_or_else(|error| panic!("{record}: {error}")))
    }

    /// One value of one row, as text; `NULL` of a null.
    pub fn value(&self, sql: &str) -> String {
        let value: Value = self.0.query_row(sql, [], |row| row.get(0)).unwrap();
        match value {
            Value::Null => "NULL".into(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(_) => "a blob".into(),
        }
    }

    pub fn texts(&self, sql: &str) -> Vec<String> {
        let mut statement = self.0.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    pub fn tables(&self) -> Vec<String> {
        self.texts(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name",
        )
    }

    /// One row in every table there is, each referring to the others where it can.
    pub fn filled(self) -> Self {
        for (table, sql) in rows() {
            if self.tables().contains(&table.to_owned()) {
                self.0.execute_batch(&sql).unwrap_or_else(|error| panic!("{table}: {error}"));
            }
        }
        self
    }
}

/// Ids of the filled rows.
pub mod ids {
    use shared_contracts::ids::*;

    pub fn owner() -> String {
        OwnerId::new(1, 1).to_string()
    }
    pub fn project() -> String {
        ProjectId::new(1, 1).to_string()
    }
    pub fn task() -> String {
        TaskId::new(1, 1).to_string()
    }
    /// Ended; the task is free.
    pub fn execution() -> String {
        ExecutionId::new(1, 1).to_string()
    }
    /// Its record is gone.
    pub fn deleted_execution() -> String {
        ExecutionId::new(1, 2).to_string()
    }
    pub fn machine() -> String {
        ContainerAgentId::new(1, 1).to_string()
    }
    pub fn patch() -> String {
        PatchBatchId::new(1, 1).to_string()
    }
    pub fn token() -> String {
        TokenId::new(1, 1).to_string()
    }
    pub fn cleanup() -> String {
        ContainerCleanupId::new(1, 1).to_string()
    }
    pub fn artifact() -> String {
        ArtifactId::new(1, 1).to_string()
    }
}

pub fn token_sha256() -> String {
    Sha256::of(b"token").to_string()
}

/// A specification that its contract reads.
pub const SPEC: &str = r#"{"coding_agent":"command","command":["true"],"environment":{},"artifacts":[],
  "limits":{"memory_mb":64,"cpu_cores":0.5,"wall_seconds":1,"processes":4,"disk_mb":1},
  "sandbox_tier":"limited","base_revision":0}"#;

/// Every table's row, in an order in which references point back.
fn rows() -> Vec<(&'static str, String)> {
    let (owner, project, task, execution) = (ids::owner(), ids::project(), ids::task(), ids::execution());
    let (machine, patch, sha256) = (ids::machine(), ids::patch(), token_sha256());
    let (token, artifact, cleanup) = (ids::token(), ids::artifact(), ids::cleanup());
    vec![
        ("owners", format!("INSERT INTO owners VALUES ('{owner}', 'Ada', 1)")),
        (
            "access_tokens",
            format!(
                "INSERT INTO access_tokens VALUES
                 ('{token}', '{owner}', 'first', '{sha256}', '[\"read\",\"write\"]', 1, 1000000, NULL, NULL)"
            ),
        ),
        (
            "idempotency_keys",
            format!("INSERT INTO idempotency_keys VALUES ('{owner}', 'key', 'op', 'hash', '{{}}', 1, 201, '{{}}')"),
        ),
        ("projects", format!("INSERT INTO projects (id, owner_id, name, description, created_at_ms, updated_at_ms)
                 VALUES ('{project}', '{owner}', 'P', 'd', 1, 1)")),
        (
            "tasks",
            format!("INSERT INTO tasks VALUES ('{task}', '{project}', 'T', 'd', 5, 'todo', 'why', NULL, 1, 1)"),
        ),
        (
            "container_agents",
            format!(
                "INSERT INTO container_agents (id, owner_id, name, state, version, capacity, sandbox_tier, shared,
                   connected_at_ms, disconnected_at_ms) VALUES
                 ('{machine}', '{owner}', 'box', 'disconnected', '0.1.0', 4, 'strong', 1, 1, 2)"
            ),
        ),
        (
            "executions",
            format!(
                "INSERT INTO executions (id, project_id, task_id, owner_id, state, generation, priority, spec,
                   sandbox_tier, container_agent_id, exit_code, reason, created_at_ms, changed_at_ms, started_at_ms,
                   ended_at_ms)
                 VALUES ('{execution}', '{project}', '{task}', '{owner}', 'failed', 1, 5, '{SPEC}', 'limited',
                   '{machine}', 1, 'why', 1, 4, 2, 4)"
            ),
        ),
        (
            "execution_artifacts",
            format!(
                "INSERT INTO execution_artifacts VALUES
                 ('{artifact}', '{execution}', 'file', 'a/b', 3, 'text/plain', '{sha256}', 3)"
            ),
        ),
        (
            "patch_batches",
            format!(
                "INSERT INTO patch_batches (id, project_id, execution_id, title, state, base_revision,
                   operation_count, size_bytes, created_at_ms)
                 VALUES ('{patch}', '{project}', '{execution}', 'change', 'proposed', 0, 1, 10, 3)"
            ),
        ),
        (
            "patch_events",
            format!(
                "INSERT INTO patch_events (id, patch_batch_id, project_id, execution_id, kind, detail, duration_ms,
                   created_at_ms) VALUES ('pev_filled', '{patch}', '{project}', '{execution}', 'proposed', '{{}}', 0, 3)"
            ),
        ),
        (
            "patch_touches",
            format!("INSERT INTO patch_touches VALUES ('{patch}', '{project}', 'a', 3, 5, '[0]')"),
        ),
        (
            "project_secrets",
            format!("INSERT INTO project_secrets VALUES ('{project}', 'TOKEN', 'key', 'c2VhbGVk', 9, 1, 2)"),
        ),
        (
            "container_cleanups",
            format!(
                "INSERT INTO container_cleanups VALUES
                 ('{cleanup}', '{machine}', '{execution}.1', 'oci', 'hung', 3)"
            ),
        ),
        (
            "deletions",
            format!(
                "INSERT INTO deletions VALUES ('{gone}', 'execution', 5, 7)",
                gone = ids::deleted_execution()
            ),
        ),
    ]
}
