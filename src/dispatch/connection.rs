//! One container agent's connection: who it is, kept in the socket's attachment so that it outlives sleep.

use serde::{Deserialize, Serialize};
use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::ids::{ContainerAgentId, OwnerId, TokenId};
use shared_contracts::limits::CONNECTION_TOKEN_CHECK_SECONDS;
use worker::WebSocket;

use crate::platform::failure::Outcome;

/// What the token said, and from the hello on what the container agent said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    pub owner_id: OwnerId,
    pub shared: bool,
    pub token: Token,
    pub agent: Option<Agent>,
}

/// The access token that opened it: a connection does not outlive it for long.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    /// None: until revoked.
    pub expires_at_ms: Option<u64>,
    pub checked_at_ms: u64,
}

impl Token {
    pub fn has_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    pub fn is_due(&self, now_ms: u64) -> bool {
        self.has_expired(now_ms) || self.checked_at_ms + CONNECTION_TOKEN_CHECK_SECONDS * 1_000 < now_ms
    }
}

/// An attachment holds 2 KB: what its sandboxes are stands in the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    pub id: ContainerAgentId,
    pub name: String,
    pub capacity: u32,
    pub memory_mb_max: u32,
    pub cpu_cores_max: f64,
    pub draining: bool,
}

pub fn of(socket: &WebSocket) -> Option<Connection> {
    socket.deserialize_attachment().ok().flatten()
}

pub fn keep(socket: &WebSocket, connection: &Connection) -> Outcome<()> {
    Ok(socket.serialize_attachment(connection)?)
}

/// A socket that is gone is noticed by its lease, so a failed send is not an error.
pub fn send(socket: &WebSocket, message: &ToContainerAgent) {
    let _ = socket.send(message);
}
