//! A typed client for the plane's HTTP, server-sent events and WebSocket: what the demo, the acceptance tests and
//! the bench say to it. One method for each operation, by the operation's name.

mod accounts;
mod call;
mod containers;
mod error;
mod events;
mod executions;
mod import;
mod patches;
mod projects;
mod secrets;
mod socket;
pub mod sse_parser;
mod sse_stream;
pub mod tree;
mod watcher;
mod workspaces;

pub use call::{Call, Client};
pub use error::ClientError;
pub use events::{Watched, event_json};
pub use import::{ImportInParts, Pack};
pub use socket::Socket;
pub use watcher::Watcher;
