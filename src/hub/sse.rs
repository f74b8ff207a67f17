//! Server-sent events (WHATWG HTML, "Server-sent events"): `id:` is the sequence, so a reconnecting browser says in
//! `Last-Event-ID` what it has.
//!
//! A stream takes events when they are pushed, as long as its connection has room; otherwise the platform asks when
//! there is room again (WHATWG Streams, `pull`). Between the two it holds a place in the log and nothing else. Most
//! events find room, and cost one call for each watcher.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use shared_contracts::limits::STREAM_HEARTBEAT_SECONDS;
use worker::js_sys::{Object, Reflect, Uint8Array};
use worker::wasm_bindgen::prelude::{Closure, wasm_bindgen};
use worker::wasm_bindgen::{JsCast, JsValue};
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
    type Controller;
    #[wasm_bindgen(method, getter, js_name = desiredSize)]
    fn desired_size(this: &Controller) -> Option<f64>;
    #[wasm_bindgen(method, catch)]
    fn enqueue(this: &Controller, chunk: &Uint8Array) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Controller) -> Result<(), JsValue>;

    #[wasm_bindgen(js_name = ReadableStream)]
    type Source;
    #[wasm_bindgen(constructor, catch, js_class = "ReadableStream")]
    fn new(source: &Object, strategy: &Strategy) -> Result<Source, JsValue>;

    #[wasm_bindgen(js_name = ByteLengthQueuingStrategy)]
    type Strategy;
    #[wasm_bindgen(constructor, catch, js_class = "ByteLengthQueuingStrategy")]
    fn new(options: &Object) -> Result<Strategy, JsValue>;
}

struct Watcher<S> {
    tail: Rc<RefCell<Tail>>,
    log: Rc<S>,
    /// Set by the first pull. Not a `RefCell`: handing over a piece may pull again before it returns.
    controller: OnceCell<Controller>,
    /// The last sequence it was given.
    cursor: Cell<u64>,
    /// It has been at the head: from then on it is kept in the tail or told to resume.
    live: Cell<bool>,
    finished: Cell<bool>,
    /// Handing over a piece may ask for the next one in the same breath.
    advancing: Cell<bool>,
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
        self.controller.get().and_then(Controller::desired_size).is_some_and(|bytes| bytes > 0.0)
    }

    fn enqueue(&self, piece: &Uint8Array) {
        let sent = self.controller.get().is_some_and(|controller| controller.enqueue(piece).is_ok());
        if !sent {
            self.finish();
        }
    }

    /// The stream ends here; what was handed over still goes out.
    fn finish(&self) {
        if self.finished.replace(true) {
            return;
        }
        if let Some(controller) = self.controller.get() {
            // Closed already where the watcher went away.
            let _ = controller.close();
        }
        self.leave();
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
    fn advance(&self) {
        if self.advancing.replace(true) {
            return;
        }
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
        self.advancing.set(false);
        if self.is_passed() {
            // If it reads again, its pull finds `sync`; until then it is nobody's concern.
            self.leave();
        }
    }

    fn heartbeat(&self, beat: &Uint8Array) {
        if !self.finished.get() && self.has_room() {
            self.enqueue(beat);
        }
    }
}

fn message(event: &str, id: Option<u64>, data: &str) -> Uint8Array {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Uint8Array::from(format!("{id}event: {event}\ndata: {data}\n\n").as_bytes())
}

fn unmade(error: JsValue) -> Failure {
    Failure::internal("making a stream", format!("{error:?}"))
}

/// A stream that asks the watcher when it has room, and tells it when nobody reads any more.
fn readable<S: Stored + 'static>(watcher: &Rc<Watcher<S>>) -> Outcome<ReadableStream> {
    let (pulled, cancelled) = (Rc::clone(watcher), Rc::clone(watcher));
    let pull = Closure::<dyn Fn(Controller)>::new(move |controller: Controller| {
        let _ = pulled.controller.set(controller);
        pulled.advance();
    });
    let cancel = Closure::<dyn Fn()>::new(move || cancelled.finish());
    let (source, options) = (Object::new(), Object::new());
    // JavaScript owns the two from here, and lets go of them with the stream.
    Reflect::set(&source, &"pull".into(), &pull.into_js_value()).map_err(unmade)?;
    Reflect::set(&source, &"cancel".into(), &cancel.into_js_value()).map_err(unmade)?;
    Reflect::set(&options, &"highWaterMark".into(), &STREAM_BYTES.into()).map_err(unmade)?;
    let strategy = Strategy::new(&options).map_err(unmade)?;
    Ok(Source::new(&source, &strategy).map_err(unmade)?.unchecked_into())
}

/// A response that streams everything after this sequence. 204 where nothing will follow, which tells a browser
/// not to reconnect.
pub fn response<S: Stored + 'static>(tail: &Rc<RefCell<Tail>>, log: &Rc<S>, after: u64) -> Outcome<Response> {
    let headers = Headers::new();
    headers.set("cache-control", "no-store")?;
    if tail.borrow().ended && after >= tail.borrow().head {
        return Ok(Response::builder().with_status(204).with_headers(headers).empty());
    }
    let watcher = Rc::new(Watcher {
        tail: Rc::clone(tail),
        log: Rc::clone(log),
        controller: OnceCell::new(),
        cursor: Cell::new(after),
        live: Cell::default(),
        finished: Cell::default(),
        advancing: Cell::default(),
    });
    let stream = readable(&watcher)?;
    tail.borrow_mut().streams.push(watcher);
    beat(Rc::clone(tail));
    headers.set("content-type", "text/event-stream; charset=utf-8")?;
    headers.set("x-accel-buffering", "no")?;
    Ok(Response::builder().with_headers(headers).stream(stream))
}

/// One timer for all streams, for as long as there is one.
fn beat(tail: Rc<RefCell<Tail>>) {
    if std::mem::replace(&mut tail.borrow_mut().beating, true) {
        return;
    }
    worker::wasm_bindgen_futures::spawn_local(async move {
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
