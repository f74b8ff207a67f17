//! Control groups, v1 and v2, each controller where this machine has it. Owns only directories below
//! `<hierarchy>/patchbay/<instance>/`; never looks at another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared_contracts::executions::Limits;

use super::Sample;

/// The directory that every agent's cgroups are below.
const OWN: &str = "patchbay";
const CPU_PERIOD_US: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    Cpuacct,
}

impl Controller {
    const ALL: [Self; 4] = [Self::Memory, Self::Pids, Self::Cpu, Self::Cpuacct];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Where each controller is on this machine.
#[derive(Debug, Clone, Default)]
pub struct Hierarchies {
    found: BTreeMap<Controller, (Version, PathBuf)>,
}

impl Hierarchies {
    /// Reads this process's mount table.
    pub fn detect() -> Self {
        Self::from_mountinfo(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(), |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        })
    }

    fn from_mountinfo(mountinfo: &str, controllers_of: impl Fn(&Path) -> String) -> Self {
        let mut found = BTreeMap::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            match kind {
                "cgroup" => {
                    for controller in Controller::ALL {
                        if options.split(',').any(|option| option == controller.name()) {
                            found.insert(controller, (Version::V1, point.clone()));
                        }
                    }
                }
                "cgroup2" => unified = Some(point),
                _ => {}
            }
        }
        if let Some(root) = unified {
            let available = controllers_of(&root);
            for controller in Controller::ALL {
                if available.split_whitespace().any(|name| name == controller.name()) {
                    found.entry(controller).or_insert((Version::V2, root.clone()));
                }
            }
            // v2 accounts CPU time with the cpu controller.
            if let Some((Version::V2, root)) = found.get(&Controller::Cpu).cloned() {
                found.entry(Controller::Cpuacct).or_insert((Version::V2, root));
            }
        }
        Self { found }
    }

    /// For doctor: `v1 at /sys/fs/cgroup/memory`, or none.
    pub fn describe(&self, controller: Controller) -> Option<String> {
        self.found.get(&controller).map(|(version, path)| {
            let version = if *version == Version::V1 { "v1" } else { "v2" };
            format!("{version} at {}", path.display())
        })
    }

    fn roots(&self) -> Vec<(Version, PathBuf)> {
        let mut roots: Vec<_> = self.found.values().cloned().collect();
        roots.sort_by(|a, b| a.1.cmp(&b.1));
        roots.dedup_by(|a, b| a.1 == b.1);
        roots
    }

    /// The parents of this instance's cgroups, one a hierarchy.
    fn instance_directories(&self, instance: &str) -> Vec<PathBuf> {
        self.roots().into_iter().map(|(_, root)| root.join(OWN).join(instance)).collect()
    }

    /// Makes the cgroups of one sandbox with its limits.
    pub fn create(&self, instance: &str, name: &str, limits: &Limits) -> std::io::Result<Cgroup> {
        for (version, root) in self.roots() {
            make(version, &root, instance, name)
                // The last other agent went, and took what is above with it.
                .or_else(|_| make(version, &root, instance, name))?;
        }
        let cgroup = self.find(instance, name);
        if let Err(error) = cgroup.limit(limits) {
            cgroup.remove();
            return Err(error);
        }
        Ok(cgroup)
    }

    /// The cgroups of a sandbox that is there.
    pub fn find(&self, instance: &str, name: &str) -> Cgroup {
        let of = |(controller, (version, root)): (&Controller, &(Version, PathBuf))| {
            (*controller, (*version, root.join(OWN).join(instance).join(name)))
        };
        Cgroup { directories: self.found.iter().map(of).collect() }
    }

    /// Kills what still runs in this instance's cgroups and removes them. Returns how many were left over.
    pub fn sweep(&self, instance: &str) -> usize {
        let mut leftovers = 0;
        for parent in self.instance_directories(instance) {
            let entries = fs::read_dir(&parent).into_iter().flatten().flatten();
            for entry in entries.filter(|entry| entry.path().is_dir()) {
                leftovers += 1;
                kill_and_remove(&entry.path());
            }
            let _ = fs::remove_dir(&parent);
            // The kernel refuses it while another agent has its own below.
            parent.parent().map(fs::remove_dir);
        }
        leftovers
    }
}

fn make(version: Version, root: &Path, instance: &str, name: &str) -> std::io::Result<()> {
    if version == Version::V2 {
        delegate(root, instance)?;
    }
    create_directories(&root.join(OWN).join(instance).join(name))
}

fn create_directories(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
        .map_err(|error| std::io::Error::new(error.kind(), format!("create {}: {error}", path.display())))
}

fn write(path: &Path, value: &str) -> std::io::Result<()> {
    fs::write(path, value).map_err(|error| {
        std::io::Error::new(error.kind(), format!("write `{value}` to {}: {error}", path.display()))
    })
}

