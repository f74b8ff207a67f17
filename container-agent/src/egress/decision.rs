//! What the proxy decided, for the log and for whoever watches.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::clock;

/// What a request sent is shown no longer than this.
const SHOWN_CHARS_MAX: usize = 300;
/// Room for what was sent, twice, and what to do about it.
const SENTENCE_CHARS_MAX: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The request was read and judged; nothing was dialled yet.
    Decided,
    /// Its connection is closed; the bytes are all that it moved.
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Listed,
    // Refused:
    Malformed,
    NotListed,
    ForbiddenAddress,
    NotResolved,
    /// This execution has moved as many bytes as it may; also ends connections.
    BytesUsedUp,
    // How a connection ended:
    Closed,
    NotReached,
    Idle,
    TooLong,
    /// The proxy was told to stop.
    Stopped,
}

impl Reason {
    /// As it is written in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Malformed => "malformed",
            Self::NotListed => "not_listed",
            Self::ForbiddenAddress => "forbidden_address",
            Self::NotResolved => "not_resolved",
            Self::BytesUsedUp => "bytes_used_up",
            Self::Closed => "closed",
            Self::NotReached => "not_reached",
            Self::Idle => "idle",
            Self::TooLong => "too_long",
            Self::Stopped => "stopped",
        }
    }
}

/// One decision, or the end of what it allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EgressDecision {
    pub at_ms: u64,
    /// Counts the connections of one proxy from 1; an end has the number of its decision.
    pub connection: u64,
    pub moment: Moment,
    /// As it was asked for, escaped where it is no host; empty where the request names none.
    pub host: String,
    pub port: Option<u16>,
    /// What the host was found to be.
    pub address: Option<SocketAddr>,
    pub allowed: bool,
    pub reason: Reason,
    /// The reason in words, escaped.
    pub detail: String,
    /// Out of the sandbox.
    pub bytes_up: u64,
    /// Into the sandbox.
    pub bytes_down: u64,
    /// How many before this one were dropped because nobody took them from the channel.
    pub dropped_before: u64,
}

impl EgressDecision {
    /// Refused until it is allowed.
    pub fn of(connection: u64) -> Self {
        Self {
            at_ms: clock::now_ms(),
            connection,
            moment: Moment::Decided,
            host: String::new(),
            port: None,
            address: None,
            allowed: false,
            reason: Reason::Malformed,
            detail: String::new(),
            bytes_up: 0,
            bytes_down: 0,
            dropped_before: 0,
        }
    }
}

/// Where decisions go. Telling never waits: a reader that is too slow costs it decisions, not the sandbox its network.
pub struct Decisions {
    channel: mpsc::Sender<EgressDecision>,
    dropped: AtomicU64,
}

impl Decisions {
    pub fn new(channel: mpsc::Sender<EgressDecision>) -> Self {
        Self { channel, dropped: AtomicU64::new(0) }
    }

    pub fn tell(&self, mut decision: EgressDecision) {
        decision.at_ms = clock::now_ms();
        decision.dropped_before = self.dropped.swap(0, Ordering::Relaxed);
        let before = decision.dropped_before;
        if self.channel.try_send(decision).is_err() {
            self.dropped.fetch_add(before + 1, Ordering::Relaxed);
        }
    }

    /// Dropped, and not told with a later decision.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// What a request sent, made printable ASCII of bounded length.
pub fn shown(sent: &[u8]) -> String {
    printable(sent, SHOWN_CHARS_MAX)
}

/// A sentence of ours, which may quote what was sent.
pub fn sentence(text: &str) -> String {
    printable(text.as_bytes(), SENTENCE_CHARS_MAX)
}

fn printable(text: &[u8], chars_max: usize) -> String {
    let mut shown = String::new();
    for byte in text {
        if shown.len() >= chars_max {
            shown.push_str("...");
            break;
        }
        match byte {
            b' '..=b'~' => shown.push(char::from(*byte)),
            _ => shown.extend(byte.escape_ascii().map(char::from)),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_printable_and_short() {
        assert_eq!(shown(b"example.com"), "example.com");
        assert_eq!(shown("\r\n\u{1b}[2Jé".as_bytes()), "\\r\\n\\x1b[2J\\xc3\\xa9");
        assert_eq!(shown(&[b'x'; 10_000]).len(), SHOWN_CHARS_MAX + 3);
        assert!(shown(&[0; 10_000]).len() <= SHOWN_CHARS_MAX + 6);
        let quoted = shown(b"it's `a\\b`\n");
        assert_eq!(quoted, "it's `a\\b`\\n");
        assert_eq!(shown(quoted.as_bytes()), quoted);
    }

    #[test]
    fn dropped_decisions_are_counted_and_told() {
        let (sender, mut receiver) = mpsc::channel(1);
        let decisions = Decisions::new(sender);
        for connection in 1..=4 {
            decisions.tell(EgressDecision::of(connection));
        }
        assert_eq!(decisions.dropped(), 3);
        assert_eq!(receiver.try_recv().unwrap().dropped_before, 0);
        decisions.tell(EgressDecision::of(5));
        let told = receiver.try_recv().unwrap();
        assert_eq!((told.connection, told.dropped_before, decisions.dropped()), (5, 3, 0));
    }
}
