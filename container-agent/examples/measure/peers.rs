//! What is measured beside our sandbox. One that is not there, or does not work here, is named with the reason.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::bwrap::Bwrap;
use crate::docker::Docker;
use crate::runc::Runc;

/// The Docker API takes ten times as long as all others together.
const DOCKER_RUNS: usize = 30;

pub enum Peer {
    Bwrap(Bwrap),
    Runc(Runc),
    Docker(Docker),
}

impl Peer {
    /// Those that work here, each tried once. Only root's runc and Docker are like ours for root.
    pub async fn all(directory: &Path, workspace: &Path) -> Vec<Self> {
        let mut peers = Vec::new();
        peers.extend(found("bwrap", Bwrap::new(workspace)).map(Self::Bwrap));
        if rustix::process::geteuid().is_root() {
            peers.extend(found("runc", Runc::new(directory, workspace)).map(Self::Runc));
            peers.extend(found("Docker API", Docker::new(directory, workspace).await).map(Self::Docker));
        }
        peers
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Bwrap(_) => "bwrap",
            Self::Runc(_) => "runc",
            Self::Docker(_) => "Docker API",
        }
    }

    /// Whether it has its turn in this of so many runs: those of one that has fewer are spread over all.
    pub fn has_turn(&self, run: usize, runs: usize) -> bool {
        !matches!(self, Self::Docker(_)) || run.is_multiple_of((runs / DOCKER_RUNS).max(1))
    }

    pub async fn once(&self) -> Result<Duration> {
        match self {
            Self::Bwrap(bwrap) => bwrap.once(),
            Self::Runc(runc) => runc.once(),
            Self::Docker(docker) => docker.once().await,
        }
    }
}

/// Or a line that says why not.
pub fn found<P>(name: &str, peer: Result<P>) -> Option<P> {
    let missing = |error| println!("{}", json!({"peer": name, "missing": format!("{error}")}));
    peer.map_err(missing).ok()
}

/// Runs it once to its end.
pub fn tried(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => "not installed".to_owned(),
        _ => error.to_string(),
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()).into()),
    }
}

/// From its start to its exit.
pub fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let at = Instant::now();
    let status = command.status()?;
    let took = at.elapsed();
    match status.success() {
        true => Ok(took),
        false => Err(format!("{} ended with {status}", command.get_program().display()).into()),
    }
}
