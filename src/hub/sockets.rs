//! WebSocket watchers. They hibernate: while the hub sleeps, what it knows of one is in the socket's attachment. While
//! it is awake it keeps that in memory, and writes the attachments once nothing has been sent for a moment.
//!
//! A WebSocket says nothing of how much its peer has read, so the watcher acknowledges; beyond a window of
//! unacknowledged bytes it is sent `sync` and nothing more until it does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_contracts::events::{WatchMessage, WatcherMessage};
use shared_contracts::ids::TokenId;
use shared_contracts::limits::WATCHER_WINDOW_BYTES;
use worker::js_sys::JsString;
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::{Delay, State, WebSocket};

use super::Stored;
use super::tail::{Frame, Tail};
use crate::platform::failure::{Failure, Outcome};

/// The tag of these sockets among the object's. Each has a second one, which is its own.
const TAG: &str = "watch";
const CATCH_UP_BYTES: usize = 128 * 1024;
/// Far below the ten seconds of silence after which the platform lets an object sleep.
const QUIET: Duration = Duration::from_secs(1);

#[wasm_bindgen]
extern "C" {
    /// `WebSocket.send` with a string that JavaScript already has: encoded once for all watchers.
    type Sender;
    #[wasm_bindgen(method, catch)]
    fn send(this: &Sender, text: &JsString) -> Result<(), JsValue>;
}

/// What a socket keeps of its watcher while the hub sleeps.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Attachment {
    place: Place,
    token_id: Option<TokenId>,
}

impl Attachment {
    /// A watcher who has everything up to this sequence.
    pub fn at(after: u64, token_id: Option<TokenId>) -> Self {
        Self { place: Place::at(after), token_id }
    }
}

/// Where a watcher is. `checkpoint` is the sequence whose acknowledgement halves what is unacknowledged.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    sent: u64,
    checkpoint: u64,
    bytes_to_checkpoint: u64,
    bytes_since_checkpoint: u64,
    paused: bool,
}

