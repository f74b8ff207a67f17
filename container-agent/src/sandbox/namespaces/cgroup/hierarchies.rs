//! Which controller is where on this machine, and where below it this agent may make groups.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::group::{Cgroup, kill_and_remove};
use super::{OWN, Version, write};

/// Where the agent itself goes when its group hands controllers down.
const LEAF: &str = "patchbay-agent";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
    Cpuacct,
    /// v1 only: every v2 group can be frozen.
    Freezer,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Memory, Self::Pids, Self::Cpu, Self::Cpuacct, Self::Freezer];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Freezer => "freezer",
        }
    }
}

/// Where each controller is on this machine: the directory below which this agent may make its own.
#[derive(Debug, Clone, Default)]
pub struct Hierarchies {
    found: BTreeMap<Controller, (Version, PathBuf)>,
    /// v2, with controllers or without: it kills and freezes, and a process can be born in it.
    unified: Option<PathBuf>,
}

impl Hierarchies {
    /// Reads this process's mount table and its own groups.
    pub fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own = match rustix::process::geteuid().is_root() {
            true => None,
            false => Some(read("/proc/self/cgroup")),
        };
        let controllers =
            |root: &Path| fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let mut all = Self::from_tables(&read("/proc/self/mountinfo"), own.as_deref(), controllers);
        let writable = |path: &Path| rustix::fs::access(path, Access::WRITE_OK).is_ok();
        all.found.retain(|_, (_, parent)| writable(parent));
        all.unified = all.unified.filter(|parent| writable(parent));
        all
    }

    /// `own`: the text of `/proc/self/cgroup` where groups are made below one's own.
    fn from_tables(mountinfo: &str, own: Option<&str>, controllers_of: impl Fn(&Path) -> String) -> Self {
        let below = |point: PathBuf, wanted: &dyn Fn(&str) -> bool| match own {
            None => Some(point),
            Some(text) => text.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (names, path) = rest.split_once(':')?;
                // Its group stays the one that it was started in.
                let path = path.strip_suffix(LEAF).filter(|above| above.ends_with('/')).unwrap_or(path);
                wanted(names).then(|| point.join(path.trim_matches('/')))
            }),
        };
        let mut all = Self::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let mut right = right.split(' ');
            let (kind, options) = (right.next().unwrap_or_default(), right.nth(1).unwrap_or_default());
            let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
            match kind {
                "cgroup" => {
                    for controller in Controller::ALL {
                        let named = |names: &str| names.split(',').any(|name| name == controller.name());
                        if named(options)
                            && let Some(parent) = below(point.clone(), &named)
                        {
                            all.found.insert(controller, (Version::V1, parent));
                        }
                    }
                }
                "cgroup2" => all.unified = below(point, &str::is_empty),
                _ => {}
            }
        }
        if let Some(parent) = &all.unified {
            let available = controllers_of(parent);
            for controller in Controller::ALL {
                if available.split_whitespace().any(|name| name == controller.name()) {
                    all.found.entry(controller).or_insert((Version::V2, parent.clone()));
                }
            }
            // v2 accounts CPU time without any controller: one group less to make, to enter, to remove.
            all.found.insert(Controller::Cpuacct, (Version::V2, parent.clone()));
            // It freezes, too, and lets what is frozen be killed.
            all.found.remove(&Controller::Freezer);
        }
        all
    }

    /// The groups that a process is in, whoever made them: to measure, not to change.
    pub fn of_process(pid: u32) -> std::io::Result<Cgroup> {
        let (mounts, own) =
            (fs::read_to_string("/proc/self/mountinfo")?, fs::read_to_string(format!("/proc/{pid}/cgroup"))?);
        let controllers =
            |group: &Path| fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
        let groups = Self::from_tables(&mounts, Some(&own), controllers);
        Ok(Cgroup { directories: groups.found, unified: None })
    }

    /// For doctor: `v1 at /sys/fs/cgroup/memory`, or none.
    pub fn describe(&self, controller: Controller) -> Option<String> {
        self.found.get(&controller).map(|(version, path)| {
            let version = if *version == Version::V1 { "v1" } else { "v2" };
            format!("{version} at {}", path.display())
        })
    }

    /// Whether a sandbox can be made to stand still.
    pub fn can_freeze(&self) -> bool {
        self.unified.is_some() || self.found.contains_key(&Controller::Freezer)
    }

    fn roots(&self) -> Vec<(Version, PathBuf)> {
        let unified = self.unified.iter().map(|path| (Version::V2, path.clone()));
        let mut roots: Vec<_> = self.found.values().cloned().chain(unified).collect();
        roots.sort_by(|a, b| a.1.cmp(&b.1));
        roots.dedup_by(|a, b| a.1 == b.1);
        roots
    }

    /// The parents of this instance's cgroups, one a hierarchy.
    fn instance_directories(&self, instance: &str) -> Vec<PathBuf> {
        self.roots().into_iter().map(|(_, root)| root.join(OWN).join(instance)).collect()
    }

    /// Makes this agent's own group ready to have others below it, which may mean to leave it. Call it before any process is
    /// started that goes on: it would stay there.
    pub fn settle(&self, instance: &str) -> std::io::Result<()> {
        for (version, root) in self.roots() {
            if version == Version::V2 {
                let parent = root.join(OWN).join(instance);
                fs::create_dir_all(&parent).map_err(|error| cannot_create(&parent, &error))?;
                delegate(&root, &parent)?;
            }
        }
        Ok(())
    }

    /// Makes the cgroups of one sandbox, without limits yet. Refused where memory or processes could not be limited.
    pub fn create(&self, instance: &str, name: &str) -> std::io::Result<Cgroup> {
        for needed in [Controller::Memory, Controller::Pids] {
            if !self.found.contains_key(&needed) {
                return Err(std::io::Error::other(format!(
                    "no {} controller that this agent may use: run it as root, or let it own its control groups \
                     (systemd: Delegate=yes), or accept executions without limits (limits = \"none\")",
                    needed.name()
                )));
            }
        }
        for (version, root) in self.roots() {
            make(version, &root, instance, name)
                // The last other agent went, and took what is above with it.
                .or_else(|_| make(version, &root, instance, name))?;
        }
        Ok(self.find(instance, name))
    }

    /// The cgroups of a sandbox that is there.
    pub fn find(&self, instance: &str, name: &str) -> Cgroup {
        let of = |root: &PathBuf| root.join(OWN).join(instance).join(name);
        Cgroup {
            directories: self
                .found
                .iter()
                .map(|(key, (version, root))| (*key, (*version, of(root))))
                .collect(),
            unified: self.unified.as_ref().map(of),
        }
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
    let parent = root.join(OWN).join(instance);
    let path = parent.join(name);
    if fs::create_dir(&path).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(&path).map_err(|error| cannot_create(&path, &error))?;
    if version == Version::V2 { delegate(root, &parent) } else { Ok(()) }
}

