//! Workspaces: the object answers, and its response passes through.

use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ImportId, ProjectId};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::{FetchBlobs, RevisionQuery, TreeQuery};
use worker::Response;

use super::owned::readable_project;
use crate::entry::call::Call;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::entropy;
use crate::platform::object;
use crate::workspaces::commands::WorkspaceCommand;

pub async fn ask_workspace(call: &Call, id: ProjectId, command: WorkspaceCommand) -> Outcome<Response> {
    object::response(&call.bindings.workspace(id)?, &command).await
}

/// The object's answer with the route's status, where it succeeded.
pub fn with_status(call: &Call, response: Response) -> Response {
    if response.status_code() == 200 { response.with_status(call.route.status) } else { response }
}

pub async fn get_workspace(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Revision { revision }).await
}

pub async fn send_to_workspace(call: &Call, id: ProjectId, command: WorkspaceCommand) -> Outcome<Response> {
    let body = call.stream();
    if body.is_none() {
        return Err(Failure::malformed("The body is empty"));
    }
    Ok(with_status(call, object::with_stream(&call.bindings.workspace(id)?, &command, body).await?))
}

pub async fn import_workspace(call: Call) -> Outcome<Response> {
    let project_id = readable_project(&call).await?;
    send_to_workspace(&call, project_id, WorkspaceCommand::Import { project_id }).await
}

pub async fn start_import(call: Call) -> Outcome<Response> {
    let project_id = readable_project(&call).await?;
    let import_id = ImportId::new(now_ms(), entropy()?);
    send_to_workspace(&call, project_id, WorkspaceCommand::StartImport { import_id }).await
}

pub async fn store_blobs(call: Call) -> Outcome<Response> {
    let (project_id, import_id) = (readable_project(&call).await?, call.parameter("import_id")?);
    send_to_workspace(&call, project_id, WorkspaceCommand::StoreBlobs { project_id, import_id }).await
}

pub async fn commit_import(call: Call) -> Outcome<Response> {
    let (id, import_id) = (readable_project(&call).await?, call.parameter("import_id")?);
    Ok(with_status(&call, ask_workspace(&call, id, WorkspaceCommand::CommitImport { import_id }).await?))
}

pub async fn list_tree(call: Call) -> Outcome<Response> {
    let query: TreeQuery = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Tree { query }).await
}

pub async fn read_file(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    let path: WorkspacePath = call.parameter("path")?;
    ask_workspace(&call, id, WorkspaceCommand::File { path, revision }).await
}

pub async fn get_manifest(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Manifest { revision }).await
}

pub async fn export_workspace(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Export { revision }).await
}

pub async fn get_blob(call: Call) -> Outcome<Response> {
    let (id, sha256) = (readable_project(&call).await?, call.parameter::<Sha256>("sha256")?);
    ask_workspace(&call, id, WorkspaceCommand::Blob { sha256 }).await
}

pub async fn fetch_blobs(call: Call) -> Outcome<Response> {
    let id = readable_project(&call).await?;
    let FetchBlobs { sha256 } = call.json().await?;
    ask_workspace(&call, id, WorkspaceCommand::Blobs { sha256 }).await
}
