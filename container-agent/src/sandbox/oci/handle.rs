//! One container of the engine's, by its id.

use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, StartContainerOptions,
};

use super::asked;
use super::engine::{Engine, failed, is_absent};
use crate::sandbox::SandboxError;

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The engine's time to take away what has ended.
const REMOVE: Duration = Duration::from_secs(30);

/// A container of the engine's. Dropped, it is removed in the background.
pub struct Container {
    pub engine: Engine,
    pub id: String,
    is_removed: bool,
}

impl Container {
    /// Refused where the engine made something else than it was asked for.
    pub async fn create(
        engine: &Engine,
        name: String,
        body: ContainerCreateBody,
    ) -> Result<Self, SandboxError> {
        let options = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let created = engine.docker.create_container(Some(options), body.clone()).await;
        let created = created.map_err(failed("create the container"))?;
        let container = Self { engine: engine.clone(), id: created.id, is_removed: false };
        let made = container.engine.docker.inspect_container(&container.id, None).await;
        let differences = asked::differences(&body, &made.map_err(failed("inspect the container"))?);
        if differences.is_empty() {
            return Ok(container);
        }
        Err(SandboxError::Setup(format!(
            "the engine ({} {}) made another container than it was asked for: {}",
            engine.name(),
            engine.version,
            differences.join("; ")
        )))
    }

    pub async fn start(&self) -> Result<(), SandboxError> {
        let started = self.engine.docker.start_container(&self.id, None::<StartContainerOptions>).await;
        started.map_err(failed("start the container"))
    }

    pub async fn is_running(&self) -> Result<bool, SandboxError> {
        match self.engine.docker.inspect_container(&self.id, None).await {
            Ok(found) => Ok(found.state.and_then(|state| state.running).unwrap_or_default()),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(failed("inspect the container")(error)),
        }
    }

    pub async fn remove(mut self) {
        self.is_removed = true;
        remove(&self.engine, &self.id).await;
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.is_removed {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
            runtime.spawn(async move { remove(&engine, &id).await });
        }
    }
}

/// One that is gone cannot be killed.
pub async fn kill(engine: &Engine, id: &str) {
    let options = KillContainerOptions { signal: "SIGKILL".into() };
    let _ = engine.docker.kill_container(id, Some(options)).await;
}

/// Kills it and takes it away, with what the engine keeps of it.
pub async fn remove(engine: &Engine, id: &str) {
    let removed = async {
        loop {
            let options = RemoveContainerOptions { force: true, v: true, link: false };
            match engine.docker.remove_container(id, Some(options)).await {
                Ok(()) => return,
                Err(error) if is_absent(&error) => return,
                // The engine is about it: it was told to remove what ends.
                Err(error) => tracing::debug!(container = id, %error, "not removed yet"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(REMOVE, removed).await.is_err() {
        tracing::warn!(container = id, "a container could not be removed; the next sweep tries again");
    }
}
