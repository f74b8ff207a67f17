//! Artifacts.

use shared_contracts::artifacts::UploadArtifact;
use shared_contracts::page::PageQuery;
use worker::Response;

use super::owned::{execution_id, held_claims, owner};
use crate::artifacts::{self, download_artifact as download, upload_artifact as upload};
use crate::entry::call::{Call, json, json_text, nothing};
use crate::platform::failure::{Failure, Outcome};

pub async fn list_artifacts(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = execution_id(&call).await?;
    json_text(200, artifacts::list_artifacts(&call.bindings.db, owner(&call)?, id, &page).await?)
}

pub async fn upload_artifact(call: Call) -> Outcome<Response> {
    let input: UploadArtifact = call.query()?;
    let (lease, id) = (held_claims(&call).await?.lease, call.parameter("artifact_id")?);
    let announced = call.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced != Some(input.size_bytes) {
        return Err(Failure::invalid(
            "size_bytes",
            "must be the Content-Length of the body, which must be given",
        ));
    }
    json(201, &upload::upload_artifact(&call.bindings, lease, id, input, call.stream()).await?)
}

pub async fn get_artifact(call: Call) -> Outcome<Response> {
    json(
        200,
        &artifacts::get_artifact(&call.bindings.db, owner(&call)?, call.parameter("artifact_id")?).await?,
    )
}

pub async fn download_artifact(call: Call) -> Outcome<Response> {
    let id = call.parameter("artifact_id")?;
    if call.parameters.contains_key("execution_id") {
        let execution_id = execution_id(&call).await?;
        let artifact = artifacts::get_artifact(&call.bindings.db, owner(&call)?, id).await?;
        if artifact.execution_id != execution_id {
            return Err(Failure::not_found("artifact", id));
        }
    }
    download::download_artifact(&call.bindings, owner(&call)?, id, call.header("range").as_deref()).await
}

pub async fn delete_artifact(call: Call) -> Outcome<Response> {
    artifacts::delete_artifact(&call.bindings, owner(&call)?, call.parameter("artifact_id")?).await?;
    nothing()
}
