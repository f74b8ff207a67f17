//! Many watchers in one process, cheap enough that they are not what is measured: bytes are searched for sequence
//! numbers, nothing is parsed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use memchr::memmem::{Finder, FinderRev};
use shared_contracts::events::WatcherMessage;
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::WATCHER_WINDOW_BYTES;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::histogram::Histogram;
use super::stamps::Stamps;
use crate::client::Client;

const ACKNOWLEDGE_BYTES: u64 = WATCHER_WINDOW_BYTES / 4;
/// Longer than any line of a stream's framing.
const CARRY_BYTES: usize = 48;
const POLL: Duration = Duration::from_millis(2);
/// The WebSocket message that asks for an acknowledgement.
const SYNC: &str = "{\"watch\":\"sync\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    ServerSentEvents,
    WebSocket,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerSentEvents => "SSE",
            Self::WebSocket => "WebSocket",
        }
    }
}

/// What all watchers of a group saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub times: Histogram,
    pub events: u64,
    pub bytes: u64,
}

/// Watchers of one execution. Dropping it disconnects them.
pub struct Watchers {
    tasks: JoinSet<Result<Seen>>,
    /// Of each watcher, the newest sequence that came.
    newest: Vec<Arc<AtomicU64>>,
}

impl Watchers {
    /// Connects them all and waits until each has its answer.
    pub async fn connect(
        kind: Kind,
        count: usize,
        client: &Client,
        execution: ExecutionId,
        after: u64,
        stamps: &Stamps,
    ) -> Result<Self> {
        let mut watchers = Self { tasks: JoinSet::new(), newest: Vec::new() };
        let mut connecting = JoinSet::new();
        for _ in 0..count {
            let newest = Arc::new(AtomicU64::new(after));
            watchers.newest.push(Arc::clone(&newest));
            let watcher = Watcher { stamps: stamps.clone(), last: after, newest, seen: Seen::default() };
            let client = client.clone();
            connecting.spawn(async move {
                Connection::open(kind, &client, execution, after).await.map(|c| (c, watcher))
            });
        }
        while let Some(connected) = connecting.join_next().await {
            let (connection, watcher) = connected??;
            watchers.tasks.spawn(connection.watch(watcher));
        }
        Ok(watchers)
    }

