//! The newest events, as every watcher is sent them.

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::rc::Rc;

use shared_contracts::limits::WATCHER_LAG_BYTES_MAX;
use worker::js_sys::{JsString, Uint8Array};

use super::Pushed;

/// One event: its sequence, its name on a stream, its JSON.
#[derive(Debug, Clone)]
pub struct Line {
    pub sequence: u64,
    pub name: &'static str,
    pub json: String,
}

/// Events written together. Their encodings are made when the first watcher wants them and shared by all.
pub struct Frame {
    lines: Vec<Line>,
    bytes: usize,
    server_sent: OnceCell<Uint8Array>,
    text: OnceCell<JsString>,
}

impl Frame {
    /// None of no lines.
    pub fn new(lines: Vec<Line>) -> Option<Rc<Self>> {
        if lines.is_empty() {
            return None;
        }
        let bytes = lines.iter().map(|line| line.json.len() + 1).sum();
        Some(Rc::new(Self { lines, bytes, server_sent: OnceCell::new(), text: OnceCell::new() }))
    }

    pub fn first(&self) -> u64 {
        self.lines.first().map_or(0, |line| line.sequence)
    }

    pub fn last(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.sequence)
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// As server-sent events.
    pub fn server_sent(&self) -> &Uint8Array {
        self.server_sent.get_or_init(|| {
            let mut text = String::with_capacity(self.bytes + self.lines.len() * 40);
            for Line { sequence, name, json } in &self.lines {
                push(
                    &mut text,
                    &["id: ", &sequence.to_string(), "\nevent: ", name, "\ndata: ", json, "\n\n"],
                );
            }
            Uint8Array::from(text.as_bytes())
        })
    }

    /// As a WebSocket message: one JSON object a line.
    pub fn text(&self) -> &JsString {
        self.text.get_or_init(|| {
            let mut text = String::with_capacity(self.bytes);
            for line in &self.lines {
                push(&mut text, &[&line.json, "\n"]);
            }
            JsString::from(text)
        })
    }
}

fn push(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

/// The last few megabytes of the log, and the streams that follow it.
#[derive(Default)]
pub struct Tail {
    frames: VecDeque<Rc<Frame>>,
    bytes: usize,
    /// The newest sequence of the log.
    pub head: u64,
    /// Nothing follows the head.
    pub ended: bool,
    /// Open streams of server-sent events.
    pub streams: Vec<Rc<dyn Pushed>>,
    /// Whether their heartbeat runs.
    pub beating: bool,
}

impl Tail {
    /// Of a log that stands at this head.
    pub fn at(head: u64, ended: bool) -> Self {
        Self { head, ended, ..Self::default() }
    }

    /// Takes what was just stored.
    pub fn push(&mut self, frame: &Rc<Frame>, ended: bool) {
        self.head = frame.last();
        self.ended = ended;
        self.bytes += frame.bytes();
        self.frames.push_back(Rc::clone(frame));
        // The newest frame stays even if it alone is larger.
        while self.bytes > WATCHER_LAG_BYTES_MAX && self.frames.len() > 1 {
            self.drop_oldest();
        }
    }

    /// Everyone who is pushed to has been: without streams, which may come back for more, nothing is kept.
    pub fn settle(&mut self) {
        while self.streams.is_empty() && !self.frames.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.bytes();
        }
    }

    /// The frame that begins right after this sequence.
    pub fn after(&self, sequence: u64) -> Option<Rc<Frame>> {
        let index = self.frames.binary_search_by_key(&(sequence + 1), |frame| frame.first()).ok()?;
        self.frames.get(index).map(Rc::clone)
    }
}
