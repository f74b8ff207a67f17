//! Artifacts: files that an execution leaves behind. The record is in D1, the content in R2.
//!
//! Operations: `upload_artifact`, `list_artifacts`, `get_artifact`, `download_artifact`, `delete_artifact`.

pub mod download_artifact;
pub mod store;
pub mod upload_artifact;

use shared_contracts::artifacts::Artifact;
use shared_contracts::ids::{ArtifactId, ExecutionId, OwnerId};
use shared_contracts::page::PageQuery;

use crate::bindings::Bindings;
use crate::executions;
use crate::platform::d1::Db;
use crate::platform::failure::{Failure, Outcome};

/// Where an execution's artifacts are in R2.
pub fn prefix(execution_id: ExecutionId) -> String {
    format!("artifacts/{execution_id}/")
}

fn key(execution_id: ExecutionId, id: ArtifactId) -> String {
    format!("{}{id}", prefix(execution_id))
}

pub async fn list_artifacts(
    db: &Db,
    owner_id: OwnerId,
    execution_id: ExecutionId,
    page: &PageQuery,
) -> Outcome<String> {
    executions::find(db, owner_id, execution_id).await?;
    store::list(db, execution_id, page).await
}

pub async fn get_artifact(db: &Db, owner_id: OwnerId, id: ArtifactId) -> Outcome<Artifact> {
    store::get(db, owner_id, id).await?.ok_or_else(|| Failure::not_found("artifact", id))
}

/// The record goes first: content without a record is unreachable, a record without content would lie.
pub async fn delete_artifact(bindings: &Bindings, owner_id: OwnerId, id: ArtifactId) -> Outcome<()> {
    let artifact = get_artifact(&bindings.db, owner_id, id).await?;
    store::delete(&bindings.db, id).await?;
    Ok(bindings.artifacts()?.delete(key(artifact.execution_id, id)).await?)
}
