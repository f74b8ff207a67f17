//! Which function answers which operation, and how its input is read from the call.

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::artifacts::UploadArtifact;
use shared_contracts::events::{EventQuery, SearchQuery};
use shared_contracts::executions::CreateExecution;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ExecutionId, ImportId, OwnerId, PatchBatchId, ProjectId, TaskId};
use shared_contracts::limits::{PAGE_ITEMS_DEFAULT, PATCH_BODY_BYTES_MAX};
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{ApplyPatches, ProposePatch, RejectPatch};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::{CreateProject, UpdateProject};
use shared_contracts::tasks::{CreateTask, UpdateTask};
use shared_contracts::workspaces::{FetchBlobs, RevisionQuery, TreeQuery};
use worker::Response;

use super::call::{Call, json, json_text, nothing};
use super::caller::Caller;
use super::idempotency::once;
use crate::accounts::execution_token::Claims;
use crate::accounts::{Account, access_tokens};
use crate::artifacts::{self, download_artifact as download, upload_artifact as upload};
use crate::container_agents;
use crate::dispatch::commands::DispatchCommand;
use crate::executions::commands::HubCommand;
use crate::executions::{self, create_execution as create, retry_execution as retry, stop_execution as stop};
use crate::patches::{self, apply_patches as apply, propose_patch as propose};
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::entropy;
use crate::platform::object;
use crate::projects;
use crate::tasks::{self, TaskKey};
use crate::workspaces::commands::WorkspaceCommand;

pub type Operation = fn(Call) -> LocalBoxFuture<'static, Outcome<Response>>;

macro_rules! operations {
    ($($name:ident)+) => { &[$((stringify!($name), |call| $name(call).boxed_local())),+] };
}

pub const OPERATIONS: &[(&str, Operation)] = operations! {
    health ready
    list_access_tokens create_access_token revoke_access_token
    list_projects create_project get_project update_project delete_project
    list_tasks create_task get_task update_task delete_task
    get_workspace import_workspace start_import store_blobs commit_import
    list_tree read_file get_manifest export_workspace get_blob fetch_blobs
    list_executions create_execution get_execution stop_execution retry_execution
    list_events stream_events watch_events search_events append_events
    list_artifacts upload_artifact get_artifact download_artifact delete_artifact
    list_patches propose_patch propose_execution_patch apply_patches get_patch reject_patch
    list_container_agents connect_container_agent get_container_agent drain_container_agent
};

async fn health(_: Call) -> Outcome<Response> {
    Ok(Response::ok("ok")?)
}

async fn ready(call: Call) -> Outcome<Response> {
    call.bindings.signing_key()?;
    call.bindings.db.record("SELECT '1' AS record", &[]).await?;
    Ok(Response::ok("ready")?)
}

// Whose call it is.

fn account(call: &Call) -> Outcome<&Account> {
    match &call.caller {
        Caller::Account(account) => Ok(account),
        _ => Err(Failure::problem(ProblemKind::Forbidden, "This needs an access token")),
    }
}

/// The claims of the execution that the path names.
fn claims(call: &Call) -> Outcome<Claims> {
    let id: ExecutionId = call.parameter("execution_id")?;
    match &call.caller {
        Caller::Execution(claims) if claims.lease.execution_id == id => Ok(claims.clone()),
        _ => Err(Failure::not_found("execution", id)),
    }
}

fn owner(call: &Call) -> Outcome<OwnerId> {
    account(call).map(|account| account.owner_id)
}

fn task_key(call: &Call) -> Outcome<TaskKey> {
    Ok(TaskKey {
        owner_id: owner(call)?,
        project_id: call.parameter("project_id")?,
        id: call.parameter("task_id")?,
    })
}

/// The execution that the path names, the caller's, and of the project and task that the path names too.
async fn execution_id(call: &Call) -> Outcome<ExecutionId> {
    let id: ExecutionId = call.parameter("execution_id")?;
    let execution = executions::find(&call.bindings.db, owner(call)?, id).await?;
    let in_project = !call.parameters.contains_key("project_id")
        || call.parameter::<ProjectId>("project_id")? == execution.project_id;
    let in_task =
        !call.parameters.contains_key("task_id") || call.parameter::<TaskId>("task_id")? == execution.task_id;
    if in_project && in_task { Ok(id) } else { Err(Failure::not_found("execution", id)) }
}

/// A project of the caller's, or of the execution whose token it is.
async fn readable_project(call: &Call) -> Outcome<ProjectId> {
    let id: ProjectId = call.parameter("project_id")?;
    match &call.caller {
        Caller::Execution(claims) if claims.project_id == id => Ok(id),
        Caller::Account(account) => {
            projects::require(&call.bindings.db, account.owner_id, id).await.map(|()| id)
        }
        _ => Err(Failure::not_found("project", id)),
    }
}

