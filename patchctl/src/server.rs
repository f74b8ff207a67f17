//! The same commands against a server. Only here is there a network, and a runtime for it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_contracts::ids::{PatchBatchId, ProjectId};
use shared_contracts::patches::{KeptReceipt, PatchCheck, PatchRequest};
use shared_contracts::problem::{Problem, ProblemKind};

use crate::cli::Target;
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const TOKEN_VARIABLE: &str = "PATCHBAY_TOKEN";
/// Of an answer that is no problem document, in an error message.
const ANSWER_CHARS_MAX: usize = 300;

pub struct Server {
    url: String,
    project_id: ProjectId,
    token: String,
}

impl Server {
    /// None where the command is about a tree here.
    pub fn of(target: &Target) -> Result<Option<Self>, Failure> {
        let (Some(url), Some(project_id)) = (&target.server, target.project) else {
            return Ok(None);
        };
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(Failure::Malformed(format!(
                "--server {url}: an address begins with https:// or http://"
            )));
        }
        let token = token(target.token_file.as_deref())?;
        Ok(Some(Self { url: url.trim_end_matches('/').to_owned(), project_id, token }))
    }

    pub fn project_id(&self) -> ProjectId {
        self.project_id
    }

    pub fn apply(&self, patch: &PatchRequest) -> Result<KeptReceipt, Failure> {
        self.post("/api/patches/apply", patch)
    }

    pub fn check(&self, patch: &PatchRequest) -> Result<PatchCheck, Failure> {
        self.post("/api/patches/check", patch)
    }

    pub fn revert(&self, id: PatchBatchId) -> Result<KeptReceipt, Failure> {
        self.post(&format!("/api/patches/{id}/revert"), &serde_json::json!({}))
    }

    fn post<Answer: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        // Both the client and the runtime choose it; a second call would only find the first one's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::io("cannot start", "the network runtime"))?;
        runtime.block_on(async {
            let sent = async {
                let client = Client::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(READ_TIMEOUT)
                    .user_agent(concat!("patchctl/", env!("CARGO_PKG_VERSION")))
                    .build()?;
                client.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body).send().await
            };
            let response = sent.await.map_err(|error| self.unreachable(error))?;
            if response.status().is_success() {
                response.json().await.map_err(|error| self.unreachable(error))
            } else {
                Err(answered(response).await)
            }
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let mut text = format!("{}: {error}", self.url);
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Failure::Server(text)
    }
}

async fn answered(response: Response) -> Failure {
    let status = response.status().as_u16();
    let body = response.text().await.unwrap_or_default();
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if matches!(problem.kind, ProblemKind::PatchRefused | ProblemKind::Malformed) => {
            Failure::Refused(Box::new(problem))
        }
        Ok(problem) => Failure::Answered(Box::new(problem)),
        Err(_) => {
            let said: String = body.chars().filter(|c| !c.is_control()).take(ANSWER_CHARS_MAX).collect();
            Failure::Server(format!("the server answered {status}: {said}"))
        }
    }
}

fn token(file: Option<&Path>) -> Result<String, Failure> {
    let token = match file {
        Some(file) => std::fs::read_to_string(file).map_err(Failure::io("cannot read", file.display()))?,
        None => std::env::var(TOKEN_VARIABLE).unwrap_or_default(),
    };
    match token.trim() {
        "" => Err(Failure::Malformed(format!("no token: put it into {TOKEN_VARIABLE} or name --token-file"))),
        token => Ok(token.to_owned()),
    }
}