impl Place {
    fn at(after: u64) -> Self {
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

struct Watcher {
    id: u64,
    socket: WebSocket,
    kept: Attachment,
    is_saved: bool,
    is_closing: bool,
}

impl Watcher {
    /// Sends what it has room for.
    fn advance(&mut self, tail: &Tail, log: &impl Stored) -> Outcome<()> {
        let place = &mut self.kept.place;
        while !place.paused && place.sent < tail.head {
            let next = match tail.after(place.sent) {
                Some(frame) => Some(frame),
                None => Frame::new(log.lines_after(place.sent, CATCH_UP_BYTES)?),
            };
            let Some(frame) = next else { break };
            self.is_saved = false;
            if place.has_room_for(frame.bytes() as u64) {
                self.socket.as_ref().unchecked_ref::<Sender>().send(frame.text()).map_err(gone)?;
                place.sent(frame.last(), frame.bytes() as u64);
            } else {
                place.paused = true;
                let message = WatchMessage::Sync { after: place.sent, head: tail.head };
                self.socket.send(&message)?;
            }
        }
        if tail.ended && place.sent >= tail.head {
            self.is_closing = true;
            self.socket.close(Some(1000), Some("The execution has ended"))?;
        }
        Ok(())
    }

    /// One that fails is closed, and resumes with a connection of its own.
    fn advance_or_close(&mut self, tail: &Tail, log: &impl Stored) {
        // One that is closing stays until its peer has answered.
        if self.is_closing {
            return;
        }
        if let Err(failure) = self.advance(tail, log) {
            failure.log("watch_events");
            self.is_closing = true;
            let _ = self.socket.close(Some(1011), Some("Reconnect"));
        }
    }
}

fn gone(_: JsValue) -> Failure {
    Failure::internal("sending to a watcher", "the socket is closed")
}

/// The open sockets of one hub, ordered by id.
pub struct Sockets {
    watchers: RefCell<Vec<Watcher>>,
    /// Something was sent since this was last false.
    is_busy: Cell<bool>,
    is_timed: Cell<bool>,
}

impl Sockets {
    /// Those that stayed while the object slept.
    pub fn awake(state: &State) -> Rc<Self> {
        let watcher = |socket: WebSocket| {
            let id = own_tag(&state.get_tags(&socket))?;
            let kept = socket.deserialize_attachment().ok().flatten()?;
            Some(Watcher { id, socket, kept, is_saved: true, is_closing: false })
        };
        let mut watchers: Vec<_> =
            state.get_websockets_with_tag(TAG).into_iter().filter_map(watcher).collect();
        watchers.sort_unstable_by_key(|watcher| watcher.id);
        Rc::new(Self {
            watchers: RefCell::new(watchers),
            is_busy: Cell::default(),
            is_timed: Cell::default(),
        })
    }

    pub fn len(&self) -> usize {
        self.watchers.borrow().len()
    }

    /// A new watcher, which is sent what it does not have yet.
    pub fn join(
        &self,
        state: &State,
        socket: WebSocket,
        kept: Attachment,
        tail: &Tail,
        log: &impl Stored,
    ) -> Outcome<()> {
        let id = self.watchers.borrow().last().map_or(1, |newest| newest.id + 1);
        state.accept_websocket_with_tags(&socket, &[TAG, &id.to_string()]);
        let mut watcher = Watcher { id, socket, kept, is_saved: false, is_closing: false };
        watcher.advance(tail, log)?;
        watcher.save()?;
        self.watchers.borrow_mut().push(watcher);
        Ok(())
    }

    /// The access tokens that the sockets came with, some of them more than once.
    pub fn token_ids(&self) -> Vec<TokenId> {
        self.watchers.borrow().iter().filter_map(|watcher| watcher.kept.token_id).collect()
    }

    /// Closes those that came with this access token.
    pub fn dismiss(&self, token_id: TokenId) {
        let mut watchers = self.watchers.borrow_mut();
        for watcher in watchers.iter_mut().filter(|watcher| watcher.kept.token_id == Some(token_id)) {
            watcher.is_closing = true;
            let _ = watcher.socket.close(Some(1008), Some("The access token was revoked or has expired"));
        }
    }

    /// Its socket has closed.
    pub fn leave(&self, tags: &[String]) {
        self.watchers.borrow_mut().retain(|watcher| Some(watcher.id) != own_tag(tags));
    }

    /// Sends what was just stored to so many of those after this id. Answers the last one's id; none where nobody is
    /// left.
    pub fn advance(
        self: &Rc<Self>,
        after_id: u64,
        count: usize,
        tail: &Tail,
        log: &impl Stored,
    ) -> Option<u64> {
        let mut watchers = self.watchers.borrow_mut();
        let first = watchers.partition_point(|watcher| watcher.id <= after_id);
        let end = watchers.len().min(first + count);
        let is_more_left = end < watchers.len();
        let served = watchers.get_mut(first..end).unwrap_or_default();
        served.iter_mut().for_each(|watcher| watcher.advance_or_close(tail, log));
        if !served.is_empty() {
            self.is_busy.set(true);
            self.save_when_quiet();
        }
        served.last().filter(|_| is_more_left).map(|watcher| watcher.id)
    }

    /// Takes a watcher's acknowledgement; false where the message is none.
    pub fn acknowledge(
        self: &Rc<Self>,
        tags: &[String],
        message: &str,
        tail: &Tail,
        log: &impl Stored,
    ) -> bool {
        let Ok(WatcherMessage::Acknowledge { through }) = serde_json::from_str(message) else { return false };
        let mut watchers = self.watchers.borrow_mut();
        let index =
            own_tag(tags).and_then(|id| watchers.binary_search_by_key(&id, |watcher| watcher.id).ok());
        if let Some(watcher) = index.and_then(|index| watchers.get_mut(index)) {
            watcher.kept.place.acknowledged(through);
            watcher.is_saved = false;
            watcher.advance_or_close(tail, log);
            self.save_when_quiet();
        }
        true
    }

    /// An object with a timer does not sleep, so what is not in an attachment yet cannot be lost to sleep.
    fn save_when_quiet(self: &Rc<Self>) {
        if self.is_timed.replace(true) {
            return;
        }
        let sockets = Rc::clone(self);
        worker::wasm_bindgen_futures::spawn_local(async move {
            loop {
                Delay::from(QUIET).await;
                if !sockets.is_busy.replace(false) {
                    break;
                }
            }
            sockets.is_timed.set(false);
            for watcher in sockets.watchers.borrow_mut().iter_mut().filter(|watcher| !watcher.is_saved) {
                if let Err(failure) = watcher.save() {
                    failure.log("watch_events");
                }
            }
        });
    }
}

impl Watcher {
    fn save(&mut self) -> Outcome<()> {
        self.socket.serialize_attachment(self.kept)?;
        self.is_saved = true;
        Ok(())
    }
}

fn own_tag(tags: &[String]) -> Option<u64> {
    tags.iter().find_map(|tag| tag.parse().ok())
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
