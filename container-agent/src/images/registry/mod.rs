//! Pulls from a registry (the distribution API of OCI and Docker): documents and blobs, each by its digest and checked
//! against it.
//!
//! A registry is asked by this small client rather than by a library, because what it answers is as untrusted as its
//! layers: every body has a limit, a token that is no header value is an error and not a panic, credentials go to the
//! registry and to its own login over TLS alone, and a blob that broke off goes on where it was.

mod auth;
mod download;
mod retry;

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use shared_contracts::hash::Sha256;
use tokio::sync::Mutex;

use super::error::Fault;
use super::manifest::{Blob, INDEXES, MANIFESTS};
use super::reference::{RegistryReference, is_loopback};
use super::settings::RegistrySettings;
use auth::{Challenge, TokenAnswer};
use retry::Retry;

/// What registries themselves take.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
const TOKEN_BYTES_MAX: u64 = 256 << 10;
const REFUSAL_BYTES_MAX: u64 = 16 << 10;
const REFUSAL_CHARS_MAX: usize = 300;
const REDIRECTS_MAX: usize = 5;

pub struct Client {
    http: reqwest::Client,
    /// For this machine's own registries, which no proxy leads to.
    direct: reqwest::Client,
    settings: RegistrySettings,
}

/// The pull of one image: who asks stays known from one request to the next.
pub struct Session<'a> {
    client: &'a Client,
    reference: &'a RegistryReference,
    authorization: Mutex<Option<HeaderValue>>,
}

/// What a registry says of an error.
#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalError>,
}

#[derive(Deserialize)]
struct RefusalError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Client {
    pub fn new(settings: RegistrySettings) -> Result<Self, reqwest::Error> {
        // Only the first call in a process has an effect, and all make the same choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            let redirect = Policy::custom(|attempt| {
                let was_secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
                match attempt.previous().len() {
                    0..=REDIRECTS_MAX if was_secure && attempt.url().scheme() != "https" => {
                        attempt.error("it redirects from https to http")
                    }
                    0..=REDIRECTS_MAX => attempt.follow(),
                    _ => attempt.error("it redirects in circles"),
                }
            });
            reqwest::Client::builder()
                .connect_timeout(settings.connect_timeout)
                .read_timeout(settings.idle_timeout)
                .redirect(redirect)
                .user_agent(concat!("patchbay-agent/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self { http: builder().build()?, direct: builder().no_proxy().build()?, settings })
    }

    pub fn pull_timeout(&self) -> Duration {
        self.settings.pull_timeout
    }

    pub fn session<'a>(&'a self, reference: &'a RegistryReference) -> Session<'a> {
        Session { client: self, reference, authorization: Mutex::new(None) }
    }

    fn get(&self, host: &str, url: Url) -> RequestBuilder {
        if is_loopback(host) { self.direct.get(url) } else { self.http.get(url) }
    }
}