    /// Waits until everyone has this sequence.
    pub async fn reach(&mut self, sequence: u64, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.newest.iter().any(|newest| newest.load(Ordering::Relaxed) < sequence) {
            if let Some(ended) = self.tasks.try_join_next() {
                let seen = ended??;
                bail!("a watcher's stream ended after {} events", seen.events);
            }
            if Instant::now() > deadline {
                let least = self.newest.iter().map(|newest| newest.load(Ordering::Relaxed)).min();
                bail!("a watcher is at {least:?} of {sequence} after {} s", within.as_secs());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// What they saw until their streams ended, which the terminal event brings about.
    pub async fn ended(mut self, within: Duration) -> Result<Seen> {
        let mut all = Seen::default();
        let collect = async {
            while let Some(ended) = self.tasks.join_next().await {
                let seen = ended??;
                all.times.merge(&seen.times);
                all.events += seen.events;
                all.bytes += seen.bytes;
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::time::timeout(within, collect).await.context("a watcher's stream does not end")??;
        Ok(all)
    }
}

enum Connection {
    Stream(reqwest::Response),
    Socket(Box<crate::client::Socket>),
}

impl Connection {
    async fn open(kind: Kind, client: &Client, execution: ExecutionId, after: u64) -> Result<Self> {
        let path = format!("/api/sandbox/executions/{execution}/logs");
        Ok(match kind {
            Kind::ServerSentEvents => {
                let call =
                    client.call(reqwest::Method::GET, format!("{path}/stream?after={after}")).endless();
                Self::Stream(call.response().await?)
            }
            Kind::WebSocket => {
                Self::Socket(Box::new(client.open_socket(&format!("{path}/socket?after={after}")).await?))
            }
        })
    }

    async fn watch(self, mut watcher: Watcher) -> Result<Seen> {
        match self {
            Self::Stream(mut response) => {
                // As if a line had ended before the first.
                let mut buffer = vec![b'\n'];
                while let Some(piece) = response.chunk().await? {
                    watcher.seen.bytes += piece.len() as u64;
                    buffer.extend_from_slice(&piece);
                    watcher.take(&buffer, b"\nid: ", "SSE")?;
                    // What is left may hold the beginning of a number; a whole one is not counted twice.
                    let keep = buffer.len().saturating_sub(CARRY_BYTES);
                    buffer.drain(..keep);
                }
            }
            Self::Socket(mut socket) => {
                let mut unacknowledged = 0;
                while let Some(message) = socket.next().await {
                    let text = match message? {
                        Message::Text(text) => text,
                        Message::Close(_) => break,
                        _ => continue,
                    };
                    watcher.seen.bytes += text.len() as u64;
                    watcher.take(text.as_bytes(), b"{\"sequence\":", "WebSocket")?;
                    unacknowledged += text.len() as u64;
                    if unacknowledged >= ACKNOWLEDGE_BYTES || text.starts_with(SYNC) {
                        unacknowledged = 0;
                        let answer = WatcherMessage::Acknowledge { through: watcher.last };
                        socket.send(Message::text(serde_json::to_string(&answer)?)).await?;
                    }
                }
            }
        }
        Ok(watcher.seen)
    }
}

struct Watcher {
    stamps: Stamps,
    last: u64,
    newest: Arc<AtomicU64>,
    seen: Seen,
}

impl Watcher {
    /// Takes the events between the first and the last number in these bytes; sequences have no gaps, which is
    /// checked where pieces meet.
    fn take(&mut self, bytes: &[u8], before_number: &[u8], kind: &str) -> Result<()> {
        let now = Instant::now();
        let mut newest = None;
        let mut end = bytes.len();
        let backwards = FinderRev::new(before_number);
        while let Some(at) = bytes.get(..end).and_then(|bytes| backwards.rfind(bytes)) {
            newest = number(bytes.get(at + before_number.len()..).unwrap_or_default());
            if newest.is_some() {
                break;
            }
            end = at;
        }
        let Some(newest) = newest.filter(|newest| *newest > self.last) else { return Ok(()) };
        let mut from = 0;
        let forwards = Finder::new(before_number);
        while let Some(at) = bytes.get(from..).and_then(|bytes| forwards.find(bytes)) {
            let found = number(bytes.get(from + at + before_number.len()..).unwrap_or_default());
            if let Some(found) = found.filter(|found| *found > self.last) {
                if found != self.last + 1 {
                    bail!("a {kind} watcher at {} was given {found}", self.last);
                }
                break;
            }
            from += at + 1;
        }
        for sequence in self.last + 1..=newest {
            if let Some(age) = self.stamps.age(sequence, now) {
                self.seen.times.add(age);
            }
        }
        self.seen.events += newest - self.last;
        self.last = newest;
        self.newest.store(newest, Ordering::Relaxed);
        Ok(())
    }
}

/// The number at the beginning; none where its end has not come yet.
fn number(bytes: &[u8]) -> Option<u64> {
    let length = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(bytes.get(..length)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher() -> Watcher {
        let newest = Arc::default();
        Watcher { stamps: Stamps::new(100), last: 4, newest, seen: Seen::default() }
    }

    #[test]
    fn numbers_are_taken_once_and_only_whole() {
        let mut watcher = watcher();
        watcher.take(b"\n\nid: 5\nevent: log\ndata: {}\n\nid: 6\ndata\n\nid: 1", b"\nid: ", "SSE").unwrap();
        assert_eq!((watcher.last, watcher.seen.events), (6, 2));
        watcher.take(b"\nid: 6\ndata\n\nid: 7\nx", b"\nid: ", "SSE").unwrap();
        assert_eq!((watcher.last, watcher.seen.events), (7, 3));
        assert!(watcher.take(b"\nid: 9\n", b"\nid: ", "SSE").is_err());
    }
}
