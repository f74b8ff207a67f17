//! What a run of the agent may leave on the machine besides processes: control groups, mounts, loop devices, directories.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use shared_contracts::hash::Sha256;

/// A directory for the runs of one test, and every run that was seen in it.
pub struct Ground {
    directory: tempfile::TempDir,
    instances: BTreeSet<String>,
}

impl Ground {
    pub fn new() -> Self {
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

    /// Every run that was seen, as the agent names its control groups and containers.
    pub fn seen(&self) -> &BTreeSet<String> {
        &self.instances
    }

    fn control_groups(&self) -> Vec<PathBuf> {
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

    /// Everything, but for what belongs to as many runs that go on.
    pub fn remains(&self, runs: usize) -> Vec<String> {
        let mut remains = Vec::new();
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