impl Session<'_> {
    /// An index or a manifest.
    pub async fn manifest(&self, digest: Sha256) -> Result<Vec<u8>, Fault> {
        let path = format!("manifests/sha256:{digest}");
        self.document(&path, &format!("manifest sha256:{digest}"), digest, DOCUMENT_BYTES_MAX).await
    }

    /// A blob that is read as a whole: the configuration.
    pub async fn small_blob(&self, blob: &Blob, what: &str) -> Result<Vec<u8>, Fault> {
        let what = format!("{what} sha256:{}", blob.digest);
        if blob.size_bytes > DOCUMENT_BYTES_MAX {
            return Err(Fault::TooLarge { what, bytes_max: DOCUMENT_BYTES_MAX });
        }
        self.document(&format!("blobs/sha256:{}", blob.digest), &what, blob.digest, blob.size_bytes).await
    }

    async fn document(
        &self,
        path: &str,
        what: &str,
        digest: Sha256,
        bytes_max: u64,
    ) -> Result<Vec<u8>, Fault> {
        let mut retry = Retry::new(self.client.settings.tries_max);
        let bytes = loop {
            let read = async { self.read(self.get(path, what, None).await?, what, bytes_max).await };
            match read.await {
                Ok(bytes) => break bytes,
                Err(fault) => retry.after(fault).await?,
            }
        };
        let actual = Sha256::of(&bytes);
        if actual != digest {
            return Err(Fault::WrongDigest { what: what.to_owned(), expected: digest, actual });
        }
        Ok(bytes)
    }

    /// One request, with one more where the registry wants to know who asks.
    async fn get(&self, path: &str, what: &str, from: Option<u64>) -> Result<Response, Fault> {
        let shown = self.authorization.lock().await.clone();
        let response = self.send(path, what, from, shown.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.judge(response, what).await;
        }
        let authorization = self.authorize(response.headers(), shown).await?;
        let response = self.send(path, what, from, Some(&authorization)).await?;
        self.judge(response, what).await
    }

    async fn send(
        &self,
        path: &str,
        what: &str,
        from: Option<u64>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Fault> {
        let host = self.reference.api_host();
        let scheme = if self.client.settings.is_plain(host) { "http" } else { "https" };
        let url = format!("{scheme}://{host}/v2/{}/{path}", self.reference.repository());
        let url = Url::parse(&url).map_err(|error| self.unreachable(&error))?;
        let accepted = [INDEXES, MANIFESTS].concat().join(", ");
        let mut request = self.client.get(host, url).header(ACCEPT, format!("{accepted}, */*"));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(from) = from {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        request.send().await.map_err(|error| match error.is_connect() {
            true => self.unreachable(&error),
            false => self.broken_off(what, &error),
        })
    }

    /// Shows who asks, as the challenge wants it.
    async fn authorize(&self, headers: &HeaderMap, shown: Option<HeaderValue>) -> Result<HeaderValue, Fault> {
        let mut authorization = self.authorization.lock().await;
        // Another request of this pull did it meanwhile.
        if let Some(newer) = authorization.clone().filter(|newer| shown.as_ref() != Some(newer)) {
            return Ok(newer);
        }
        let credentials = self.client.settings.credentials.get(self.reference.host());
        let basic = credentials.map(|credentials| {
            let plain = format!("{}:{}", credentials.user, credentials.password);
            format!("Basic {}", BASE64_STANDARD.encode(plain))
        });
        let text = match auth::challenge(headers) {
            Some(Challenge::Basic) => basic.ok_or_else(|| {
                self.unauthorized("it asks for a user name and a password, and none are set")
            })?,
            Some(Challenge::Bearer { realm, service }) => {
                format!("Bearer {}", self.token(&realm, service.as_deref(), basic).await?)
            }
            None => {
                return Err(self.unauthorized("it says 401 and names no way to log in that is known here"));
            }
        };
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| self.unauthorized("what is to be sent, or its token, is not text"))?;
        value.set_sensitive(true);
        *authorization = Some(value.clone());
        Ok(value)
    }

    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        basic: Option<String>,
    ) -> Result<String, Fault> {
        let settings = &self.client.settings;
        let unsafe_login =
            || Fault::UnsafeLogin { host: self.reference.host().to_owned(), realm: shortened(realm) };
        let url = auth::token_url(realm, service, self.reference.repository()).ok_or_else(unsafe_login)?;
        let login_host = auth::host_of(&url);
        let is_plain_allowed = settings.is_plain(self.reference.api_host()) && settings.is_plain(&login_host);
        if url.scheme() != "https" && !is_plain_allowed {
            return Err(unsafe_login());
        }
        let mut request = self.client.get(&login_host, url);
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let what = format!("a token from {login_host}");
        let response = request.send().await.map_err(|error| self.broken_off(&what, &error))?;
        let response = self.judge(response, &what).await?;
        let answer = self.read(response, &what, TOKEN_BYTES_MAX).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&answer).ok();
        answer
            .and_then(TokenAnswer::token)
            .ok_or_else(|| self.unauthorized("its login answers without a token"))
    }

    /// Success, or why not.
    async fn judge(&self, response: Response, what: &str) -> Result<Response, Fault> {
        let status = response.status();
        if status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        // Its words, if they come; the status is enough without.
        let body = self.read(response, what, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let detail = serde_json::from_slice::<Refusal>(&body).map(said).unwrap_or_default();
        let host = self.reference.host().to_owned();
        let what = what.to_owned();
        Err(match status.as_u16() {
            401 | 403 if detail.is_empty() => self.unauthorized(&format!("it answers {status}")),
            401 | 403 => self.unauthorized(&detail),
            404 => Fault::Absent { host, what, detail },
            status => Fault::Answered { host, what, status, detail },
        })
    }

    async fn read(&self, mut response: Response, what: &str, bytes_max: u64) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken_off(what, &error))? {
            if bytes.len() as u64 + piece.len() as u64 > bytes_max {
                return Err(Fault::TooLarge { what: what.to_owned(), bytes_max });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> Fault {
        Fault::Unreachable { host: self.reference.api_host().to_owned(), cause: cause_of(error) }
    }

    fn broken_off(&self, what: &str, error: &dyn std::error::Error) -> Fault {
        let host = self.reference.api_host().to_owned();
        Fault::BrokenOff { host, what: what.to_owned(), cause: cause_of(error) }
    }

    fn unauthorized(&self, detail: &str) -> Fault {
        Fault::Unauthorized {
            host: self.reference.host().to_owned(),
            repository: self.reference.repository().to_owned(),
            detail: detail.to_owned(),
        }
    }
}

fn said(refusal: Refusal) -> String {
    let Some(first) = refusal.errors.into_iter().next() else { return String::new() };
    shortened(if first.message.is_empty() { &first.code } else { &first.message })
}

/// Words from outside, fit for a message.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS_MAX).collect()
}

/// The innermost cause says what happened; those around it say that something did.
fn cause_of(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    shortened(&innermost.to_string())
}
