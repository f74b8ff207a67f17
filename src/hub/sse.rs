//! Server-sent events (WHATWG HTML, "Server-sent events"): `id:` is the sequence, so a reconnecting browser says in
//! `Last-Event-ID` what it has.
//!
//! The platform pulls: nothing is encoded, copied or kept for a watcher until its connection can take more.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use shared_contracts::limits::STREAM_HEARTBEAT_SECONDS;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::web_sys::ReadableStream;
use worker::{Delay, Headers, Response};

use super::Stored;
use super::tail::{Frame, Tail};
use crate::platform::failure::Outcome;

/// What a watcher that is behind reads from the log at once.
const CATCH_UP_BYTES: usize = 256 * 1024;

struct Watcher<S> {
    tail: Rc<RefCell<Tail>>,
    log: Rc<S>,
    /// The last sequence it was given.
    cursor: u64,
    /// It has been at the head: from then on it is kept in the tail or told to resume.
    live: bool,
    heartbeats: u64,
    finished: bool,
}

impl<S> Drop for Watcher<S> {
    fn drop(&mut self) {
        let mut tail = self.tail.borrow_mut();
        tail.streams = tail.streams.saturating_sub(1);
    }
}

impl<S: Stored> Watcher<S> {
    fn next(&mut self, context: &Context<'_>) -> Poll<Option<Outcome<Uint8Array>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let mut tail = self.tail.borrow_mut();
        if self.cursor >= tail.head {
            if tail.ended {
                return Poll::Ready(None);
            }
            self.live = true;
            if self.heartbeats != tail.heartbeats {
                self.heartbeats = tail.heartbeats;
                return Poll::Ready(Some(Ok(message(
                    "heartbeat",
                    None,
                    &format!("{{\"head\":{}}}", tail.head),
                ))));
            }
            tail.wait(context.waker());
            return Poll::Pending;
        }
        if let Some(frame) = tail.after(self.cursor) {
            self.cursor = frame.last();
            return Poll::Ready(Some(Ok(frame.server_sent().clone())));
        }
        let head = tail.head;
        drop(tail);
        if self.live {
            self.finished = true;
            let data = format!("{{\"after\":{},\"head\":{head}}}", self.cursor);
            return Poll::Ready(Some(Ok(message("sync", Some(self.cursor), &data))));
        }
        Poll::Ready(self.catch_up().transpose())
    }

    fn catch_up(&mut self) -> Outcome<Option<Uint8Array>> {
        let lines = self.log.lines_after(self.cursor, CATCH_UP_BYTES)?;
        let Some(frame) = Frame::new(lines) else { return Ok(None) };
        self.cursor = frame.last();
        Ok(Some(frame.server_sent().clone()))
    }
}

impl<S: Stored> Stream for Watcher<S> {
    type Item = Result<JsValue, JsValue>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.next(context).map(|item| {
            item.map(|outcome| {
                outcome.map(JsValue::from).map_err(|failure| {
                    failure.log("stream_events");
                    JsValue::from_str("the log cannot be read; reconnect")
                })
            })
        })
    }
}

fn message(event: &str, id: Option<u64>, data: &str) -> Uint8Array {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Uint8Array::from(format!("{id}event: {event}\ndata: {data}\n\n").as_bytes())
}

/// A response that streams everything after this sequence. 204 where nothing will follow, which tells a browser
/// not to reconnect.
pub fn response<S: Stored + 'static>(tail: &Rc<RefCell<Tail>>, log: &Rc<S>, after: u64) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("cache-control", "no-store")?;
    let heartbeats = {
        let mut shared = tail.borrow_mut();
        if shared.ended && after >= shared.head {
            return Ok(Response::builder().with_status(204).with_headers(headers).empty());
        }
        shared.streams += 1;
        if !std::mem::replace(&mut shared.beating, true) {
            beat(Rc::clone(tail));
        }
        shared.heartbeats
    };
    let watcher = Watcher {
        tail: Rc::clone(tail),
        log: Rc::clone(log),
        cursor: after,
        live: false,
        heartbeats,
        finished: false,
    };
    let stream = wasm_streams::ReadableStream::from_stream(watcher).into_raw();
    headers.set("content-type", "text/event-stream; charset=utf-8")?;
    headers.set("x-accel-buffering", "no")?;
    let stream: ReadableStream = stream.unchecked_into();
    Ok(Response::builder().with_headers(headers).stream(stream))
}

/// One timer for all streams, for as long as there is one.
fn beat(tail: Rc<RefCell<Tail>>) {
    worker::wasm_bindgen_futures::spawn_local(async move {
        loop {
            Delay::from(Duration::from_secs(STREAM_HEARTBEAT_SECONDS)).await;
            let mut shared = tail.borrow_mut();
            if shared.streams == 0 {
                shared.beating = false;
                return;
            }
            shared.heartbeat();
        }
    });
}
