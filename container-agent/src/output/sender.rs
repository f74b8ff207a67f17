//! Sends one execution's spool to its hub: one task, one WebSocket at a time, several messages on the way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::limits::{APPEND_BYTES_MAX, APPEND_COALESCE_MS, APPEND_WINDOW_BYTES};
use tokio_tungstenite::tungstenite::Message;

use super::spool::Spool;
use crate::api::{DialError, Plane, Socket};
use crate::backoff::Backoff;
use crate::clock;
use crate::lease::{Held, Stopping};

/// Room for the [`AppendHead`] in a message.
const HEAD_BYTES_MAX: usize = 256;
/// A hub that says nothing for this long while it owes an answer is dialled again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
const COALESCE: Duration = Duration::from_millis(APPEND_COALESCE_MS);
/// A token is renewed with every heartbeat; one refused this often in a row will not get better.
const REFUSED_TOKENS_MAX: u32 = 6;

/// Why nothing more is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendEnd {
    /// The log is complete and the hub has all of it.
    Complete,
    /// Everything written is acknowledged, and only that was asked for.
    Flushed,
    /// A newer lease writes now, or the log has ended.
    Fenced(String),
    /// The hub does not take what was written.
    Refused(String),
    /// The lease is gone; nothing may be sent.
    Gone,
}

pub struct Sender {
    pub plane: Arc<Plane>,
    pub held: Arc<Held>,
    pub spool: Arc<Spool>,
    /// End as soon as everything is acknowledged, complete or not: what a restart does with a dead execution's log.
    pub flush_only: bool,
}

enum Lost {
    End(SendEnd),
    Again(String),
}

impl Sender {
    pub async fn run(self) -> SendEnd {
        let mut backoff = Backoff::default();
        let mut refused_tokens = 0;
        let mut stop = self.held.stop.subscribe();
        loop {
            let session = self.session(&mut backoff, &mut refused_tokens);
            let lost = tokio::select! {
                lost = session => lost,
                _ = stop.wait_for(|stop| matches!(stop, Stopping::Gone(_))) => return SendEnd::Gone,
            };
            match lost {
                Lost::End(end) => return end,
                Lost::Again(why) => {
                    let wait = backoff.delay();
                    let lease = &self.held.lease;
                    tracing::info!(execution = %lease.execution_id, %why, wait_ms = wait.as_millis(), "dialling the hub again");
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        _ = stop.wait_for(|stop| matches!(stop, Stopping::Gone(_))) => return SendEnd::Gone,
                    }
                }
            }
        }
    }

    async fn session(&self, backoff: &mut Backoff, refused_tokens: &mut u32) -> Lost {
        let path = format!("/api/sandbox/executions/{}/logs/append", self.held.lease.execution_id);
        let token = self.held.token();
        let mut socket = match self.plane.dial(&path, &token).await {
            Ok(socket) => socket,
            Err(DialError::Status(status @ (404 | 409 | 410), detail)) => {
                return Lost::End(SendEnd::Fenced(format!("the hub answered {status}: {detail}")));
            }
            Err(DialError::Status(status @ (401 | 403), detail)) => {
                *refused_tokens += 1;
                if *refused_tokens >= REFUSED_TOKENS_MAX || (self.flush_only && self.held.token() == token) {
                    return Lost::End(SendEnd::Fenced(format!("the hub answered {status}: {detail}")));
                }
                return Lost::Again(format!("the hub answered {status}: {detail}"));
            }
            Err(error) => return Lost::Again(error.to_string()),
        };
        *refused_tokens = 0;
        let mut window =
            Window { next: 0, ready: false, on_the_way: VecDeque::new(), bytes: 0, sent_at: None };
        let mut heard_at = clock::now();
        loop {
            match self.send_what_fits(&mut socket, &mut window).await {
                Ok(()) => {}
                Err(lost) => return lost,
            }
            if window.ready && window.on_the_way.is_empty() && self.spool.is_empty() {
                if self.spool.is_complete() {
                    let _ = socket.close(None).await;
                    return Lost::End(SendEnd::Complete);
                }
                if self.flush_only {
                    let _ = socket.close(None).await;
                    return Lost::End(SendEnd::Flushed);
                }
            }
            let owed = !window.ready || !window.on_the_way.is_empty();
            let silence = ANSWER_TIMEOUT.saturating_sub(heard_at.elapsed());
            tokio::select! {
                message = socket.next() => {
                    heard_at = clock::now();
                    match message {
                        Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                            Ok(answer) => if let Err(lost) = self.take(answer, &mut window, backoff) { return lost },
                            Err(error) => return Lost::Again(format!("the hub's answer cannot be read: {error}")),
                        },
                        Some(Ok(Message::Close(frame))) => {
                            return Lost::Again(format!("the hub closed the connection: {frame:?}"));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Lost::Again(error.to_string()),
                        None => return Lost::Again("the connection ended".into()),
                    }
                }
                () = self.spool.changed.notified() => if !owed { heard_at = clock::now() },
                () = tokio::time::sleep(window.wait()), if window.waits_for_more(&self.spool) => {}
                () = tokio::time::sleep(silence), if owed => return Lost::Again("the hub does not answer".into()),
            }
        }
    }

    /// The first line after a silence at once, then what gathers within the coalescing time: each message is a row.
    async fn send_what_fits(&self, socket: &mut Socket, window: &mut Window) -> Result<(), Lost> {
        while window.may_send(&self.spool) {
            let chunk = match self.spool.read(window.next, APPEND_BYTES_MAX - HEAD_BYTES_MAX) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(()),
                Err(error) => return Err(Lost::End(SendEnd::Refused(format!("the spool: {error}")))),
            };
            let head = AppendHead {
                generation: self.held.lease.generation,
                first_sequence: chunk.first,
                count: chunk.count,
            };
            let mut text = serde_json::to_string(&head).map_err(|error| Lost::Again(error.to_string()))?;
            text.push('\n');
            match std::str::from_utf8(&chunk.lines) {
                Ok(lines) => text.push_str(lines),
                Err(error) => {
                    return Err(Lost::End(SendEnd::Refused(format!("the spool is damaged: {error}"))));
                }
            }
            let bytes = text.len();
            socket.send(Message::text(text)).await.map_err(|error| Lost::Again(error.to_string()))?;
            window.sent(chunk.first + u64::from(chunk.count) - 1, bytes);
        }
        Ok(())
    }

    fn take(&self, answer: AppendAnswer, window: &mut Window, backoff: &mut Backoff) -> Result<(), Lost> {
        match answer {
            AppendAnswer::Ready { next_sequence } => {
                self.spool.acknowledge(next_sequence.saturating_sub(1));
                window.restart(next_sequence);
                backoff.reset();
            }
            AppendAnswer::Acknowledged { through } => {
                self.spool.acknowledge(through);
                window.acknowledged(through);
            }
            AppendAnswer::Gap { wanted } => window.restart(wanted),
            AppendAnswer::Fenced { generation, reason } => {
                return Err(Lost::End(SendEnd::Fenced(format!("generation {generation}: {reason}"))));
            }
            AppendAnswer::Refused { detail } => return Err(Lost::End(SendEnd::Refused(detail))),
        }
        Ok(())
    }
}

