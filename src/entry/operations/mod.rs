//! Which function answers which operation. Each reads its input from the call and hands it to its capability.

mod accounts;
mod artifacts;
mod container_agents;
mod containers;
mod executions;
mod owned;
mod patches;
mod projects;
mod secrets;
mod workspaces;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use worker::Response;

use accounts::*;
use artifacts::*;
use container_agents::*;
use containers::*;
use executions::*;
pub use owned::reader;
pub use patches::wanted;
use patches::*;
use projects::*;
use secrets::*;
use workspaces::*;

use super::call::Call;
use crate::platform::failure::{Failure, Outcome};

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
    list_patches propose_patch propose_execution_patch apply_patches check_patches get_patch get_receipt
    list_conflicts revert_patch reject_patch
    list_secrets set_secret delete_secret
    list_container_agents connect_container_agent get_container_agent drain_container_agent list_container_cleanups
    list_sandboxes list_containers get_container get_container_stats
    restart_container stop_container freeze_container thaw_container remove_container
};

async fn health(_: Call) -> Outcome<Response> {
    Ok(Response::ok("ok")?)
}

async fn ready(call: Call) -> Outcome<Response> {
    call.bindings.signing_key()?;
    call.bindings.db.record("SELECT '1' AS record", &[]).await?;
    Ok(Response::ok("ready")?)
}

pub fn text(value: &impl serde::Serialize) -> Outcome<String> {
    serde_json::to_string(value).map_err(|error| Failure::internal("writing an answer", error))
}
