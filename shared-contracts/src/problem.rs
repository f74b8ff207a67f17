//! What a client is told when something did not work: RFC 9457 `application/problem+json` with a stable `kind`.

use serde::{Deserialize, Serialize};

/// Every reason an answer is not a success. The name is the wire form; the status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ProblemKind {
    /// The body, a header or the query cannot be read at all.
    Malformed,
    Unauthenticated,
    Forbidden,
    /// Absent, or not yours: the two are not told apart.
    NotFound,
    MethodNotAllowed,
    /// The thing is in a state that does not allow this.
    WrongState,
    /// Someone else was first, or the name is taken.
    Conflict,
    /// Container agents are connected, and none of them has the sandbox that was asked for.
    NoFittingSandbox,
    /// A patch batch does not fit; `outcomes` says why, operation by operation.
    PatchRefused,
    /// The idempotency key was used for another request, or its request is still running.
    IdempotencyConflict,
    TooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    /// Readable but against the rules; `faults` names each field.
    Invalid,
    /// The container agent speaks a protocol that this plane no longer does.
    OutdatedProtocol,
    Limited,
    Internal,
    /// A container agent could not do what it was asked to, or its connection ended before it answered.
    MachineFailed,
    /// A container agent did not answer in time, or is not connected.
    MachineSilent,
    Overloaded,
    /// The plane lacks a setting that this needs; the detail names it.
    NotConfigured,
}

impl ProblemKind {
    /// The HTTP status of this kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::WrongState
            | Self::Conflict
            | Self::NoFittingSandbox
            | Self::PatchRefused
            | Self::IdempotencyConflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::RangeNotSatisfiable => 416,
            Self::Invalid => 422,
            Self::OutdatedProtocol => 426,
            Self::Limited => 429,
            Self::Internal => 500,
            Self::MachineFailed => 502,
            Self::Overloaded | Self::NotConfigured => 503,
            Self::MachineSilent => 504,
        }
    }

    /// The same short summary for every occurrence of the kind.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Unauthenticated => "No valid credentials",
            Self::Forbidden => "These credentials do not allow this",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The path exists, the method does not",
            Self::WrongState => "Not possible in this state",
            Self::Conflict => "Conflict with something that exists",
            Self::NoFittingSandbox => "No connected container agent has such a sandbox",
            Self::PatchRefused => "The patch batch does not fit; nothing was changed",
            Self::IdempotencyConflict => "The idempotency key belongs to another request",
            Self::TooLarge => "Too large",
            Self::UnsupportedMediaType => "This media type is not understood here",
            Self::RangeNotSatisfiable => "The range lies outside the content",
            Self::Invalid => "The request breaks a rule",
            Self::OutdatedProtocol => "The container agent is too old",
            Self::Limited => "Too many requests",
            Self::Internal => "Something failed inside; it is recorded",
            Self::MachineFailed => "A container agent failed",
            Self::MachineSilent => "A container agent does not answer",
            Self::NotConfigured => "This plane is not set up for this",
            Self::Overloaded => "Overloaded; try again shortly",
        }
    }
}

/// One field that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fault {
    /// Path of the field in the body or query, such as `limits.memory_mb`.
    pub field: String,
    pub message: String,
}

/// RFC 9457 problem details.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// `urn:patchbay:problem:<kind>`.
    #[serde(rename = "type")]
    pub type_uri: String,
    pub kind: ProblemKind,
    pub title: String,
    pub status: u16,
    /// What happened, to what, and what to do next.
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// For `patch_refused`: what would happen to each operation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<crate::patches::OperationReceipt>,
    /// For `patch_refused`: the workspace's revision that it does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl Problem {
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let name = serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(str::to_owned));
        Self {
            type_uri: format!("urn:patchbay:problem:{}", name.unwrap_or_default()),
            kind,
            title: kind.title().into(),
            status: kind.status(),
            detail: detail.into(),
            faults: Vec::new(),
            outcomes: Vec::new(),
            revision: None,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.title, self.detail)?;
        self.faults.iter().try_for_each(|fault| write!(formatter, "; {}: {}", fault.field, fault.message))
    }
}

impl std::error::Error for Problem {}
