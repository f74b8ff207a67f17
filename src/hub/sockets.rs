//! WebSocket watchers. They hibernate: what the hub knows of one is in its attachment, not in memory.
//!
//! A WebSocket says nothing of how much its peer has read, so the watcher acknowledges; beyond a window of
//! unacknowledged bytes it is sent `sync` and nothing more until it does.

use serde::{Deserialize, Serialize};
use shared_contracts::events::{WatchMessage, WatcherMessage};
use shared_contracts::limits::WATCHER_WINDOW_BYTES;
use worker::WebSocket;
use worker::js_sys::JsString;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{JsCast, JsValue};

use super::Stored;
use super::tail::{Frame, Tail};
use crate::platform::failure::{Failure, Outcome};

/// The tag of these sockets among the object's.
pub const TAG: &str = "watch";
const CATCH_UP_BYTES: usize = 128 * 1024;

#[wasm_bindgen]
extern "C" {
    /// `WebSocket.send` with a string that JavaScript already has: encoded once for all watchers.
    type Sender;
    #[wasm_bindgen(method, catch)]
    fn send(this: &Sender, text: &JsString) -> Result<(), JsValue>;
}

/// Where a watcher is. `checkpoint` is the sequence whose acknowledgement halves what is unacknowledged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Place {
    sent: u64,
    checkpoint: u64,
    bytes_to_checkpoint: u64,
    bytes_since_checkpoint: u64,
    paused: bool,
}

impl Place {
    pub fn at(after: u64) -> Self {
        Self {
            sent: after,
            checkpoint: after,
            bytes_to_checkpoint: 0,
            bytes_since_checkpoint: 0,
            paused: false,
        }
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        let unacknowledged = self.bytes_to_checkpoint + self.bytes_since_checkpoint;
        unacknowledged == 0 || unacknowledged + bytes <= WATCHER_WINDOW_BYTES
    }

    fn sent(&mut self, through: u64, bytes: u64) {
        self.sent = through;
        self.bytes_since_checkpoint += bytes;
    }

    fn acknowledged(&mut self, through: u64) {
        if through >= self.sent {
            *self = Self::at(self.sent);
        } else if through >= self.checkpoint {
            self.bytes_to_checkpoint = self.bytes_since_checkpoint;
            self.bytes_since_checkpoint = 0;
            self.checkpoint = self.sent;
            self.paused = false;
        }
    }
}

/// Sends one watcher what it has room for, and keeps its place.
pub fn advance(socket: &WebSocket, tail: &Tail, log: &impl Stored) -> Outcome<()> {
    let Some(mut place) = place(socket) else { return Ok(()) };
    while !place.paused && place.sent < tail.head {
        let next = match tail.after(place.sent) {
            Some(frame) => Some(frame),
            None => Frame::new(log.lines_after(place.sent, CATCH_UP_BYTES)?),
        };
        let Some(frame) = next else { break };
        if place.has_room_for(frame.bytes() as u64) {
            socket.as_ref().unchecked_ref::<Sender>().send(frame.text()).map_err(gone)?;
            place.sent(frame.last(), frame.bytes() as u64);
        } else {
            place.paused = true;
            let message = WatchMessage::Sync { after: place.sent, head: tail.head };
            socket.send(&message).map_err(|error| Failure::internal("sending to a watcher", error))?;
        }
    }
    if tail.ended && place.sent >= tail.head {
        return Ok(socket.close(Some(1000), Some("The execution has ended"))?);
    }
    Ok(socket.serialize_attachment(place)?)
}

fn gone(_: JsValue) -> Failure {
    Failure::internal("sending to a watcher", "the socket is closed")
}

fn place(socket: &WebSocket) -> Option<Place> {
    socket.deserialize_attachment().ok().flatten()
}

/// Takes a watcher's acknowledgement; false where the message is none.
pub fn acknowledge(socket: &WebSocket, message: &str) -> Outcome<bool> {
    let Ok(WatcherMessage::Acknowledge { through }) = serde_json::from_str(message) else { return Ok(false) };
    if let Some(mut place) = place(socket) {
        place.acknowledged(through);
        socket.serialize_attachment(place)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_bounds_what_is_unacknowledged() {
        let mut place = Place::at(0);
        assert!(place.has_room_for(WATCHER_WINDOW_BYTES * 2), "one frame always fits");
        place.sent(10, WATCHER_WINDOW_BYTES);
        assert!(!place.has_room_for(1));
        place.acknowledged(5);
        assert!(!place.has_room_for(1), "bytes up to the checkpoint are still on their way");
        place.acknowledged(10);
        assert!(place.has_room_for(WATCHER_WINDOW_BYTES));
    }

    #[test]
    fn acknowledging_halfway_makes_room_and_resumes() {
        let mut place = Place::at(0);
        place.sent(10, 600_000);
        place.acknowledged(1);
        place.sent(20, 400_000);
        assert!(!place.has_room_for(100_000));
        place.paused = true;
        place.acknowledged(10);
        assert!(!place.paused);
        assert!(place.has_room_for(600_000));
        assert_eq!(place.sent, 20);
    }
}