/// What is on the way without an answer.
struct Window {
    next: u64,
    ready: bool,
    on_the_way: VecDeque<(u64, usize)>,
    bytes: usize,
    sent_at: Option<Instant>,
}

impl Window {
    fn may_send(&self, spool: &Spool) -> bool {
        if !self.ready || self.next >= spool.next_sequence() || self.bytes >= APPEND_WINDOW_BYTES {
            return false;
        }
        self.wait().is_zero() || spool.is_complete() || spool.pending_bytes(self.next) >= APPEND_BYTES_MAX / 2
    }

    fn waits_for_more(&self, spool: &Spool) -> bool {
        self.ready && self.next < spool.next_sequence() && self.bytes < APPEND_WINDOW_BYTES
    }

    /// What is left of the coalescing time.
    fn wait(&self) -> Duration {
        self.sent_at.map_or(Duration::ZERO, |at| COALESCE.saturating_sub(at.elapsed()))
    }

    fn sent(&mut self, last: u64, bytes: usize) {
        self.on_the_way.push_back((last, bytes));
        self.bytes += bytes;
        self.next = last + 1;
        self.sent_at = Some(clock::now());
    }

    fn acknowledged(&mut self, through: u64) {
        while let Some((last, bytes)) = self.on_the_way.front().copied() {
            if last > through {
                return;
            }
            self.bytes = self.bytes.saturating_sub(bytes);
            self.on_the_way.pop_front();
        }
    }

    fn restart(&mut self, next: u64) {
        self.next = next;
        self.ready = true;
        self.on_the_way.clear();
        self.bytes = 0;
        self.sent_at = None;
    }
}
