//! The plane as this agent sees it: requests with their retry policy, and sockets.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use shared_contracts::problem::Problem;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::backoff::Backoff;
use crate::config;
use crate::lease::{Held, Stopping};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A body that does not move for this long is given up and asked for again.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// 401: the token may have expired a moment before its renewal came. 500: an object may have been reset.
const DOUBTFUL_TRIES_MAX: u32 = 6;
const PROBLEM_CHARS_MAX: usize = 500;

pub struct Plane {
    url: String,
    socket_url: String,
    client: Client,
}

#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{status}: {detail}")]
    Answered { status: u16, detail: String },
    #[error("{0}")]
    Transport(String),
    #[error("{0}")]
    Body(std::io::Error),
    /// The lease ended meanwhile: nothing more may be asked in its name.
    #[error("the lease is gone")]
    LeaseGone,
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("the plane answered {0}: {1}")]
    Status(u16, String),
    #[error("{0}")]
    Transport(String),
}

impl Plane {
    pub fn new(plane: &config::Plane) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .user_agent(concat!("patchbay-agent/", env!("CARGO_PKG_VERSION")))
            .build()?;
        // http → ws, https → wss.
        let socket_url = plane.url.replacen("http", "ws", 1);
        Ok(Self { url: plane.url.clone(), socket_url, client })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn dial(&self, path: &str, token: &str) -> Result<Socket, DialError> {
        let transport = |error: String| DialError::Transport(error);
        let mut request = format!("{}{path}", self.socket_url)
            .into_client_request()
            .map_err(|error| transport(error.to_string()))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut bearer = bearer.map_err(|_| transport("the token is not a header value".into()))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let config = WebSocketConfig::default();
        let dialled = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(tokio_tungstenite::tungstenite::Error::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err(DialError::Status(response.status().as_u16(), detail_of(&String::from_utf8_lossy(body))))
            }
            Ok(Err(error)) => Err(transport(error.to_string())),
            Err(_) => Err(transport(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))),
        }
    }

    /// Sends what `make` makes, with the execution's token, until it succeeds, is refused for good, or the lease is
    /// gone. `make` is called for each try, so that a body can be opened again.
    pub async fn request(
        &self,
        held: &Held,
        make: impl Fn(&Client, &str) -> BoxFuture<'static, std::io::Result<RequestBuilder>>,
    ) -> Result<Response, ApiError> {
        let mut backoff = Backoff::default();
        let mut doubtful = 0;
        let mut stop = held.stop.subscribe();
        loop {
            let request = make(&self.client, &self.url).await.map_err(ApiError::Body)?;
            let sent = tokio::select! {
                sent = request.bearer_auth(held.token()).send() => sent,
                _ = stop.wait_for(|stop| matches!(stop, Stopping::Gone(_))) => return Err(ApiError::LeaseGone),
            };
            let (advice, failure) = match sent {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let (status, after) = (response.status(), retry_after(&response));
                    let detail = detail_of(&response.text().await.unwrap_or_default());
                    let may_pass =
                        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::INTERNAL_SERVER_ERROR);
                    doubtful += u32::from(may_pass);
                    let again = retryable(status) || (may_pass && doubtful < DOUBTFUL_TRIES_MAX);
                    (again.then_some(after), ApiError::Answered { status: status.as_u16(), detail })
                }
                Err(error) => (Some(None), ApiError::Transport(without_url(error))),
            };
            let Some(after) = advice else { return Err(failure) };
            let wait = after.unwrap_or_else(|| backoff.delay()).min(RETRY_AFTER_MAX);
            tracing::info!(execution = %held.lease.execution_id, error = %failure, wait_ms = wait.as_millis(), "trying again");
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| matches!(stop, Stopping::Gone(_))) => return Err(ApiError::LeaseGone),
            }
        }
    }
}

/// What is worth another try. Every request of this agent may be sent twice: its id is made here.
pub fn retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The problem's own words, or the beginning of whatever came instead.
fn detail_of(body: &str) -> String {
    match serde_json::from_str::<Problem>(body) {
        Ok(problem) => problem.to_string(),
        Err(_) => body.chars().filter(|c| !c.is_control()).take(PROBLEM_CHARS_MAX).collect(),
    }
}

fn without_url(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (status, again) in [
            (429, true),
            (502, true),
            (503, true),
            (504, true),
            (500, false),
            (400, false),
            (404, false),
            (409, false),
        ] {
            assert_eq!(retryable(StatusCode::from_u16(status).unwrap()), again, "{status}");
        }
    }

    #[test]
    fn a_problem_speaks_for_itself() {
        let problem = Problem::new(shared_contracts::problem::ProblemKind::TooLarge, "9 MB; send less");
        assert_eq!(detail_of(&serde_json::to_string(&problem).unwrap()), "Too large: 9 MB; send less");
        assert_eq!(detail_of("<html>\n"), "<html>");
    }
}
