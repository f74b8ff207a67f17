//! The engine: where its socket is, which one it is, and its images. Docker and Podman speak one API and mean it
//! a little differently.

use std::path::{Path, PathBuf};

use bollard::query_parameters::CreateImageOptions;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use futures_util::TryStreamExt;

use super::EngineSetting;
use crate::images::variables;
use crate::sandbox::SandboxError;

const TIMEOUT_SECONDS: u64 = 120;
const SOCKETS: [&str; 2] = ["/run/docker.sock", "/run/podman/podman.sock"];
/// An image can be large, a line far.
const PULL_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1_800);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
}

#[derive(Debug, Clone)]
pub struct Engine {
    pub docker: Docker,
    pub kind: Kind,
    pub version: String,
    pub socket: PathBuf,
    pub is_rootless: bool,
}

/// Why no engine can be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the settings say engine = \"off\"")]
    Off,
    #[error("no engine's socket at {}", .0.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoSocket(Vec<PathBuf>),
    #[error("`{0}` is not a unix socket; only an engine on this machine can see this agent's workspaces")]
    NotLocal(String),
    #[error("the engine at {socket} does not answer: {source}")]
    Silent { socket: PathBuf, source: bollard::errors::Error },
    #[error("an ordinary user's agent cannot show a workspace to an engine")]
    NotRoot,
    #[error("the engine at {0} is rootless: its users cannot be given a workspace")]
    Rootless(PathBuf),
}

impl Engine {
    pub async fn connect(setting: &EngineSetting) -> Result<Self, EngineError> {
        let socket = find(setting)?;
        let silent = |source| EngineError::Silent { socket: socket.clone(), source };
        let address = socket.display().to_string();
        let speak =
            |api: &ClientVersion| Docker::connect_with_unix(&address, TIMEOUT_SECONDS, api).map_err(silent);
        // It tells its version in any; the rest must be in one that it knows.
        let version = speak(API_DEFAULT_VERSION)?.version().await.map_err(silent)?;
        let docker = speak(&common(version.api_version.as_deref()))?;
        let is_podman = version
            .components
            .iter()
            .flatten()
            .any(|component| component.name.to_lowercase().contains("podman"));
        let info = docker.info().await.map_err(silent)?;
        let is_rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        Ok(Self {
            docker,
            kind: if is_podman { Kind::Podman } else { Kind::Docker },
            version: version.version.unwrap_or_default(),
            socket,
            is_rootless,
        })
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Docker => "docker",
            Kind::Podman => "podman",
        }
    }

    /// Has the image here, and answers with its variables. One that is named by its digest is fetched; any other could be
    /// another one tomorrow.
    pub async fn ensure_image(&self, image: &str) -> Result<Vec<(String, String)>, SandboxError> {
        if let Some(environment) = self.look_for(image).await? {
            return Ok(environment);
        }
        if !image.contains("@sha256:") {
            return Err(SandboxError::Setup(format!(
                "the image `{image}` is not on this machine: run `{} pull {image}` there, or name it by its digest \
                 (name@sha256:…) to have it fetched",
                self.name()
            )));
        }
        let options =
            CreateImageOptions { from_image: Some(image.to_owned()), ..CreateImageOptions::default() };
        let pull = self.docker.create_image(Some(options), None, None).try_for_each(|progress| async move {
            match progress.error_detail.and_then(|detail| detail.message) {
                Some(error) => Err(bollard::errors::Error::DockerStreamError { error }),
                None => Ok(()),
            }
        });
        match tokio::time::timeout(PULL_TIMEOUT, pull).await {
            Ok(pulled) => pulled.map_err(failed(format!("pull the image `{image}`")))?,
            Err(_) => {
                let text =
                    format!("pulling the image `{image}` took longer than {} s", PULL_TIMEOUT.as_secs());
                return Err(SandboxError::Setup(text));
            }
        }
        self.look_for(image).await?.ok_or_else(|| {
            SandboxError::Setup(format!("the engine pulled the image `{image}` and does not have it"))
        })
    }

    /// The variables of an image that is here.
    async fn look_for(&self, image: &str) -> Result<Option<Vec<(String, String)>>, SandboxError> {
        match self.docker.inspect_image(image).await {
            Ok(found) => {
                let texts = found.config.and_then(|config| config.env).unwrap_or_default();
                Ok(Some(variables(&texts)))
            }
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(failed(format!("look for the image `{image}`"))(error)),
        }
    }
}

/// The newest API that this program and the engine have in common.
fn common(engines: Option<&str>) -> ClientVersion {
    let engines = engines.and_then(|text| {
        let (major, minor) = text.split_once('.')?;
        Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
    });
    let ours = *API_DEFAULT_VERSION;
    engines.filter(|engines| *engines < ours).unwrap_or(ours)
}

/// What is set, else what Docker's own client would use, else the first that is there.
fn find(setting: &EngineSetting) -> Result<PathBuf, EngineError> {
    match setting {
        EngineSetting::Off => return Err(EngineError::Off),
        EngineSetting::Socket(path) => return Ok(path.clone()),
        EngineSetting::Search => {}
    }
    if let Some(host) = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()) {
        return match host.strip_prefix("unix://") {
            Some(path) => Ok(path.into()),
            None => Err(EngineError::NotLocal(host)),
        };
    }
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(|run| Path::new(&run).join("podman/podman.sock"));
    let candidates: Vec<_> = SOCKETS.iter().map(PathBuf::from).chain(of_user).collect();
    let found = candidates.iter().find(|path| path.exists()).cloned();
    found.ok_or(EngineError::NoSocket(candidates))
}

pub fn is_absent(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

pub fn failed(what: impl std::fmt::Display) -> impl FnOnce(bollard::errors::Error) -> SandboxError {
    move |error| {
        let detail = match error {
            bollard::errors::Error::DockerResponseServerError { message, .. } => message,
            other => other.to_string(),
        };
        SandboxError::Setup(format!("the engine could not {what}: {}", detail.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_engine_is_spoken_to_in_its_own_version() {
        let docker_20 = ClientVersion { major_version: 1, minor_version: 41 };
        assert_eq!(common(Some("1.41")), docker_20);
        for newer_or_unsaid in [Some("1.999"), Some("2.0"), Some("new"), None] {
            assert_eq!(common(newer_or_unsaid), *API_DEFAULT_VERSION, "{newer_or_unsaid:?}");
        }
    }
}