fn text(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing an answer", error))
}

// Access tokens.

async fn list_access_tokens(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, access_tokens::list_access_tokens(&call.bindings.db, owner(&call)?, &page).await?)
}

async fn create_access_token(call: Call) -> Outcome<Response> {
    // Not idempotent by key: a stored answer would hold the token.
    let input: CreateAccessToken = call.json().await?;
    json(201, &access_tokens::create_access_token(&call.bindings.db, account(&call)?, input).await?)
}

async fn revoke_access_token(call: Call) -> Outcome<Response> {
    let id = call.parameter("token_id")?;
    access_tokens::revoke_access_token(&call.bindings.db, owner(&call)?, id).await?;
    nothing()
}

// Projects.

async fn list_projects(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, projects::list_projects(&call.bindings.db, owner(&call)?, &page).await?)
}

async fn create_project(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<CreateProject>(shared_contracts::limits::JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = ProjectId::new(seed.at_ms, seed.bits());
        text(&projects::create_project(&call.bindings.db, owner_id, id, input).await?)
    })
    .await
}

async fn get_project(call: Call) -> Outcome<Response> {
    json_text(
        200,
        projects::get_project(&call.bindings.db, owner(&call)?, call.parameter("project_id")?).await?,
    )
}

async fn update_project(call: Call) -> Outcome<Response> {
    let input: UpdateProject = call.json().await?;
    let id = call.parameter("project_id")?;
    json_text(200, projects::update_project(&call.bindings.db, owner(&call)?, id, input).await?)
}

async fn delete_project(call: Call) -> Outcome<Response> {
    projects::delete_project(&call.bindings, owner(&call)?, call.parameter("project_id")?).await?;
    nothing()
}

// Tasks.

async fn list_tasks(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = call.parameter("project_id")?;
    json_text(200, tasks::list_tasks(&call.bindings.db, owner(&call)?, id, &page).await?)
}

async fn create_task(call: Call) -> Outcome<Response> {
    let (owner_id, project_id) = (owner(&call)?, call.parameter("project_id")?);
    let (input, body) = call.json_of::<CreateTask>(shared_contracts::limits::JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let key = TaskKey { owner_id, project_id, id: TaskId::new(seed.at_ms, seed.bits()) };
        text(&tasks::create_task(&call.bindings.db, key, input).await?)
    })
    .await
}

async fn get_task(call: Call) -> Outcome<Response> {
    json_text(200, tasks::get_task(&call.bindings.db, task_key(&call)?).await?)
}

async fn update_task(call: Call) -> Outcome<Response> {
    let input: UpdateTask = call.json().await?;
    json_text(200, tasks::update_task(&call.bindings.db, task_key(&call)?, input).await?)
}

async fn delete_task(call: Call) -> Outcome<Response> {
    tasks::delete_task(&call.bindings.db, task_key(&call)?).await?;
    nothing()
}

// Workspaces: the object answers, its response passes through.

async fn ask_workspace(call: &Call, id: ProjectId, command: WorkspaceCommand) -> Outcome<Response> {
    object::response(&call.bindings.workspace(id)?, &command).await
}

/// The object's answer with the route's status, where it succeeded.
fn with_status(call: &Call, response: Response) -> Response {
    if response.status_code() == 200 { response.with_status(call.route.status) } else { response }
}

async fn get_workspace(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Revision { revision }).await
}

async fn send_to_workspace(call: &Call, id: ProjectId, command: WorkspaceCommand) -> Outcome<Response> {
    let body = call.stream();
    if body.is_none() {
        return Err(Failure::malformed("The body is empty"));
    }
    Ok(with_status(call, object::with_stream(&call.bindings.workspace(id)?, &command, body).await?))
}

async fn import_workspace(call: Call) -> Outcome<Response> {
    let project_id = readable_project(&call).await?;
    send_to_workspace(&call, project_id, WorkspaceCommand::Import { project_id }).await
}

async fn start_import(call: Call) -> Outcome<Response> {
    let project_id = readable_project(&call).await?;
    let import_id = ImportId::new(now_ms(), entropy()?);
    send_to_workspace(&call, project_id, WorkspaceCommand::StartImport { import_id }).await
}

async fn store_blobs(call: Call) -> Outcome<Response> {
    let (project_id, import_id) = (readable_project(&call).await?, call.parameter("import_id")?);
    send_to_workspace(&call, project_id, WorkspaceCommand::StoreBlobs { project_id, import_id }).await
}

