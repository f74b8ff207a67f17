//! Our sandbox, through the seam that the container agent uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use container_agent::sandbox::namespaces::Namespaces;
use container_agent::sandbox::namespaces::warm::Warm;
use container_agent::sandbox::{Egress, Exit, Mounts, Provider, SandboxSpec};
use shared_contracts::executions::Limits;
use tokio::task::JoinHandle;

use crate::Result;

/// Uids that are taken in turn, so that no two sandboxes that live at once share one.
const SLOTS: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Cold,
    /// Taken from those that wait.
    Warm,
}

pub struct Ours {
    directory: PathBuf,
    cold: Namespaces,
    waiting: Namespaces,
    keeper: JoinHandle<()>,
    started: AtomicU32,
}

/// Of every sandbox here, and of those beside it that have limits: what an execution gets that names none.
pub fn limits() -> Limits {
    Limits::default()
}

impl Ours {
    /// As the agent has it: limits for root alone, because an ordinary user can make no control groups.
    pub fn new(directory: &Path, waiting: u32) -> Result<Self> {
        let instance = format!("{:012x}", std::process::id());
        let mut cold = Namespaces::new(instance, directory.join("template"), Vec::new());
        cold.enforce_limits = rustix::process::geteuid().is_root();
        let warm = Warm::new(waiting, &directory.join("warm"))?;
        let keeper = tokio::spawn(Arc::clone(&warm).keep(cold.clone()));
        let mut waiting = cold.clone();
        waiting.warm = Some(warm);
        let (directory, started) = (directory.join("ours"), AtomicU32::new(0));
        Ok(Self { directory, cold, waiting, keeper, started })
    }

    /// From the order to the exit. Then it is removed, which is not timed: who waits for a result does not wait for that.
    pub async fn once(&self, kind: Kind, workspace: &Path, command: &[&str]) -> Result<Duration> {
        let spec = self.spec(workspace, command);
        let namespaces = if kind == Kind::Cold { &self.cold } else { &self.waiting };
        let at = Instant::now();
        let mut sandbox = namespaces.prepare(spec).await?;
        sandbox.start().await?;
        let exit = sandbox.wait().await?;
        let took = at.elapsed();
        sandbox.remove().await;
        match exit {
            Exit::Code(0) => Ok(took),
            other => Err(format!("{command:?} ended with {other:?}").into()),
        }
    }

    fn spec(&self, workspace: &Path, command: &[&str]) -> SandboxSpec {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let name = format!("run-{number}");
        SandboxSpec {
            directory: self.directory.join(&name),
            name,
            owner: None,
            mounts: Mounts { workspace: workspace.to_owned(), image: None, files: Vec::new() },
            command: command.iter().map(ToString::to_string).collect(),
            environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
            limits: limits(),
            egress: Egress::Nothing,
            terminal: None,
            slot: number % SLOTS,
        }
    }

    pub async fn end(mut self) {
        // One that is being built goes with its keeper.
        self.keeper.abort();
        let _ = (&mut self.keeper).await;
        self.waiting.close().await;
    }
}

impl Drop for Ours {
    /// Whatever happened before, no control group stays.
    fn drop(&mut self) {
        self.keeper.abort();
        self.cold.hierarchies.sweep(&self.cold.instance);
    }
}
