//! What Patchbay's parts say to each other: the Worker, the container agent, and every client.
//!
//! Types only, each with its limits as garde rules on the fields. This crate knows neither Cloudflare nor Linux
//! and does no I/O, so the same rules run in WASM and natively. Requests refuse unknown fields; responses may
//! grow. Times are milliseconds since the Unix epoch (`*_at_ms`), sizes are bytes unless the name says otherwise.

pub mod accounts;
pub mod append;
pub mod artifacts;
pub mod container_agents;
pub mod containers;
pub mod dispatch;
pub mod egress;
pub mod events;
pub mod executions;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod page;
pub mod patches;
pub mod paths;
pub mod problem;
pub mod projects;
pub mod routes;
pub mod sandboxes;
pub mod secrets;
pub mod tasks;
pub mod text;
pub mod workspaces;