async fn commit_import(call: Call) -> Outcome<Response> {
    let (id, import_id) = (readable_project(&call).await?, call.parameter("import_id")?);
    Ok(with_status(&call, ask_workspace(&call, id, WorkspaceCommand::CommitImport { import_id }).await?))
}

async fn list_tree(call: Call) -> Outcome<Response> {
    let query: TreeQuery = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Tree { query }).await
}

async fn read_file(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    let path: WorkspacePath = call.parameter("path")?;
    ask_workspace(&call, id, WorkspaceCommand::File { path, revision }).await
}

async fn get_manifest(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Manifest { revision }).await
}

async fn export_workspace(call: Call) -> Outcome<Response> {
    let RevisionQuery { revision } = call.query()?;
    let id = readable_project(&call).await?;
    ask_workspace(&call, id, WorkspaceCommand::Export { revision }).await
}

async fn get_blob(call: Call) -> Outcome<Response> {
    let (id, sha256) = (readable_project(&call).await?, call.parameter::<Sha256>("sha256")?);
    ask_workspace(&call, id, WorkspaceCommand::Blob { sha256 }).await
}

async fn fetch_blobs(call: Call) -> Outcome<Response> {
    let id = readable_project(&call).await?;
    let FetchBlobs { sha256 } = call.json().await?;
    ask_workspace(&call, id, WorkspaceCommand::Blobs { sha256 }).await
}

// Executions and their events.

async fn list_executions(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, executions::list_executions(&call.bindings.db, task_key(&call)?, &page).await?)
}

async fn create_execution(call: Call) -> Outcome<Response> {
    let key = task_key(&call)?;
    let (input, body) =
        call.json_of::<CreateExecution>(shared_contracts::limits::JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = ExecutionId::new(seed.at_ms, seed.bits());
        text(&create::create_execution(&call.bindings, key, id, input, None).await?)
    })
    .await
}

async fn get_execution(call: Call) -> Outcome<Response> {
    let id = execution_id(&call).await?;
    json(200, &executions::get_execution(&call.bindings, owner(&call)?, id).await?)
}

async fn stop_execution(call: Call) -> Outcome<Response> {
    let id = execution_id(&call).await?;
    json(202, &stop::stop_execution(&call.bindings, owner(&call)?, id).await?)
}

async fn retry_execution(call: Call) -> Outcome<Response> {
    let (owner_id, id) = (owner(&call)?, execution_id(&call).await?);
    once(&call, &[], async |seed| {
        let new_id = ExecutionId::new(seed.at_ms, seed.bits());
        text(&retry::retry_execution(&call.bindings, owner_id, id, new_id).await?)
    })
    .await
}

async fn ask_hub(call: &Call, id: ExecutionId, command: HubCommand) -> Outcome<Response> {
    object::response(&call.bindings.hub(id)?, &command).await
}

async fn list_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, limit } = call.query()?;
    let id = execution_id(&call).await?;
    let (after, limit) = (after.unwrap_or(0), limit.unwrap_or(PAGE_ITEMS_DEFAULT));
    ask_hub(&call, id, HubCommand::Events { after, limit }).await
}

async fn search_events(call: Call) -> Outcome<Response> {
    let query: SearchQuery = call.query()?;
    let id = execution_id(&call).await?;
    ask_hub(&call, id, HubCommand::Search { query }).await
}

/// What a reconnecting browser says it has goes before what the page once asked for.
async fn stream_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, .. } = call.query()?;
    let id = execution_id(&call).await?;
    let last = match call.header("last-event-id").filter(|text| !text.is_empty()) {
        Some(text) => Some(text.parse().map_err(|_| {
            Failure::invalid(
                "Last-Event-ID",
                "is not the sequence of an event; send the `id` of the last event seen",
            )
        })?),
        None => after,
    };
    ask_hub(&call, id, HubCommand::Stream { after: last.unwrap_or(0) }).await
}

fn require_upgrade(call: &Call) -> Outcome<()> {
    match call.header("upgrade") {
        Some(wanted) if wanted.eq_ignore_ascii_case("websocket") => Ok(()),
        _ => Err(Failure::malformed("This opens a WebSocket; send `Upgrade: websocket`")),
    }
}

async fn watch_events(call: Call) -> Outcome<Response> {
    let EventQuery { after, .. } = call.query()?;
    require_upgrade(&call)?;
    let id = execution_id(&call).await?;
    object::upgrade(&call.bindings.hub(id)?, &HubCommand::Watch { after: after.unwrap_or(0) }).await
}