/// v2 hands a controller down one level at a time.
fn delegate(root: &Path, instance: &str) -> std::io::Result<()> {
    let available = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let wanted: Vec<_> = available
        .split_whitespace()
        .filter(|name| matches!(*name, "memory" | "pids" | "cpu"))
        .map(|name| format!("+{name}"))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let parent = root.join(OWN).join(instance);
    create_directories(&parent)?;
    for level in [root, &root.join(OWN), &parent] {
        write(&level.join("cgroup.subtree_control"), &wanted.join(" "))?;
    }
    Ok(())
}

fn kill_and_remove(directory: &Path) {
    for attempt in 0..100 {
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            return;
        }
        let _ = fs::write(directory.join("cgroup.kill"), "1");
        for pid in fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default().lines() {
            if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        std::thread::sleep(Duration::from_millis(if attempt < 20 { 1 } else { 10 }));
    }
    tracing::warn!(cgroup = %directory.display(), "a control group could not be removed; the next start tries again");
}

const SWAP: &str = "swap space";

struct Setting {
    what: &'static str,
    file: PathBuf,
    value: String,
}

/// The cgroups of one sandbox.
#[derive(Debug)]
pub struct Cgroup {
    directories: BTreeMap<Controller, (Version, PathBuf)>,
}

impl Cgroup {
    /// Each limit: the file that holds it, what it holds.
    fn settings(&self, limits: &Limits) -> Vec<Setting> {
        let memory = (u64::from(limits.memory_mb) * 1024 * 1024).to_string();
        let quota = ((limits.cpu_cores * CPU_PERIOD_US as f64) as u64).max(1_000);
        let mut settings = Vec::new();
        for (controller, (version, directory)) in &self.directories {
            let mut set = |what, file: &str, value: String| {
                settings.push(Setting { what, file: directory.join(file), value });
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
                (Controller::Cpuacct, _) => {}
            }
        }
        settings
    }

    fn limit(&self, limits: &Limits) -> std::io::Result<()> {
        for Setting { what, file, value } in self.settings(limits) {
            // A kernel may be without accounting of swap space.
            if what != SWAP || file.exists() {
                write(&file, &value)?;
            }
        }
        Ok(())
    }

    /// The limits that do not hold while the sandbox runs, each with what is so instead.
    pub fn unmet(&self, limits: &Limits) -> Vec<(&'static str, String)> {
        let no_swap_space = || fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() <= 1);
        let mut unmet = Vec::new();
        for Setting { what, file, value } in self.settings(limits) {
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

    /// The files through which a process enters.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            self.directories.values().map(|(_, directory)| directory.join("cgroup.procs")).collect();
        files.sort();
        files.dedup();
        files
    }

    pub fn sample(&self) -> Sample {
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
        let processes = number(Controller::Pids, "pids.current", "pids.current").unwrap_or_default();
        Sample {
            memory_bytes: number(Controller::Memory, "memory.usage_in_bytes", "memory.current")
                .unwrap_or_default(),
            memory_peak_bytes: number(Controller::Memory, "memory.max_usage_in_bytes", "memory.peak")
                .unwrap_or_default(),
            cpu_us: cpu_us.unwrap_or_default(),
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            out_of_memory_kills: field(
                Controller::Memory,
                "memory.oom_control",
                "memory.events",
                "oom_kill ",
            )
            .unwrap_or_default(),
            refused_forks: field(Controller::Pids, "pids.events", "pids.events", "max ").unwrap_or_default(),
        }
    }

    /// Kills what is inside and removes the directories.
    pub fn remove(&self) {
        let mut directories: Vec<_> = self.directories.values().map(|(_, directory)| directory).collect();
        directories.sort();
        directories.dedup();
        directories.into_iter().for_each(|directory| kill_and_remove(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
33 25 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn each_controller_is_taken_where_it_is() {
        let hybrid = Hierarchies::from_mountinfo(HYBRID, |_| "cpuset io".into());
        assert_eq!(hybrid.describe(Controller::Memory).as_deref(), Some("v1 at /sys/fs/cgroup/memory"));
        assert_eq!(hybrid.describe(Controller::Cpuacct), None);
        let pure = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let pure = Hierarchies::from_mountinfo(pure, |_| "cpuset cpu io memory pids".into());
        assert_eq!(pure.describe(Controller::Memory).as_deref(), Some("v2 at /sys/fs/cgroup"));
        assert_eq!(pure.describe(Controller::Cpuacct).as_deref(), Some("v2 at /sys/fs/cgroup"));
        assert_eq!(pure.roots().len(), 1);
    }

    #[test]
    fn the_last_agent_to_go_takes_the_common_parent_along() {
        let root = tempfile::tempdir().unwrap();
        let found = BTreeMap::from([(Controller::Pids, (Version::V1, root.path().to_owned()))]);
        let hierarchies = Hierarchies { found };
        let own = root.path().join(OWN);
        for path in ["one/execution", "other"] {
            fs::create_dir_all(own.join(path)).unwrap();
        }
        assert_eq!(hierarchies.sweep("one"), 1);
        assert!(!own.join("one").exists() && own.join("other").exists(), "another agent's stays");
        assert_eq!(hierarchies.sweep("other"), 0);
        assert!(!own.exists());
    }
}
