//! Through HTTP, server-sent events and WebSocket against the built Worker, with no container agent: everything up
//! to the moment at which a machine takes an execution.

#[cfg(test)]
mod callers;
#[cfg(test)]
mod executions;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod import_in_parts;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod patches;
#[cfg(test)]
mod projects;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod workspaces;
