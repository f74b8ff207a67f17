//! The sandbox: where a coding agent's command runs. This file is the seam; a back end is one more folder beside
//! [`namespaces`] and `oci`, and one more arm in [`crate::offer`].
//!
//! ```text
//!   prepare ──▶ start ──▶ wait ──▶ collect ──▶ remove        Control: signal, freeze, thaw, usage at any time
//! ```
//! What goes in: a [`SandboxSpec`]. What comes out: the payload's output, a listener for its way to the network, an
//! [`Exit`], [`Usage`], and the changed files as directory descriptors.

pub mod namespaces;
pub mod oci;
pub mod outcome;
pub mod probe;
pub mod sweep;
pub mod trial;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use shared_contracts::dispatch::Lease;
use shared_contracts::executions::{Limits, Terminal};
use shared_contracts::ids::{ProjectId, TaskId};

/// Where the payload finds its way out, if it has one.
pub const PROXY: &str = "127.0.0.1:3128";
/// The uid and gid that the payload sees as its own.
pub const INNER_ID: u32 = 1000;
/// A directory in memory that only the payload can read: secrets that are files.
pub const SECRETS: &str = "/run/secrets";

/// What to run, over what, within which limits.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// Unique on this machine together with the instance: names control groups and containers.
    pub name: String,
    /// Whose it is; nobody's where it is only a trial.
    pub owner: Option<Owner>,
    /// A directory of this execution's own, for mount points.
    pub directory: PathBuf,
    pub mounts: Mounts,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    pub egress: Egress,
    /// A pseudo-terminal instead of two pipes.
    pub terminal: Option<Terminal>,
    /// Which of the instance's uids.
    pub slot: u32,
}

/// What a sandbox is labelled with, so that a later agent knows what it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub project_id: ProjectId,
    pub task_id: TaskId,
    pub lease: Lease,
}

/// What the payload sees of files.
#[derive(Debug, Clone)]
pub struct Mounts {
    /// The workspace's tree, shared and never written: what is changed goes elsewhere.
    pub workspace: PathBuf,
    /// The system below it; none is the machine's own programs. To an engine, the name of one of its images; none is the
    /// one in its settings.
    pub image: Option<PathBuf>,
    /// Files that are there from the beginning: the task's prompt, secrets.
    pub files: Vec<PlacedFile>,
}

/// A file of the payload's own at a path inside: below `/tmp`, or below [`SECRETS`] in memory and read-only.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlacedFile {
    pub path: PathBuf,
    pub text: String,
}

impl std::fmt::Debug for PlacedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlacedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The way to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Egress {
    /// Only its own loopback.
    Nothing,
    /// A listener at [`PROXY`] inside, which is handed out: the agent answers it.
    Proxy,
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

/// What a sandbox uses, and what it has met, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub memory_bytes: u64,
    pub memory_peak_bytes: u64,
    pub cpu_us: u64,
    pub processes: u32,
    /// Processes that the kernel killed because the memory limit was reached.
    pub out_of_memory_kills: u64,
    /// Forks refused because the process limit was reached.
    pub refused_forks: u64,
    /// Nothing more can be written: bytes or files are used up.
    pub disk_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM to the payload's process group: it may clean up.
    Terminate,
    /// SIGKILL to everything inside, frozen or not.
    Kill,
}

/// What the payload prints. With a pseudo-terminal both are one.
#[derive(Debug)]
pub struct Output {
    pub stdout: OwnedFd,
    pub stderr: Option<OwnedFd>,
}

/// What a started sandbox hands out.
#[derive(Debug)]
pub struct Started {
    pub output: Output,
    /// Of the sandbox's loopback, at [`PROXY`]; there if the spec asked for it.
    pub egress: Option<TcpListener>,
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
    /// Some of what can go wrong shows only at the start.
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>>;
    /// Ends what it kept for the next sandbox. Call it when none is left.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One sandbox. Dropping it kills everything inside.
pub trait Sandbox: Send + Sync {
    /// Returns when the payload runs.
    fn start(&mut self) -> BoxFuture<'_, Result<Started, SandboxError>>;
    /// Until the payload has ended and nothing inside runs any more.
    fn wait(&mut self) -> BoxFuture<'_, Result<Exit, SandboxError>>;
    fn control(&self) -> Arc<dyn Control>;
    /// What was written, once; after `wait`.
    fn collect(&mut self) -> BoxFuture<'_, Result<Collected, SandboxError>>;
    /// Removes what it left on the machine. Call it after `wait`, or instead of it.
    fn remove(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// Steers and measures a sandbox from elsewhere while somebody waits for it. Of one that is gone nothing is changed and
/// nothing is measured.
pub trait Control: Send + Sync {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), SandboxError>>;
    /// Every process inside stands still until `thaw`, and uses no CPU.
    fn freeze(&self) -> BoxFuture<'_, Result<(), SandboxError>>;
    fn thaw(&self) -> BoxFuture<'_, Result<(), SandboxError>>;
    fn usage(&self) -> BoxFuture<'_, Usage>;
}
