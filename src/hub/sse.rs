//! Server-sent events (WHATWG HTML, "Server-sent events"): `id:` is the sequence, so a reconnecting browser says in
//! `Last-Event-ID` what it has.
//!
//! A stream takes events when they are pushed, as long as its connection has room; otherwise it goes on when the
//! platform says that there is room again (WHATWG Streams, `ready`). Between the two it holds a place in the log and
//! nothing else. Most events find room, and cost one call for each watcher: the platform's own identity stream carries
//! the bytes to the connection without JavaScript.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shared_contracts::ids::TokenId;
use shared_contracts::limits::STREAM_HEARTBEAT_SECONDS;
use worker::js_sys::{Object, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen::JsValue;
use worker::wasm_bindgen::prelude::{Closure, wasm_bindgen};
use worker::wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::web_sys::ReadableStream;
use worker::{Delay, Headers, Response};

use super::tail::{Frame, Tail};
use super::{Pushed, Stored};
use crate::platform::failure::{Failure, Outcome};

/// What a watcher that is behind reads from the log at once.
const CATCH_UP_BYTES: usize = 256 * 1024;
/// What may wait in a stream for its connection, besides the frame that goes over it.
const STREAM_BYTES: f64 = 64.0 * 1024.0;

#[wasm_bindgen]
extern "C" {
    /// A stream whose readable side gives what its writable side takes, native in this platform.
    type IdentityTransformStream;
    #[wasm_bindgen(constructor, catch)]
    fn new(options: &Object) -> Result<IdentityTransformStream, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn readable(this: &IdentityTransformStream) -> ReadableStream;
    #[wasm_bindgen(method, getter)]
    fn writable(this: &IdentityTransformStream) -> Writable;

    type Writable;
    #[wasm_bindgen(method, catch, js_name = getWriter)]
    fn writer(this: &Writable) -> Result<Writer, JsValue>;

    type Writer;
    #[wasm_bindgen(method, getter, js_name = desiredSize)]
    fn desired_size(this: &Writer) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    fn ready(this: &Writer) -> Promise;
    #[wasm_bindgen(method, getter)]
    fn closed(this: &Writer) -> Promise;
    #[wasm_bindgen(method)]
    fn write(this: &Writer, piece: &Uint8Array) -> Promise;
    #[wasm_bindgen(method)]
    fn close(this: &Writer) -> Promise;
}

thread_local! {
    /// What a promise is told that nobody waits for. One for all, because a promise may settle after its watcher.
    static IGNORE: Closure<dyn FnMut(JsValue)> = Closure::new(drop);
}

struct Watcher<S> {
    tail: Rc<RefCell<Tail>>,
    log: Rc<S>,
    writer: Writer,
    token_id: Option<TokenId>,
    /// The last sequence it was given.
    cursor: Cell<u64>,
    /// It has been at the head: from then on it is kept in the tail or told to resume.
    live: Cell<bool>,
    finished: Cell<bool>,
    /// It goes on by itself when there is room again.
    waiting: Cell<bool>,
}

impl<S: Stored + 'static> Watcher<S> {
    /// The next piece; none where there is nothing yet, or nothing any more.
    fn next(&self) -> Outcome<Option<Uint8Array>> {
        let (head, ended, frame) = {
            let tail = self.tail.borrow();
            (tail.head, tail.ended, tail.after(self.cursor.get()))
        };
        if self.cursor.get() >= head {
            self.live.set(true);
            if ended {
                self.finish();
            }
            return Ok(None);
        }
        if let Some(frame) = frame {
            self.cursor.set(frame.last());
            return Ok(Some(frame.server_sent().clone()));
        }
        if self.live.get() {
            let after = self.cursor.get();
            let data = format!("{{\"after\":{after},\"head\":{head}}}");
            self.enqueue(&message("sync", Some(after), &data));
            self.finish();
            return Ok(None);
        }
        let lines = self.log.lines_after(self.cursor.get(), CATCH_UP_BYTES)?;
        let Some(frame) = Frame::new(lines) else { return Ok(None) };
        self.cursor.set(frame.last());
        Ok(Some(frame.server_sent().clone()))
    }

    fn has_room(&self) -> bool {
        self.writer.desired_size().is_some_and(|bytes| bytes > 0.0)
    }

    fn enqueue(&self, piece: &Uint8Array) {
        // Fails where the watcher went away, which `closed` tells.
        ignore(&self.writer.write(piece));
    }

    fn advance_when_ready(self: Rc<Self>) {
        if self.waiting.replace(true) {
            return;
        }
        spawn_local(async move {
            let is_open = JsFuture::from(self.writer.ready()).await.is_ok();
            self.waiting.set(false);
            if is_open {
                self.advance();
            }
        });
    }

    /// Nothing is pushed to it any more.
    fn leave(&self) {
        let me = std::ptr::from_ref(self).cast::<()>();
        self.tail.borrow_mut().streams.retain(|stream| Rc::as_ptr(stream).cast::<()>() != me);
    }

    /// The tail has gone past a watcher that does not read.
    fn is_passed(&self) -> bool {
        let tail = self.tail.borrow();
        self.live.get() && self.cursor.get() < tail.head && tail.after(self.cursor.get()).is_none()
    }
}

