//! Everyone who watches one log, and how each is sent what was just stored.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use shared_contracts::ids::TokenId;
use shared_contracts::limits::CONNECTION_TOKEN_CHECK_SECONDS;
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::worker_sys::DurableObjectStorage;
use worker::{Response, State, WebSocket};

use super::sockets::{Attachment, Sockets};
use super::tail::{Frame, Tail};
use super::{Pushed, Stored, sse};
use crate::platform::failure::{Failure, Outcome};

/// Between so many watchers the platform gets to write what they were sent: with all of them in one go, the first
/// would wait for the last.
const WATCHERS_AT_ONCE: usize = 16;

pub struct Audience<S> {
    tail: Rc<RefCell<Tail>>,
    sockets: Rc<Sockets>,
    log: Rc<S>,
    storage: DurableObjectStorage,
    /// A round is under way; what is published meanwhile makes another.
    is_serving: Cell<bool>,
    again: Cell<bool>,
    tokens_checked_at_ms: Cell<u64>,
}

/// Who is still to be served.
struct Round {
    streams: std::vec::IntoIter<Rc<dyn Pushed>>,
    /// Sockets up to this id have been.
    socket_id: u64,
}

impl<S: Stored + 'static> Audience<S> {
    pub fn awake(state: &State, log: &Rc<S>, tail: Tail) -> Outcome<Rc<Self>> {
        let storage = state.as_raw().storage().map_err(|_| Failure::internal("an object", "no storage"))?;
        Ok(Rc::new(Self {
            tail: Rc::new(RefCell::new(tail)),
            sockets: Sockets::awake(state),
            log: Rc::clone(log),
            storage,
            is_serving: Cell::default(),
            again: Cell::default(),
            tokens_checked_at_ms: Cell::default(),
        }))
    }

    /// The newest sequence of the log.
    pub fn head(&self) -> u64 {
        self.tail.borrow().head
    }

    /// Nothing follows the head.
    pub fn ended(&self) -> bool {
        self.tail.borrow().ended
    }

    pub fn len(&self) -> usize {
        self.tail.borrow().streams.len() + self.sockets.len()
    }

    /// A response that streams everything after this sequence.
    pub fn stream(&self, after: u64, token_id: Option<TokenId>) -> Outcome<Response> {
        sse::response(&self.tail, &self.log, after, token_id)
    }

    /// A socket that is sent everything after this sequence.
    pub fn watch(
        &self,
        state: &State,
        socket: WebSocket,
        after: u64,
        token_id: Option<TokenId>,
    ) -> Outcome<()> {
        self.sockets.join(
            state,
            socket,
            Attachment::at(after, token_id),
            &self.tail.borrow(),
            self.log.as_ref(),
        )
    }

    /// Takes a socket's acknowledgement; false where the message is none.
    pub fn acknowledge(&self, tags: &[String], message: &str) -> bool {
        self.sockets.acknowledge(tags, message, &self.tail.borrow(), self.log.as_ref())
    }

    /// A socket with these tags has closed.
    pub fn leave(&self, tags: &[String]) {
        self.sockets.leave(tags);
    }

    /// The watchers' access tokens, if it is time to look whether they still stand.
    pub fn tokens_to_check(&self, now_ms: u64) -> Vec<TokenId> {
        if now_ms < self.tokens_checked_at_ms.get() + CONNECTION_TOKEN_CHECK_SECONDS * 1_000 {
            return Vec::new();
        }
        self.tokens_checked_at_ms.set(now_ms);
        let mut tokens = self.sockets.token_ids();
        tokens.extend(self.tail.borrow().streams.iter().filter_map(|stream| stream.token_id()));
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// Lets go of everyone who came with this token.
    pub fn dismiss(&self, token_id: TokenId) {
        self.sockets.dismiss(token_id);
        let streams = self.tail.borrow().streams.clone();
        streams
            .iter()
            .filter(|stream| stream.token_id() == Some(token_id))
            .for_each(|stream| stream.finish());
    }

    /// Sends everyone what was just stored.
    pub fn publish(self: &Rc<Self>, frame: &Rc<Frame>, ended: bool) {
        self.tail.borrow_mut().push(frame, ended);
        if self.is_serving.replace(true) {
            self.again.set(true);
            return;
        }
        let mut round = self.round();
        if self.serve_some(&mut round) {
            return self.served();
        }
        let audience = Rc::clone(self);
        spawn_local(async move {
            loop {
                audience.let_the_platform_write().await;
                if audience.serve_some(&mut round) {
                    if !audience.again.replace(false) {
                        return audience.served();
                    }
                    round = audience.round();
                }
            }
        });
    }

    fn round(&self) -> Round {
        Round { streams: self.tail.borrow().streams.clone().into_iter(), socket_id: 0 }
    }

    /// Whether that was everyone.
    fn serve_some(&self, round: &mut Round) -> bool {
        let mut room = WATCHERS_AT_ONCE;
        // Outside of a borrow: a stream that takes its last event leaves the tail.
        for stream in round.streams.by_ref().take(WATCHERS_AT_ONCE) {
            stream.advance();
            room -= 1;
        }
        if room == 0 {
            return false;
        }
        let last = self.sockets.advance(round.socket_id, room, &self.tail.borrow(), self.log.as_ref());
        let Some(last_id) = last else { return true };
        round.socket_id = last_id;
        false
    }

    fn served(&self) {
        self.is_serving.set(false);
        self.tail.borrow_mut().settle();
    }

    /// Resolves when the platform's own loop has been round.
    async fn let_the_platform_write(&self) {
        if let Ok(promise) = self.storage.sync() {
            let _ = JsFuture::from(promise).await;
        }
    }
}
