//! Patchbay's control plane: one Cloudflare Worker. This file is its table of contents.
//!
//! Calls come in through [`entry`]; each capability below owns its operations, rules and SQL; the Durable Objects
//! live in the capability they serve. Data flows entry → capability → store → binding, and nothing points back.

mod accounts;
mod artifacts;
mod bindings;
mod container_agents;
mod containers;
mod deletions;
mod dispatch;
mod entry;
mod executions;
mod hub;
mod patches;
mod platform;
mod projects;
mod sandboxes;
mod secrets;
mod tasks;
mod workspaces;

#[cfg(test)]
mod store_tests;

pub use dispatch::object::Dispatcher;
pub use executions::hub::ExecutionHub;
pub use workspaces::object::Workspace;

use worker::{Context, Env, Request, Response, ScheduleContext, ScheduledEvent, event};

#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    entry::http::fetch(request, env, context).await
}

#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    entry::cron::reconcile(env).await;
}
