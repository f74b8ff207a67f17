//! SQL on `execution_artifacts`.

use shared_contracts::artifacts::Artifact;
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ArtifactId, ExecutionId, OwnerId};
use shared_contracts::limits::ARTIFACTS_PER_EXECUTION_MAX;
use shared_contracts::page::PageQuery;

use crate::args;
use crate::platform::d1::Db;
use crate::platform::failure::Outcome;
use crate::platform::paging;

macro_rules! record {
    () => {
        "json_object('id', id, 'execution_id', execution_id, 'artifact_type', artifact_type, 'path', path,
          'size_bytes', size_bytes, 'mime_type', mime_type, 'sha256', sha256, 'created_at_ms', created_at_ms)"
    };
}

/// Only under the lease that stands, and not too many.
pub const INSERT: &str = "INSERT INTO execution_artifacts
  (id, execution_id, artifact_type, path, size_bytes, mime_type, sha256, created_at_ms)
  SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM executions
  WHERE executions.id = ?2 AND generation = ?9 AND executions.state IN ('leased', 'running')
    AND (SELECT count(*) FROM execution_artifacts WHERE execution_id = ?2) < ?10
  ON CONFLICT (id) DO NOTHING";

pub const LIST: &str = crate::page_of!(record!(), "execution_artifacts WHERE execution_id = ?1");

pub const GET: &str = concat!(
    "SELECT ",
    record!(),
    " AS record FROM execution_artifacts WHERE id = ?1 AND EXISTS
      (SELECT 1 FROM executions WHERE executions.id = execution_artifacts.execution_id AND owner_id = ?2)"
);

pub const OF_EXECUTION: &str =
    concat!("SELECT ", record!(), " AS record FROM execution_artifacts WHERE id = ?1 AND execution_id = ?2");

pub const DELETE: &str = "DELETE FROM execution_artifacts WHERE id = ?1";

#[cfg(test)]
pub const STATEMENTS: &[(&str, &str)] =
    &[("INSERT", INSERT), ("LIST", LIST), ("GET", GET), ("OF_EXECUTION", OF_EXECUTION), ("DELETE", DELETE)];

pub async fn insert(db: &Db, artifact: &Artifact, lease: Lease) -> Outcome<bool> {
    let args = args![
        artifact.id.to_string(),
        artifact.execution_id.to_string(),
        artifact.artifact_type.as_str(),
        artifact.path.as_str(),
        artifact.size_bytes,
        artifact.mime_type.as_str(),
        artifact.sha256.to_string(),
        artifact.created_at_ms,
        lease.generation,
        ARTIFACTS_PER_EXECUTION_MAX,
    ];
    Ok(db.change(INSERT, args).await? > 0)
}

pub async fn list(db: &Db, execution_id: ExecutionId, page: &PageQuery) -> Outcome<String> {
    paging::page(db, LIST, execution_id.to_string(), page).await
}

pub async fn get(db: &Db, owner_id: OwnerId, id: ArtifactId) -> Outcome<Option<Artifact>> {
    db.typed(GET, args![id.to_string(), owner_id.to_string()]).await
}

pub async fn of_execution(db: &Db, execution_id: ExecutionId, id: ArtifactId) -> Outcome<Option<Artifact>> {
    db.typed(OF_EXECUTION, args![id.to_string(), execution_id.to_string()]).await
}

pub async fn delete(db: &Db, id: ArtifactId) -> Outcome<()> {
    db.change(DELETE, args![id.to_string()]).await.map(drop)
}
