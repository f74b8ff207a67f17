//! How a container agent writes an execution's events: one WebSocket from it to the hub.
//!
//! A message to the hub is one [`AppendHead`] as a line of JSON, then `count` events as lines of JSON. The hub
//! answers each with an [`AppendAnswer`]. A message is idempotent: what the hub has, it acknowledges again.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendHead {
    pub generation: u32,
    /// The sequence of the first event below.
    pub first_sequence: u64,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum AppendAnswer {
    /// The first message on a new connection: where to go on.
    Ready { next_sequence: u64 },
    /// Stored, all of it up to here; the writer may forget these.
    Acknowledged { through: u64 },
    /// Something between is missing: send from here.
    Gap { wanted: u64 },
    /// A newer lease writes now, or the log has ended; stop.
    Fenced { generation: u32, reason: String },
    /// The message breaks a rule and is not stored; sending it again will not help.
    Refused { detail: String },
}
