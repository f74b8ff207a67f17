//! Judging answers.

use std::fmt::Debug;

use reqwest::header::HeaderMap;
use shared_contracts::problem::{Problem, ProblemKind};
use xtask::client::{Call, ClientError};

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub async fn to(call: Call) -> Self {
        let response = call.raw().await.expect("there is an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.expect("the answer's body comes whole").to_vec();
        Self { status, headers, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem it must be: RFC 9457 in every part, of this kind, and nothing of the inside in it.
    pub fn problem(&self, kind: ProblemKind) -> Problem {
        let text = self.text();
        assert_eq!(self.status, kind.status(), "{text}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{text}");
        let problem: Problem = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        sound(&problem, kind);
        problem
    }
}

fn sound(problem: &Problem, kind: ProblemKind) {
    assert_eq!(problem.kind, kind, "{problem:?}");
    assert_eq!((problem.status, problem.title.as_str()), (kind.status(), kind.title()));
    let wanted = Problem::new(kind, "");
    assert_eq!(problem.type_uri, wanted.type_uri);
    assert!(!problem.detail.is_empty());
    for inside in ["SQLITE", "SELECT ", "panicked", "src/", "D1_ERROR", "RustError"] {
        assert!(!problem.detail.contains(inside), "the inside shows: {}", problem.detail);
    }
}

/// The problem that a call must have ended in.
#[track_caller]
pub fn refused<T: Debug>(result: Result<T, ClientError>, kind: ProblemKind) -> Problem {
    match result {
        Err(ClientError::Problem { problem, .. }) => {
            sound(&problem, kind);
            *problem
        }
        other => panic!("wanted {kind:?}, got {other:?}"),
    }
}