async fn append_events(call: Call) -> Outcome<Response> {
    require_upgrade(&call)?;
    let lease = claims(&call)?.lease;
    let command = HubCommand::Append { generation: lease.generation };
    object::upgrade(&call.bindings.hub(lease.execution_id)?, &command).await
}

// Artifacts.

async fn list_artifacts(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = execution_id(&call).await?;
    json_text(200, artifacts::list_artifacts(&call.bindings.db, owner(&call)?, id, &page).await?)
}

async fn upload_artifact(call: Call) -> Outcome<Response> {
    let input: UploadArtifact = call.query()?;
    let (lease, id) = (claims(&call)?.lease, call.parameter("artifact_id")?);
    let announced = call.header("content-length").and_then(|length| length.parse::<u64>().ok());
    if announced != Some(input.size_bytes) {
        return Err(Failure::invalid(
            "size_bytes",
            "must be the Content-Length of the body, which must be given",
        ));
    }
    json(201, &upload::upload_artifact(&call.bindings, lease, id, input, call.stream()).await?)
}

async fn get_artifact(call: Call) -> Outcome<Response> {
    json(
        200,
        &artifacts::get_artifact(&call.bindings.db, owner(&call)?, call.parameter("artifact_id")?).await?,
    )
}

async fn download_artifact(call: Call) -> Outcome<Response> {
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

async fn delete_artifact(call: Call) -> Outcome<Response> {
    artifacts::delete_artifact(&call.bindings, owner(&call)?, call.parameter("artifact_id")?).await?;
    nothing()
}

// Patches.

async fn list_patches(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    let id = call.parameter("project_id")?;
    json_text(200, patches::list_patches(&call.bindings.db, owner(&call)?, id, &page).await?)
}

async fn propose_patch(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<ProposePatch>(PATCH_BODY_BYTES_MAX).await?;
    once(&call, &body, async |seed| {
        let id = input.id.unwrap_or(PatchBatchId::new(seed.at_ms, seed.bits()));
        text(&propose::propose_patch(&call.bindings, owner_id, id, None, input).await?)
    })
    .await
}

async fn propose_execution_patch(call: Call) -> Outcome<Response> {
    let claims = claims(&call)?;
    let (mut input, _) = call.json_of::<ProposePatch>(PATCH_BODY_BYTES_MAX).await?;
    if input.project_id != claims.project_id {
        return Err(Failure::not_found("project", input.project_id));
    }
    input.execution_id = Some(claims.lease.execution_id);
    let id = input.id.ok_or_else(|| Failure::invalid("id", "must be made by the container agent"))?;
    json(201, &propose::propose_patch(&call.bindings, claims.owner_id, id, Some(claims.lease), input).await?)
}

async fn apply_patches(call: Call) -> Outcome<Response> {
    let owner_id = owner(&call)?;
    let (input, body) = call.json_of::<ApplyPatches>(shared_contracts::limits::JSON_BODY_BYTES_MAX).await?;
    once(&call, &body, async |_| {
        text(&apply::apply_patches(&call.bindings, owner_id, input.patch_batch_id).await?)
    })
    .await
}

async fn get_patch(call: Call) -> Outcome<Response> {
    json(200, &patches::get_patch(&call.bindings, owner(&call)?, call.parameter("patch_batch_id")?).await?)
}

async fn reject_patch(call: Call) -> Outcome<Response> {
    let input: RejectPatch = call.json().await?;
    let id = call.parameter("patch_batch_id")?;
    json(200, &patches::reject_patch(&call.bindings.db, owner(&call)?, id, input).await?)
}

// Container agents.

async fn list_container_agents(call: Call) -> Outcome<Response> {
    let page: PageQuery = call.query()?;
    json_text(200, container_agents::list_container_agents(&call.bindings.db, owner(&call)?, &page).await?)
}

async fn get_container_agent(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_agent_id")?;
    json_text(200, container_agents::get_container_agent(&call.bindings.db, owner(&call)?, id).await?)
}

async fn drain_container_agent(call: Call) -> Outcome<Response> {
    let id = call.parameter("container_agent_id")?;
    json(202, &container_agents::drain_container_agent(&call.bindings, owner(&call)?, id).await?)
}

async fn connect_container_agent(call: Call) -> Outcome<Response> {
    require_upgrade(&call)?;
    let account = account(&call)?;
    let shared = account.scopes.contains(&Scope::SharedContainerAgent);
    let command = DispatchCommand::Connect { owner_id: account.owner_id, shared };
    object::upgrade(&call.bindings.dispatcher()?, &command).await
}
