//! Through HTTP, server-sent events and WebSocket against the built Worker, with no container agent: everything up
//! to the moment at which a machine takes an execution.
#![cfg(test)]

mod callers;
mod executions;
mod idempotency;
mod import_in_parts;
mod imports;
mod patches;
mod projects;
mod requests;
mod rpc;
mod tasks;
mod workspaces;