fn cannot_create(path: &Path, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("create {}: {error}", path.display()))
}

/// v2 hands a controller down one level at a time.
fn delegate(root: &Path, parent: &Path) -> std::io::Result<()> {
    const WANTED: [&str; 3] = ["memory", "pids", "cpu"];
    let read = |path: &Path, file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
    let available = read(root, "cgroup.controllers");
    let wanted: Vec<_> = available
        .split_whitespace()
        .filter(|name| WANTED.contains(name))
        .map(|name| format!("+{name}"))
        .collect();
    let is_done = |level: &Path| {
        let has = read(level, "cgroup.subtree_control");
        wanted.iter().all(|name| has.split_whitespace().any(|held| name.strip_prefix('+') == Some(held)))
    };
    // Usually by the first sandbox; and there is nothing to hand down where v1 has it all.
    if wanted.is_empty() || is_done(parent) {
        return Ok(());
    }
    for level in [root, &root.join(OWN), parent] {
        if is_done(level) {
            continue;
        }
        let control = level.join("cgroup.subtree_control");
        if write(&control, &wanted.join(" ")).is_err() && level == root {
            // A group with processes of its own cannot hand controllers down: this one is this agent's, which moves.
            leave(root)?;
            write(&control, &wanted.join(" ")).map_err(|error| not_alone(root, error))?;
        } else if level != root {
            write(&control, &wanted.join(" "))?;
        }
    }
    Ok(())
}

