//! The sandbox: where a coding agent's command runs. This file is the seam; a back end is one more file beside
//! [`namespaces`].
//!
//! ```text
//!   prepare ──▶ start ──▶ wait ──▶ collect ──▶ remove        stop: at any time
//! ```
//! What goes in: a read-only workspace tree, a command, an environment, limits. What comes out: two pipes, an
//! [`Exit`], usage samples, and the changed files as two directory descriptors.

pub mod cgroup;
mod child;
mod devices;
pub mod helper;
mod init;
mod message;
pub mod namespaces;
pub mod probe;
mod root;
pub mod sweep;
mod sys;
pub mod trial;
mod walls;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use shared_contracts::executions::Limits;

/// The uid and gid that the payload sees as its own.
pub const INNER_ID: u32 = 1000;
/// Uids of executions start here: `FIRST_ID + instance × 1000 + slot`, far above those of people and services.
pub const FIRST_ID: u32 = 200_000;

/// What to run, over what, within which limits.
pub struct SandboxSpec {
    /// Names the cgroups; unique on this machine together with the instance.
    pub name: String,
    /// A directory of this execution's own, for mount points.
    pub directory: PathBuf,
    /// The read-only workspace tree.
    pub lower: PathBuf,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    /// Which of the instance's uids.
    pub slot: u32,
    /// Written into the sandbox as this file, if any: the task's prompt.
    pub prompt: Option<String>,
}

/// A directory of the machine that every sandbox may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    pub path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

/// What a sandbox uses at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    pub cpu_us: u64,
    pub processes: u32,
    /// Processes that the kernel killed because the memory limit was reached.
    pub out_of_memory_kills: u64,
    /// Forks refused because the process limit was reached.
    pub refused_forks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM to the payload.
    Terminate,
    /// SIGKILL to everything inside.
    Kill,
}

/// The payload's standard output and standard error.
pub struct Output {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// What the payload left in its workspace. Untrusted data: read it with [`crate::beneath`] only.
pub struct Collected {
    /// Only what was written.
    pub upper: OwnedFd,
    /// The workspace as the payload saw it.
    pub merged: OwnedFd,
    /// The uid and gid on the host that its files belong to.
    pub outer_id: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("cannot {what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("the sandbox could not be set up: {0}")]
    Setup(String),
    /// The command itself is at fault, not the machine.
    #[error("{0}")]
    Command(String),
    #[error("the sandbox helper ended without a word; see the kernel log")]
    HelperDied,
}

impl SandboxError {
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Makes sandboxes of one kind.
pub trait Provider: Send + Sync {
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>>;
}

/// One sandbox. Dropping it kills everything inside.
pub trait Sandbox: Send + Sync {
    /// Both pipes, once.
    fn take_output(&mut self) -> Option<Output>;
    fn start(&mut self) -> BoxFuture<'_, Result<(), SandboxError>>;
    /// Until the payload has ended and nothing inside runs any more.
    fn wait(&mut self) -> BoxFuture<'_, Result<Exit, SandboxError>>;
    /// A handle that stops it from elsewhere, and one that measures it.
    fn stopper(&self) -> std::sync::Arc<dyn Stopper>;
    fn usage(&self) -> std::sync::Arc<dyn UsageProbe>;
    /// What was written, once.
    fn collect(&mut self) -> Option<Collected>;
    /// Removes what it left on the machine. Call it after `wait`, or instead of it.
    fn remove(self: Box<Self>) -> BoxFuture<'static, ()>;
}

pub trait Stopper: Send + Sync {
    fn stop(&self, how: Stop);
}

pub trait UsageProbe: Send + Sync {
    fn sample(&self) -> Sample;
}
