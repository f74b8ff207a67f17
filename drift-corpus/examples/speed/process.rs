//! Whole processes, from start to end, on a file that is put back before each run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use drift_corpus::peers::Peer;

use crate::measure::{compared, median, not_measured};
use crate::text::{Edited, PATH};

const ROUNDS: usize = 101;

struct Run {
    name: &'static str,
    bar: f64,
    command: Command,
    times: Vec<Duration>,
}

impl Run {
    fn new(name: &'static str, bar: f64, command: Command) -> Self {
        Self { name, bar, command, times: Vec::with_capacity(ROUNDS) }
    }

    /// The file as it was, the process, and a look at what it left.
    fn once(&mut self, root: &Path, edited: &Edited) -> Result<Duration> {
        let file = root.join(PATH);
        std::fs::write(&file, &edited.before)?;
        let command = self.command.current_dir(root).stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let status = command.stderr(Stdio::null()).status()?;
        let took = started.elapsed();
        ensure!(status.success(), "it failed ({status})");
        ensure!(std::fs::read_to_string(&file)? == edited.after, "it left other bytes than wanted");
        Ok(took)
    }
}

pub fn figures(patchctl: &Path, peers: &Path) -> Result<()> {
    let edited = Edited::new()?;
    let scratch = tempfile::tempdir().context("a scratch folder")?;
    let root = scratch.path().join("tree");
    std::fs::create_dir(&root)?;
    std::fs::write(scratch.path().join("patch"), &edited.diff)?;

    let mut runs = vec![Run::new("patchctl", 1.0, Command::new(patchctl))];
    runs[0].command.args(["apply", "--root", ".", "../patch"]);
    runs[0].command.env("XDG_STATE_HOME", scratch.path().join("state"));
    let git = |program| {
        let mut command = Command::new(program);
        command.args(["apply", "../patch"]).env("GIT_CEILING_DIRECTORIES", scratch.path());
        command
    };
    let codex = |program| {
        let mut command = Command::new(program);
        command.arg(&edited.codex);
        command
    };
    let mut missing = Vec::new();
    let mut beside = |peer: Peer, bar, command: &dyn Fn(PathBuf) -> Command| match peer.program(peers) {
        Ok(program) => runs.push(Run::new(peer.name(), bar, command(program))),
        Err(why) => missing.push((peer.name(), bar, format!("{why:#}"))),
    };
    beside(Peer::GitApply, 1.2, &git);
    beside(Peer::CodexApplyPatch, 2.0, &codex);
    // In turns, so that what else the machine does falls on all. The first round fills caches.
    for round in 0..=ROUNDS {
        for run in &mut runs {
            let took = run.once(&root, &edited).with_context(|| format!("running {}", run.name))?;
            if round > 0 {
                run.times.push(took);
            }
        }
    }
    let what = format!("whole process, {}", Edited::WHAT);
    let mut medians = runs.into_iter().map(|run| (run.name, run.bar, median(run.times)));
    let (_, _, ours) = medians.next().context("patchctl ran")?;
    for (name, bar, theirs) in medians {
        compared(&what, ours, name, theirs, bar);
    }
    for (name, bar, why) in missing {
        not_measured(&what, ours, name, &why, bar);
    }
    Ok(())
}
