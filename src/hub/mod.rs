//! Fan-out: how the newest events reach everyone who watches, over server-sent events and WebSockets alike.
//!
//! A watcher holds a place in the log, not a buffer. Events that were just written wait in one shared [`tail`],
//! encoded once for all; whoever is further back reads the log itself. So a slow reader costs nothing, and one
//! that stopped reading is told where to resume (`sync`) once the tail has passed it.

pub mod audience;
pub mod sockets;
pub mod sse;
pub mod tail;

use shared_contracts::ids::TokenId;
use tail::Line;

/// The stored log that a watcher reads when it is not at the tail.
pub trait Stored {
    /// Events after this sequence, in order and without a gap, about this many bytes of them at most, at least one
    /// if there is one.
    fn lines_after(&self, after: u64, bytes_max: usize) -> crate::platform::failure::Outcome<Vec<Line>>;
}

/// A watcher that is told when there is more.
pub trait Pushed {
    /// Takes what it has room for.
    fn advance(self: std::rc::Rc<Self>);
    /// The access token it came with.
    fn token_id(&self) -> Option<TokenId>;
    /// Ends it; what was handed over still goes out.
    fn finish(&self);
    /// Says that the connection lives, if it has room for that.
    fn heartbeat(&self, beat: &worker::js_sys::Uint8Array);
}
