//! The control groups of one sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_contracts::executions::Limits;

use super::hierarchies::Controller;
use super::{Version, write};
use crate::sandbox::Usage;

const CPU_PERIOD_US: u64 = 100_000;
const SWAP: &str = "swap space";

#[derive(Debug, Clone)]
pub struct Cgroup {
    pub(super) directories: BTreeMap<Controller, (Version, PathBuf)>,
    pub(super) unified: Option<PathBuf>,
}

/// How a process comes into a sandbox's groups.
#[derive(Debug, Default)]
pub struct Entry {
    /// v2: it is born there (`CLONE_INTO_CGROUP`).
    pub born_in: Option<OwnedFd>,
    /// v1: it writes itself into these. A thread that moves itself, and nothing else, does not wait for the lock that
    /// every fork of the machine takes.
    pub tasks: Vec<OwnedFd>,
}

/// A file that holds a limit, and what it is to hold.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    file: PathBuf,
    value: String,
    /// Whether a kernel may be without it.
    optional: bool,
}

impl Setting {
    /// Some twice: v1's two memory limits hold each other, and which must go first depends on what held before.
    pub fn apply_all(settings: &[Self]) -> std::io::Result<()> {
        let failed: Vec<_> = settings.iter().filter(|setting| setting.apply().is_err()).collect();
        failed.into_iter().try_for_each(Self::apply)
    }

    fn apply(&self) -> std::io::Result<()> {
        if self.optional && !self.file.exists() {
            return Ok(());
        }
        write(&self.file, &self.value)
    }
}

impl Cgroup {
    /// Each limit, by what it limits.
    fn named_settings(&self, limits: &Limits) -> Vec<(&'static str, Setting)> {
        let memory = (u64::from(limits.memory_mb) * 1024 * 1024).to_string();
        let quota = ((limits.cpu_cores * CPU_PERIOD_US as f64) as u64).max(1_000);
        let mut settings = Vec::new();
        for (controller, (version, directory)) in &self.directories {
            let mut set = |what, file: &str, value: String| {
                // A kernel may be without accounting of swap space.
                settings.push((what, Setting { file: directory.join(file), value, optional: what == SWAP }));
            };
            match (controller, version) {
                (Controller::Memory, Version::V1) => {
                    set("memory", "memory.limit_in_bytes", memory.clone());
                    set(SWAP, "memory.memsw.limit_in_bytes", memory.clone());
                }
                (Controller::Memory, Version::V2) => {
                    set("memory", "memory.max", memory.clone());
                    set(SWAP, "memory.swap.max", "0".into());
                }
                (Controller::Pids, _) => set("processes", "pids.max", limits.processes.to_string()),
                (Controller::Cpu, Version::V1) => {
                    set("CPU", "cpu.cfs_period_us", CPU_PERIOD_US.to_string());
                    set("CPU", "cpu.cfs_quota_us", quota.to_string());
                }
                (Controller::Cpu, Version::V2) => set("CPU", "cpu.max", format!("{quota} {CPU_PERIOD_US}")),
                (Controller::Cpuacct | Controller::Freezer, _) => {}
            }
        }
        settings
    }

    /// What makes these limits hold, for the helper to write.
    pub fn settings(&self, limits: &Limits) -> Vec<Setting> {
        self.named_settings(limits).into_iter().map(|(_, setting)| setting).collect()
    }