/// Moves this process out of its own group, into one below.
fn leave(own: &Path) -> std::io::Result<()> {
    let leaf = own.join(LEAF);
    fs::create_dir_all(&leaf)?;
    write(&leaf.join("cgroup.procs"), &std::process::id().to_string())
}

fn not_alone(own: &Path, error: std::io::Error) -> std::io::Error {
    if error.kind() != std::io::ErrorKind::ResourceBusy {
        return error;
    }
    std::io::Error::other(format!(
        "this agent must be alone in its control group {}, and other processes are in it: start it as a service \
         (systemd: Delegate=yes), or with `systemd-run --user --scope --property Delegate=yes`",
        own.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
34 25 0:30 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer";
    const UNIFIED: &str = "33 25 0:29 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn each_controller_is_taken_where_it_is() {
        let v1 = Hierarchies::from_tables(HYBRID, None, |_| String::new());
        assert_eq!(v1.describe(Controller::Freezer).as_deref(), Some("v1 at /sys/fs/cgroup/freezer"));
        assert!(v1.can_freeze() && v1.unified.is_none());
        let hybrid = Hierarchies::from_tables(&format!("{HYBRID}\n{UNIFIED}"), None, |_| "cpuset io".into());
        assert_eq!(hybrid.describe(Controller::Memory).as_deref(), Some("v1 at /sys/fs/cgroup/memory"));
        assert_eq!(
            hybrid.describe(Controller::Cpuacct).as_deref(),
            Some("v2 at /sys/fs/cgroup/unified"),
            "needs no controller"
        );
        // v2 freezes better.
        assert_eq!(hybrid.describe(Controller::Freezer), None);
        assert!(hybrid.can_freeze() && hybrid.unified.is_some());
        let pure = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let pure = Hierarchies::from_tables(pure, None, |_| "cpuset cpu io memory pids".into());
        assert_eq!(pure.describe(Controller::Memory).as_deref(), Some("v2 at /sys/fs/cgroup"));
        assert_eq!(pure.describe(Controller::Cpuacct).as_deref(), Some("v2 at /sys/fs/cgroup"));
        assert_eq!(pure.roots().len(), 1);
    }

    #[test]
    fn a_user_makes_groups_below_its_own() {
        let own = "4:memory:/users/7\n2:cpu,cpuacct:/\n0::/user.slice/agent.service\n";
        let found = Hierarchies::from_tables(&format!("{HYBRID}\n{UNIFIED}"), Some(own), |_| "pids".into());
        assert_eq!(
            found.describe(Controller::Memory).as_deref(),
            Some("v1 at /sys/fs/cgroup/memory/users/7")
        );
        // It left its own group, and comes back to it.
        let moved = own.replace("agent.service", "agent.service/patchbay-agent");
        let after =
            Hierarchies::from_tables(&format!("{HYBRID}\n{UNIFIED}"), Some(&moved), |_| "pids".into());
        assert_eq!((&after.found, &after.unified), (&found.found, &found.unified));
        assert_eq!(found.describe(Controller::Cpu).as_deref(), Some("v1 at /sys/fs/cgroup/cpu/"));
        let v2 = "v2 at /sys/fs/cgroup/unified/user.slice/agent.service";
        assert_eq!(found.describe(Controller::Pids).as_deref(), Some(v2));
    }

    #[test]
    fn the_last_agent_to_go_takes_the_common_parent_along() {
        let root = tempfile::tempdir().unwrap();
        let found = BTreeMap::from([(Controller::Pids, (Version::V1, root.path().to_owned()))]);
        let hierarchies = Hierarchies { found, unified: None };
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
