//! Every door of the Worker as data: the router is checked against this list, the OpenAPI file is made from it,
//! and the tests walk it to see that no route opens without its caller.

use crate::accounts::Scope;

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    /// An access token with this scope.
    Token(Scope),
    /// The token of exactly this execution, under its present generation.
    Execution,
    /// The token of an execution of this project, or an access token that may read.
    ReadOrExecution,
}

/// What a body is. A name is that of a type in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    None,
    Json(&'static str),
    /// One JSON object of this type a line.
    JsonLines(&'static str),
    Bytes(&'static str),
    /// Server-sent events of this type.
    EventStream(&'static str),
    /// Upgrades to a WebSocket.
    WebSocket,
}

#[derive(Debug, Clone, Copy)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// The one name of the operation: the handler's, the test's, the log line's.
    pub operation: &'static str,
    pub access: Access,
    pub query: Option<&'static str>,
    pub request: Body,
    pub status: u16,
    pub response: Body,
    pub summary: &'static str,
}

const READ: Access = Access::Token(Scope::Read);
const WRITE: Access = Access::Token(Scope::Write);
const TOKENS: Access = Access::Token(Scope::Tokens);
const BYTES: Body = Body::Bytes("application/octet-stream");
const TAR: Body = Body::Bytes("application/x-tar");

macro_rules! routes {
    ($($method:ident $path:literal $operation:ident $access:expr; $query:expr; $request:expr => $status:literal $response:expr; $summary:literal)+) => {
        &[$(Route {
            method: stringify!($method),
            path: $path,
            operation: stringify!($operation),
            access: $access,
            query: $query,
            request: $request,
            status: $status,
            response: $response,
            summary: $summary,
        }),+]
    };
}

use Body::{EventStream, Json, JsonLines, WebSocket};

#[rustfmt::skip]
pub const ROUTES: &[Route] = routes! {
    GET "/health" health Access::Public; None; Body::None => 200 Body::Bytes("text/plain"); "The process answers"
    GET "/ready" ready Access::Public; None; Body::None => 200 Body::Bytes("text/plain"); "The database answers too"

    GET "/api/access-tokens" list_access_tokens TOKENS; Some("PageQuery"); Body::None => 200 Json("AccessTokenPage"); "List the owner's access tokens, newest first"
    POST "/api/access-tokens" create_access_token TOKENS; None; Json("CreateAccessToken") => 201 Json("CreatedAccessToken"); "Create an access token; it is shown once"
    DELETE "/api/access-tokens/{token_id}" revoke_access_token TOKENS; None; Body::None => 204 Body::None; "Revoke an access token"

    GET "/api/projects" list_projects READ; Some("PageQuery"); Body::None => 200 Json("ProjectPage"); "List projects, newest first"
    POST "/api/projects" create_project WRITE; None; Json("CreateProject") => 201 Json("Project"); "Create a project"
    GET "/api/projects/{project_id}" get_project READ; None; Body::None => 200 Json("Project"); "Get a project"
    PATCH "/api/projects/{project_id}" update_project WRITE; None; Json("UpdateProject") => 200 Json("Project"); "Change a project"
    DELETE "/api/projects/{project_id}" delete_project WRITE; None; Body::None => 204 Body::None; "Delete a project with all it owns; refused while an execution is active. Stored bytes follow within minutes"

    GET "/api/projects/{project_id}/secrets" list_secrets READ; Some("PageQuery"); Body::None => 200 Json("SecretPage"); "List a project's secrets by name; no value is ever shown"
    PUT "/api/projects/{project_id}/secrets/{name}" set_secret WRITE; None; Json("SetSecret") => 200 Json("Secret"); "Set a secret that executions may name; it cannot be read back"
    DELETE "/api/projects/{project_id}/secrets/{name}" delete_secret WRITE; None; Body::None => 204 Body::None; "Delete a secret"

    GET "/api/projects/{project_id}/tasks" list_tasks READ; Some("PageQuery"); Body::None => 200 Json("TaskPage"); "List tasks, newest first"
    POST "/api/projects/{project_id}/tasks" create_task WRITE; None; Json("CreateTask") => 201 Json("Task"); "Create a task"
    GET "/api/projects/{project_id}/tasks/{task_id}" get_task READ; None; Body::None => 200 Json("Task"); "Get a task"
    PATCH "/api/projects/{project_id}/tasks/{task_id}" update_task WRITE; None; Json("UpdateTask") => 200 Json("Task"); "Change a task, or move it through review"
    DELETE "/api/projects/{project_id}/tasks/{task_id}" delete_task WRITE; None; Body::None => 204 Body::None; "Delete a task with its executions; refused while one is active"

    GET "/api/projects/{project_id}/workspace" get_workspace READ; Some("RevisionQuery"); Body::None => 200 Json("Revision"); "Get a revision; the head unless one is named"
    POST "/api/projects/{project_id}/workspace/import" import_workspace WRITE; None; TAR => 201 Json("ImportReceipt"); "Import a tree as one stream, tar or tar.gz; it becomes a new revision"
    POST "/api/projects/{project_id}/workspace/imports" start_import WRITE; None; JsonLines("ManifestEntry") => 201 Json("StartedImport"); "Start an import in parts: send the manifest, learn which blobs are missing"
    PUT "/api/projects/{project_id}/workspace/imports/{import_id}/blobs" store_blobs WRITE; None; TAR => 200 Json("StoredBlobs"); "Send missing blobs: a tar of at most 32 MB, its files named by SHA-256"
    POST "/api/projects/{project_id}/workspace/imports/{import_id}/commit" commit_import WRITE; None; Body::None => 201 Json("ImportReceipt"); "Commit an import in parts; it becomes a new revision"
    GET "/api/projects/{project_id}/workspace/tree" list_tree READ; Some("TreeQuery"); Body::None => 200 Json("TreeItemPage"); "List a directory"
    GET "/api/projects/{project_id}/workspace/files/{*path}" read_file READ; Some("RevisionQuery"); Body::None => 200 BYTES; "Read a file"
    GET "/api/projects/{project_id}/workspace/manifest" get_manifest Access::ReadOrExecution; Some("RevisionQuery"); Body::None => 200 JsonLines("ManifestEntry"); "Every file of a revision, ordered by path"
    GET "/api/projects/{project_id}/workspace/export" export_workspace READ; Some("RevisionQuery"); Body::None => 200 TAR; "A revision as a tar"
    GET "/api/projects/{project_id}/workspace/blobs/{sha256}" get_blob Access::ReadOrExecution; None; Body::None => 200 BYTES; "Read a blob"
    POST "/api/projects/{project_id}/workspace/blobs/fetch" fetch_blobs Access::ReadOrExecution; None; Json("FetchBlobs") => 200 TAR; "Many blobs as one tar, its files named by SHA-256"

    GET "/api/projects/{project_id}/tasks/{task_id}/executions" list_executions READ; Some("PageQuery"); Body::None => 200 Json("ExecutionPage"); "List a task's executions, newest first"
    POST "/api/projects/{project_id}/tasks/{task_id}/executions" create_execution WRITE; None; Json("CreateExecution") => 201 Json("Execution"); "Execute a task; refused unless it is `todo`"
    GET "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}" get_execution READ; None; Body::None => 200 Json("Execution"); "Get an execution"
    POST "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}/stop" stop_execution WRITE; None; Body::None => 202 Json("Execution"); "Stop an execution; its terminal event follows"
    GET "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}/logs" list_events READ; Some("EventQuery"); Body::None => 200 Json("EventPage"); "Events by sequence"
    GET "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}/logs/stream" stream_events READ; Some("EventQuery"); Body::None => 200 EventStream("Event"); "Events as they come"
    GET "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}/artifacts" list_artifacts READ; Some("PageQuery"); Body::None => 200 Json("ArtifactPage"); "List an execution's artifacts"
    GET "/api/projects/{project_id}/tasks/{task_id}/executions/{execution_id}/artifacts/{artifact_id}/download" download_artifact READ; None; Body::None => 200 BYTES; "Download an artifact, or a range of it"

    GET "/api/sandbox/executions/{execution_id}" get_execution READ; None; Body::None => 200 Json("Execution"); "Get an execution by its id alone"
    POST "/api/sandbox/executions/{execution_id}/stop" stop_execution WRITE; None; Body::None => 202 Json("Execution"); "Stop an execution; its terminal event follows"
    POST "/api/sandbox/executions/{execution_id}/retry" retry_execution WRITE; None; Body::None => 201 Json("Execution"); "Execute the task again in the same way; refused unless this one has ended"
    GET "/api/sandbox/executions/{execution_id}/logs" list_events READ; Some("EventQuery"); Body::None => 200 Json("EventPage"); "Events by sequence"
    GET "/api/sandbox/executions/{execution_id}/logs/stream" stream_events READ; Some("EventQuery"); Body::None => 200 EventStream("Event"); "Events as they come; `Last-Event-ID` or `after` says from where"
    GET "/api/sandbox/executions/{execution_id}/logs/socket" watch_events READ; Some("EventQuery"); Body::None => 101 WebSocket; "Events as they come, over a WebSocket"
    GET "/api/sandbox/executions/{execution_id}/logs/search" search_events READ; Some("SearchQuery"); Body::None => 200 Json("EventPage"); "Log lines by level and text"
    GET "/api/sandbox/executions/{execution_id}/logs/append" append_events Access::Execution; None; Body::None => 101 WebSocket; "The container agent writes events"
    GET "/api/sandbox/executions/{execution_id}/artifacts" list_artifacts READ; Some("PageQuery"); Body::None => 200 Json("ArtifactPage"); "List an execution's artifacts"
    PUT "/api/sandbox/executions/{execution_id}/artifacts/{artifact_id}" upload_artifact Access::Execution; Some("UploadArtifact"); BYTES => 201 Json("Artifact"); "The container agent stores an artifact"
    GET "/api/sandbox/artifacts/{artifact_id}" get_artifact READ; None; Body::None => 200 Json("Artifact"); "Get an artifact's record"
    GET "/api/sandbox/artifacts/{artifact_id}/download" download_artifact READ; None; Body::None => 200 BYTES; "Download an artifact, or a range of it"
    DELETE "/api/sandbox/artifacts/{artifact_id}" delete_artifact WRITE; None; Body::None => 204 Body::None; "Delete an artifact"
    POST "/api/sandbox/executions/{execution_id}/patches" propose_execution_patch Access::Execution; None; Json("ProposePatch") => 201 Json("ProposedPatch"); "The container agent proposes what the coding agent changed"

    GET "/api/projects/{project_id}/patches" list_patches READ; Some("PageQuery"); Body::None => 200 Json("PatchSummaryPage"); "List a project's patch batches, newest first"
    POST "/api/patches" propose_patch WRITE; None; Json("ProposePatch") => 201 Json("ProposedPatch"); "Propose a patch batch"
    POST "/api/patches/apply" apply_patches WRITE; None; Json("PatchRequest") => 200 Json("KeptReceipt"); "Apply a patch, proposed or sent along: all of it or nothing"
    POST "/api/patches/check" check_patches Access::ReadOrExecution; None; Json("PatchRequest") => 200 Json("PatchCheck"); "What applying a patch would do; nothing is written"
    GET "/api/patches/{patch_batch_id}" get_patch READ; None; Body::None => 200 Json("Patch"); "Get a patch batch with its operations and receipt"
    GET "/api/patches/{patch_batch_id}/receipt" get_receipt READ; None; Body::None => 200 Json("KeptReceipt"); "Get the receipt of an applied patch batch"
    GET "/api/patches/{patch_batch_id}/conflicts" list_conflicts READ; None; Body::None => 200 Json("PatchConflicts"); "Which other proposed patch batches change the same lines"
    POST "/api/patches/{patch_batch_id}/revert" revert_patch WRITE; None; Body::None => 200 Json("KeptReceipt"); "Take an applied patch batch back, if that still fits; a second time is the same receipt"
    POST "/api/patches/{patch_batch_id}/reject" reject_patch WRITE; None; Json("RejectPatch") => 200 Json("PatchSummary"); "Reject a proposed patch batch"

    GET "/api/container-agents" list_container_agents READ; Some("PageQuery"); Body::None => 200 Json("ContainerAgentPage"); "List container agents, newest first"
    GET "/api/container-agents/connect" connect_container_agent Access::Token(Scope::ContainerAgent); None; Body::None => 101 WebSocket; "A container agent dials in"
    GET "/api/container-agents/{container_agent_id}" get_container_agent READ; None; Body::None => 200 Json("ContainerAgent"); "Get a container agent"
    POST "/api/container-agents/{container_agent_id}/drain" drain_container_agent WRITE; None; Body::None => 202 Json("ContainerAgent"); "Let a container agent finish what it runs and take nothing new"
    GET "/api/container-agents/{container_agent_id}/cleanups" list_container_cleanups READ; Some("PageQuery"); Body::None => 200 Json("ContainerCleanupPage"); "List what a container agent found left over and removed, newest first"

    GET "/api/sandboxes" list_sandboxes READ; None; Body::None => 200 Json("SandboxKinds"); "List the kinds of sandbox that connected container agents have"
    GET "/api/containers" list_containers READ; Some("ContainerQuery"); Body::None => 200 Json("ContainerList"); "List the sandboxes that are there now, as their machines see them"
    GET "/api/containers/{container_id}" get_container READ; None; Body::None => 200 Json("Container"); "Get a sandbox"
    GET "/api/containers/{container_id}/stats" get_container_stats READ; None; Body::None => 200 Json("ContainerStats"); "What a sandbox uses now"
    POST "/api/containers/{container_id}/restart" restart_container WRITE; None; Body::None => 200 Json("Container"); "Run the command again, in a new sandbox, under the same lease"
    POST "/api/containers/{container_id}/stop" stop_container WRITE; None; Body::None => 202 Json("Container"); "Kill everything inside; its execution ends as cancelled"
    POST "/api/containers/{container_id}/freeze" freeze_container WRITE; None; Body::None => 200 Json("Container"); "Let every process inside stand still"
    POST "/api/containers/{container_id}/thaw" thaw_container WRITE; None; Body::None => 200 Json("Container"); "Let them go on"
    DELETE "/api/containers/{container_id}" remove_container WRITE; None; Body::None => 204 Body::None; "Remove what a stopped sandbox left on its machine"
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_door_is_listed_once_and_only_two_are_public() {
        let doors: HashSet<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
        assert_eq!(doors.len(), ROUTES.len());
        let public: Vec<_> =
            ROUTES.iter().filter(|route| route.access == Access::Public).map(|r| r.path).collect();
        assert_eq!(public, ["/health", "/ready"]);
    }
}