    /// The limits that do not hold while the sandbox runs, each with what is so instead.
    pub fn unmet(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        let no_swap_space = || fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() <= 1);
        let mut unmet = Vec::new();
        for (what, Setting { file, value, .. }) in self.named_settings(limits) {
            let inside = file.with_file_name("cgroup.procs");
            match fs::read_to_string(&file) {
                Ok(held) if held.trim() == value => {
                    if fs::read_to_string(inside).is_ok_and(|processes| processes.is_empty()) {
                        unmet.push((what, "set, but no process is held by it".into()));
                    }
                }
                Ok(held) => unmet.push((what, format!("`{}` instead of `{value}`", held.trim()))),
                Err(_) if what == SWAP && no_swap_space() => {}
                Err(error) => unmet.push((what, format!("{}: {error}", file.display()))),
            }
        }
        unmet
    }

    pub fn entry(&self) -> std::io::Result<Entry> {
        let v1 = self.directories.values().filter(|(version, _)| *version == Version::V1);
        let mut tasks: Vec<_> = v1.map(|(_, directory)| directory.join("tasks")).collect();
        tasks.sort();
        tasks.dedup();
        let open = |path: &PathBuf| fs::File::options().write(true).open(path).map(OwnedFd::from);
        Ok(Entry {
            born_in: self.unified.as_ref().map(fs::File::open).transpose()?.map(OwnedFd::from),
            tasks: tasks.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// Blocks until every process inside stands still.
    pub fn freeze(&self) -> std::io::Result<()> {
        if let Some(unified) = &self.unified {
            write(&unified.join("cgroup.freeze"), "1")?;
            return settle(|| {
                fs::read_to_string(unified.join("cgroup.events")).is_ok_and(|text| text.contains("frozen 1"))
            });
        }
        let state =
            self.freezer().ok_or_else(|| std::io::Error::other("this machine's kernel cannot freeze"))?;
        write(&state, "FROZEN")?;
        settle(|| fs::read_to_string(&state).is_ok_and(|text| text.trim() == "FROZEN"))
    }

    pub fn thaw(&self) -> std::io::Result<()> {
        match (&self.unified, self.freezer()) {
            (Some(unified), _) => write(&unified.join("cgroup.freeze"), "0"),
            (None, Some(state)) => write(&state, "THAWED"),
            (None, None) => Ok(()),
        }
    }

    fn freezer(&self) -> Option<PathBuf> {
        self.directories.get(&Controller::Freezer).map(|(_, directory)| directory.join("freezer.state"))
    }

    pub fn usage(&self) -> Usage {
        let number = |controller, v1: &str, v2: &str| {
            let (version, directory) = self.directories.get(&controller)?;
            let file = if *version == Version::V1 { v1 } else { v2 };
            fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok()
        };
        let field = |controller, v1: &str, v2: &str, key: &str| {
            let (version, directory) = self.directories.get(&controller)?;
            let file = if *version == Version::V1 { v1 } else { v2 };
            let text = fs::read_to_string(directory.join(file)).ok()?;
            text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
        };
        let cpu_us = match self.directories.get(&Controller::Cpuacct) {
            Some((Version::V1, _)) => number(Controller::Cpuacct, "cpuacct.usage", "").map(|ns| ns / 1_000),
            _ => field(Controller::Cpuacct, "", "cpu.stat", "usage_usec "),
        };
        let memory = |v1, v2| number(Controller::Memory, v1, v2).unwrap_or_default();
        let processes = number(Controller::Pids, "pids.current", "pids.current").unwrap_or_default();
        let killed = field(Controller::Memory, "memory.oom_control", "memory.events", "oom_kill ");
        Usage {
            memory_bytes: memory("memory.usage_in_bytes", "memory.current"),
            memory_peak_bytes: memory("memory.max_usage_in_bytes", "memory.peak"),
            cpu_us: cpu_us.unwrap_or_default(),
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            out_of_memory_kills: killed.unwrap_or_default(),
            refused_forks: field(Controller::Pids, "pids.events", "pids.events", "max ").unwrap_or_default(),
            disk_full: false,
        }
    }

    /// Kills what is inside and removes the directories.
    pub fn remove(&self) {
        let mut directories: Vec<_> = self.directories.values().map(|(_, directory)| directory).collect();
        directories.extend(&self.unified);
        directories.sort();
        directories.dedup();
        directories.into_iter().for_each(|directory| kill_and_remove(directory));
    }
}

/// The kernel freezes by and by: usually within a millisecond.
fn settle(done: impl Fn() -> bool) -> std::io::Result<()> {
    for _ in 0..2_000 {
        if done() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(std::io::Error::other("it did not come to a standstill within 2 s"))
}

pub(super) fn kill_and_remove(directory: &Path) {
    for attempt in 0..100 {
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return;
        }
        let _ = fs::write(directory.join("cgroup.kill"), "1");
        // What v1 has frozen cannot die.
        let _ = fs::write(directory.join("freezer.state"), "THAWED");
        for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(if attempt < 20 { 1 } else { 10 }));
    }
    tracing::warn!(cgroup = %directory.display(), "a control group could not be removed; the next start tries again");
}
