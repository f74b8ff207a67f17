//! One container agent's connection: who it is, kept in the socket's attachment so that it outlives sleep.

use serde::{Deserialize, Serialize};
use shared_contracts::container_agents::SandboxTier;
use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::ids::{ContainerAgentId, OwnerId};
use worker::WebSocket;

use crate::platform::failure::Outcome;

/// What the token said, and from the hello on what the container agent said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connection {
    pub owner_id: OwnerId,
    pub shared: bool,
    pub agent: Option<Agent>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Agent {
    pub id: ContainerAgentId,
    pub name: String,
    pub capacity: u32,
    pub sandbox_tier: SandboxTier,
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
