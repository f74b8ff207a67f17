//! Containers of this agent's that nobody looks after: those of an agent that died, those that hang although their
//! execution is over, those that were never started. Whoever is removed is told of.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State};
use bollard::query_parameters::ListContainersOptions;
use shared_contracts::containers::{ContainerCleanup, ContainerId};
use shared_contracts::sandboxes::SandboxProvider;
use tokio::sync::mpsc::UnboundedSender;

use super::asked::{EXECUTION, GENERATION, INSTANCE};
use super::engine::failed;
use super::{Oci, handle};
use crate::clock;
use crate::sandbox::SandboxError;

const EVERY: Duration = Duration::from_secs(300);
/// No container is on its way for longer.
const STALE_SECONDS: i64 = 300;

/// Whether a lease is held, and so its container looked after.
pub type IsHeld = dyn Fn(ContainerId) -> bool + Send + Sync;

impl Oci {
    /// Every five minutes, until the other end of `told` is gone. An engine that does not answer is asked again.
    pub async fn keep_clean(&self, is_held: &IsHeld, told: UnboundedSender<ContainerCleanup>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = told.closed() => return,
            }
            match self.sweep(is_held).await {
                Ok(removed) => removed.into_iter().for_each(|cleanup| drop(told.send(cleanup))),
                Err(error) => tracing::warn!(%error, "containers could not be looked through"),
            }
        }
    }

    /// One pass; also the first thing after a start, when no lease is held.
    pub async fn sweep(&self, is_held: &IsHeld) -> Result<Vec<ContainerCleanup>, SandboxError> {
        let filters = HashMap::from([("label".to_owned(), vec![INSTANCE.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let listed = self.engine.docker.list_containers(Some(options)).await;
        let mut cleanups = Vec::new();
        for found in listed.map_err(failed("list its containers"))? {
            let Some(reason) = self.why_remove(&found, is_held) else { continue };
            let Some(name) = &found.id else { continue };
            handle::remove(&self.engine, name).await;
            tracing::info!(container = name, reason, "removed a container that was left over");
            // A trial's is nobody's.
            if let Some(id) = id_of(&found) {
                let (provider, reason) = (SandboxProvider::Oci, reason.to_owned());
                cleanups.push(ContainerCleanup { id, provider, reason, at_ms: clock::now_ms() });
            }
        }
        Ok(cleanups)
    }

    fn why_remove(&self, found: &ContainerSummary, is_held: &IsHeld) -> Option<&'static str> {
        let is_ours = label(found, INSTANCE) == Some(self.settings.instance.as_str());
        let id = id_of(found);
        let now = i64::try_from(clock::now_ms() / 1_000).unwrap_or(i64::MAX);
        let is_stale = found.created.is_none_or(|created| now - created > STALE_SECONDS);
        let is_abandoned = is_ours && id.is_some_and(|id| !is_held(id));
        let runs = matches!(found.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING));
        match found.state {
            _ if runs && is_abandoned => Some("it ran on although nobody holds its lease any more"),
            // Another instance's may run; what does not, and is old, is left over whosever it was.
            _ if runs || !(is_abandoned || is_stale) => None,
            Some(State::CREATED) => Some("it was made and never started"),
            _ => Some("it had ended and was still there"),
        }
    }
}

fn label<'a>(found: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    found.labels.as_ref()?.get(name).map(String::as_str)
}

fn id_of(found: &ContainerSummary) -> Option<ContainerId> {
    let (execution_id, generation) = (label(found, EXECUTION)?, label(found, GENERATION)?);
    Some(ContainerId { execution_id: execution_id.parse().ok()?, generation: generation.parse().ok()? })
}