impl<S: Stored + 'static> Pushed for Watcher<S> {
    fn advance(self: Rc<Self>) {
        while !self.finished.get() && self.has_room() {
            match self.next() {
                Ok(Some(piece)) => self.enqueue(&piece),
                Ok(None) => break,
                Err(failure) => {
                    failure.log("stream_events");
                    self.finish();
                }
            }
        }
        if self.is_passed() {
            // If it reads again it finds `sync`; until then it is nobody's concern.
            self.leave();
        }
        if !self.finished.get() && !self.has_room() {
            self.advance_when_ready();
        }
    }

    fn token_id(&self) -> Option<TokenId> {
        self.token_id
    }

    fn finish(&self) {
        if !self.finished.replace(true) {
            ignore(&self.writer.close());
            self.leave();
        }
    }

    fn heartbeat(&self, beat: &Uint8Array) {
        if !self.finished.get() && self.has_room() {
            self.enqueue(beat);
        }
    }
}

fn ignore(promise: &Promise) {
    IGNORE.with(|ignore| drop(promise.catch(ignore)));
}

fn message(event: &str, id: Option<u64>, data: &str) -> Uint8Array {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Uint8Array::from(format!("{id}event: {event}\ndata: {data}\n\n").as_bytes())
}

fn unmade(error: JsValue) -> Failure {
    Failure::internal("making a stream", format!("{error:?}"))
}

/// A response that streams everything after this sequence. 204 where nothing will follow, which tells a browser
/// not to reconnect.
pub fn response<S: Stored + 'static>(
    tail: &Rc<RefCell<Tail>>,
    log: &Rc<S>,
    after: u64,
    token_id: Option<TokenId>,
) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("cache-control", "no-store")?;
    if tail.borrow().ended && after >= tail.borrow().head {
        return Ok(Response::builder().with_status(204).with_headers(headers).empty());
    }
    let options = Object::new();
    Reflect::set(&options, &"highWaterMark".into(), &STREAM_BYTES.into()).map_err(unmade)?;
    let stream = IdentityTransformStream::new(&options).map_err(unmade)?;
    let watcher = Rc::new(Watcher {
        tail: Rc::clone(tail),
        log: Rc::clone(log),
        writer: stream.writable().writer().map_err(unmade)?,
        token_id,
        cursor: Cell::new(after),
        live: Cell::default(),
        finished: Cell::default(),
        waiting: Cell::default(),
    });
    let (open, closed) = (Rc::clone(&watcher), watcher.writer.closed());
    spawn_local(async move {
        // Settles when everything was taken, or when the watcher went away.
        let _ = JsFuture::from(closed).await;
        open.finished.set(true);
        open.leave();
    });
    tail.borrow_mut().streams.push(Rc::clone(&watcher) as Rc<dyn Pushed>);
    watcher.advance();
    beat(Rc::clone(tail));
    headers.set("content-type", "text/event-stream; charset=utf-8")?;
    headers.set("x-accel-buffering", "no")?;
    Ok(Response::builder().with_headers(headers).stream(stream.readable()))
}

/// One timer for all streams, for as long as there is one.
fn beat(tail: Rc<RefCell<Tail>>) {
    if std::mem::replace(&mut tail.borrow_mut().beating, true) {
        return;
    }
    spawn_local(async move {
        loop {
            Delay::from(Duration::from_secs(STREAM_HEARTBEAT_SECONDS)).await;
            let (head, streams) = {
                let mut shared = tail.borrow_mut();
                shared.beating = !shared.streams.is_empty();
                (shared.head, shared.streams.clone())
            };
            if streams.is_empty() {
                return;
            }
            let beat = message("heartbeat", None, &format!("{{\"head\":{head}}}"));
            streams.iter().for_each(|stream| stream.heartbeat(&beat));
        }
    });
}
