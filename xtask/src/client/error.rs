//! Why a call gave no answer of its type.

use reqwest::{Method, StatusCode};
use shared_contracts::problem::{Problem, ProblemKind};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The plane said what was wrong.
    #[error("{method} {path} was refused: {problem}")]
    Problem { method: Method, path: String, problem: Box<Problem>, retry_after_seconds: Option<u64> },
    /// An answer that no part of the plane should give.
    #[error("{method} {path} gave {status} without problem details: {excerpt}")]
    Status { method: Method, path: String, status: StatusCode, excerpt: String },
    #[error("{method} {path} got no answer")]
    Transport {
        method: Method,
        path: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{what} is not what the contract says: {excerpt}")]
    Contract {
        what: String,
        excerpt: String,
        #[source]
        source: Option<serde_json::Error>,
    },
    #[error("events out of order: wanted sequence {wanted}, got {got}")]
    OutOfOrder { wanted: u64, got: u64 },
    #[error("the WebSocket to {url} failed")]
    Socket {
        url: String,
        #[source]
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    #[error("{what} cannot be read")]
    Local {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("a watcher heard nothing for {seconds} s, not even a heartbeat")]
    Silent { seconds: u64 },
}

impl ClientError {
    /// The problem details, if the plane gave some.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }

    pub fn kind(&self) -> Option<ProblemKind> {
        self.problem().map(|problem| problem.kind)
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Problem { problem, .. } => Some(problem.status),
            Self::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Whether the same call may work later: the plane was away or busy.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Socket { .. } | Self::Silent { .. } => true,
            other => matches!(other.status(), Some(502..=504)),
        }
    }

    pub(super) fn contract(what: impl Into<String>, text: &str, source: Option<serde_json::Error>) -> Self {
        Self::Contract { what: what.into(), excerpt: excerpt(text), source }
    }
}

/// The first part of a text, for an error message.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(300).collect()
}
