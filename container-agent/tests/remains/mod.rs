//! What a run of the agent may leave on the machine: processes, control groups, mounts, loop devices, directories.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use shared_contracts::hash::Sha256;

/// A directory for the runs of one test, and every run that was seen in it.
pub struct Ground {
    directory: tempfile::TempDir,
    /// As the agent names its control groups.
    instances: BTreeSet<String>,
}

impl Ground {
    /// Orphans of this process's children become its own, so that none is missed.
    pub fn new() -> Self {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let directory = tempfile::Builder::new().prefix("patchbay-remains-").tempdir().unwrap();
        Self { directory, instances: BTreeSet::new() }
    }

    /// `TMPDIR` of its runs.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where `try` keeps a directory a run.
    pub fn state(&self) -> PathBuf {
        self.path().join("patchbay-try")
    }

    /// Call it while a run is there.
    pub fn look(&mut self) {
        for directory in entries(&self.state()) {
            let mut instance = Sha256::of(directory.as_os_str().as_encoded_bytes()).to_string();
            instance.truncate(12);
            self.instances.insert(instance);
        }
    }

    /// How many runs were seen.
    pub fn seen(&self) -> usize {
        self.instances.len()
    }

    pub fn control_groups(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let hierarchies = table.lines().filter(|line| line.contains(" - cgroup"));
        let points = hierarchies
            .filter_map(|line| line.split(' ').nth(4))
            .map(|point| Path::new(point).join("patchbay"));
        points
            .flat_map(|point| self.instances.iter().map(move |instance| point.join(instance)))
            .filter(|group| group.exists())
            .collect()
    }

    /// Everything, but for what belongs to these: processes of this test, and a number of runs that go on.
    pub fn remains(&self, spared: &[u32]) -> Vec<String> {
        // What is dead waits for this process, which its orphans came to.
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
        let mut remains: Vec<_> =
            descendants(spared).into_iter().map(|process| format!("process {process}")).collect();
        let runs = spared.len();
        let groups = self.control_groups();
        let hierarchies = groups.iter().filter_map(|group| group.parent()).collect::<BTreeSet<_>>().len();
        if groups.len() > runs * hierarchies {
            remains.extend(groups.iter().map(|group| format!("control group {}", group.display())));
        }
        let directories = entries(&self.state());
        if directories.len() > runs {
            remains.extend(directories.iter().map(|directory| format!("directory {}", directory.display())));
        }
        let own = self.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        remains.extend(mounts.lines().filter(|line| line.contains(own)).map(|line| format!("mount {line}")));
        for device in entries(Path::new("/sys/block")) {
            let file = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
            remains.extend(file.contains(own).then(|| format!("loop device of {file}")));
        }
        remains
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// A process and its parent, from `/proc`.
pub fn parents() -> BTreeMap<u32, u32> {
    let pids =
        entries(Path::new("/proc")).into_iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before may hold anything; what is dead and only waits to be reaped is no process any more.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        (state != "Z" && state != "X").then(|| Some((pid, fields.next()?.parse().ok()?)))?
    })
    .collect()
}

/// Everything below `ancestor`, nearest first.
pub fn below(ancestor: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Processes that this test started, or that theirs left behind, without those of `spared`.
pub fn descendants(spared: &[u32]) -> Vec<u32> {
    let parents = parents();
    let own = std::process::id();
    let mut kept: BTreeSet<u32> = spared.iter().copied().collect();
    kept.extend(spared.iter().flat_map(|pid| below(*pid, &parents)));
    below(own, &parents).into_iter().filter(|pid| !kept.contains(pid)).collect()
}
