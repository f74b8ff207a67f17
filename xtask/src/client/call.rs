//! One call: method, path, query, body in; typed answer or [`ClientError`] out.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_contracts::problem::Problem;

use super::error::{ClientError, excerpt};

/// For answers that are made at once.
const TIMEOUT: Duration = Duration::from_secs(60);
/// For bodies of hundreds of megabytes.
const BULK_TIMEOUT: Duration = Duration::from_secs(900);

/// workerd closes a connection that was idle for 15 s. Whoever keeps its thread busy for so long, with packing a tree, does
/// not notice, and would send the next request into nothing.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);

/// A caller of one plane. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base_url: String,
    token: Option<String>,
    idempotency_key: Option<String>,
}

impl Client {
    /// `base_url` without a slash at its end, such as `http://127.0.0.1:8787`.
    pub fn new(base_url: &str, token: &str) -> Self {
        Self {
            // Straight to the plane on this machine, whatever proxies the environment names.
            http: reqwest::Client::builder()
                .no_proxy()
                .pool_idle_timeout(IDLE_CONNECTION)
                .build()
                .unwrap_or_default(),
            base_url: base_url.trim_end_matches('/').to_owned(),
            token: Some(token.to_owned()),
            idempotency_key: None,
        }
    }

    /// The same plane, another caller.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// Every call of the returned client carries this `Idempotency-Key`.
    pub fn with_idempotency_key(&self, key: &str) -> Self {
        Self { idempotency_key: Some(key.to_owned()), ..self.clone() }
    }

    /// Another plane or another port, the same caller.
    pub fn at(&self, base_url: &str) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned(), ..self.clone() }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// A call by hand; `path` starts with a slash.
    pub fn call(&self, method: Method, path: impl Into<String>) -> Call {
        let path = path.into();
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base_url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        Call { request: request.timeout(TIMEOUT), method, path }
    }

    pub(super) fn get(&self, path: impl Into<String>) -> Call {
        self.call(Method::GET, path)
    }

    pub(super) fn post(&self, path: impl Into<String>) -> Call {
        self.call(Method::POST, path)
    }

    /// Whether the process answers.
    pub async fn health(&self) -> Result<(), ClientError> {
        self.get("/health").empty().await
    }

    /// Whether the database answers too.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.get("/ready").empty().await
    }
}

/// A request that is not sent yet.
#[derive(Debug)]
#[must_use = "nothing is sent before one of the methods that await is called"]
pub struct Call {
    request: RequestBuilder,
    method: Method,
    path: String,
}

impl Call {
    pub fn query(mut self, query: &impl Serialize) -> Self {
        self.request = self.request.query(query);
        self
    }

    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn bytes(mut self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request =
            self.request.header(header::CONTENT_TYPE, content_type).body(body).timeout(BULK_TIMEOUT);
        self
    }

    pub(super) fn bulk(mut self) -> Self {
        self.request = self.request.timeout(BULK_TIMEOUT);
        self
    }

    /// No deadline: for streams.
    pub fn endless(mut self) -> Self {
        self.request = self.request.timeout(Duration::from_secs(24 * 3_600));
        self
    }

    /// The answer as it is, whatever its status.
    pub async fn raw(self) -> Result<Response, ClientError> {
        let Self { request, method, path } = self;
        request.send().await.map_err(|source| ClientError::Transport { method, path, source })
    }

    /// The answer if it is a success.
    pub async fn response(self) -> Result<Response, ClientError> {
        let (method, path) = (self.method.clone(), self.path.clone());
        let response = self.raw().await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let retry_after_seconds = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        let text = response.text().await.unwrap_or_default();
        Err(match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => {
                ClientError::Problem { method, path, problem: Box::new(problem), retry_after_seconds }
            }
            Err(_) => ClientError::Status { method, path, status, excerpt: excerpt(&text) },
        })
    }

    /// The answer's JSON.
    pub async fn typed<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let what = format!("the answer to {} {}", self.method, self.path);
        let bytes = self.body().await?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ClientError::contract(what, &String::from_utf8_lossy(&bytes), Some(source)))
    }

    /// The answer's lines of JSON.
    pub async fn typed_lines<T: DeserializeOwned>(self) -> Result<Vec<T>, ClientError> {
        let what = format!("a line of the answer to {} {}", self.method, self.path);
        let bytes = self.body().await?;
        bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).map_err(|source| {
                    ClientError::contract(what.as_str(), &String::from_utf8_lossy(line), Some(source))
                })
            })
            .collect()
    }

    /// The answer's bytes.
    pub async fn body(self) -> Result<Vec<u8>, ClientError> {
        let (method, path) = (self.method.clone(), self.path.clone());
        let response = self.response().await?;
        let bytes =
            response.bytes().await.map_err(|source| ClientError::Transport { method, path, source })?;
        Ok(bytes.to_vec())
    }

    /// A success without a body that matters.
    pub async fn empty(self) -> Result<(), ClientError> {
        self.body().await.map(drop)
    }
}
