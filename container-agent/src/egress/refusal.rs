//! Why a request is not carried: what the client is told, and what the decision says.

use std::net::SocketAddr;
use std::time::Duration;

use shared_contracts::egress::{HostFault, Target};

use super::decision::{Reason, sentence};

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the request's head is longer than {bytes_max} bytes; send fewer or shorter headers")]
    HeadTooLong { bytes_max: usize },
    #[error("no whole request came within {0:?}; send its head at once")]
    HeadLate(Duration),
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("the request's target `{target}` is malformed: {fault}")]
    Target { target: String, fault: HostFault },
    #[error("{0} is not on this project's egress list; add `{0}` to the list to allow it")]
    NotListed(Target),
    #[error(
        "{target} is at {address}, which is {what}: such addresses are out of reach, on the egress list or not; only the \
         operator of this machine can open it, by vouching for {address}"
    )]
    Forbidden { target: Target, address: SocketAddr, what: &'static str },
    #[error("{target} has no address: {cause}; check the name")]
    NotResolved { target: Target, cause: String },
    #[error("{target} cannot be reached: {cause}; try again later")]
    NotReached { target: Target, cause: String },
    #[error("this execution has moved as many bytes as it may; raise the limit of its egress to allow more")]
    BytesUsedUp,
}

impl Refusal {
    pub fn reason(&self) -> Reason {
        match self {
            Self::HeadTooLong { .. } | Self::HeadLate(_) | Self::Malformed(_) | Self::Target { .. } => {
                Reason::Malformed
            }
            Self::NotListed(_) => Reason::NotListed,
            Self::Forbidden { .. } => Reason::ForbiddenAddress,
            Self::NotResolved { .. } => Reason::NotResolved,
            Self::NotReached { .. } => Reason::NotReached,
            Self::BytesUsedUp => Reason::BytesUsedUp,
        }
    }

    fn status(&self) -> &'static str {
        match self {
            Self::HeadTooLong { .. } => "431 Request Header Fields Too Large",
            Self::HeadLate(_) => "408 Request Timeout",
            Self::Malformed(_) | Self::Target { .. } => "400 Bad Request",
            Self::NotListed(_) | Self::Forbidden { .. } | Self::BytesUsedUp => "403 Forbidden",
            Self::NotResolved { .. } | Self::NotReached { .. } => "502 Bad Gateway",
        }
    }

    /// The sentence, safe to show.
    pub fn detail(&self) -> String {
        sentence(&self.to_string())
    }

    /// The whole answer. `Proxy-Status` (RFC 9209) tells it from an answer of the host that was asked for.
    pub fn answer(&self) -> String {
        let body = format!("patchbay egress: {}\n", self.detail());
        format!(
            "HTTP/1.1 {}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nproxy-status: patchbay\r\n\
             connection: close\r\n\r\n{body}",
            self.status(),
            body.len(),
        )
    }
}
