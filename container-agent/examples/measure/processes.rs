//! What other programs leave in `/proc`, in the tables of mounts and in the control groups, of ours alone.

use std::fs;
use std::path::{Path, PathBuf};

/// The control group that runc and Docker make theirs below, by its path in every hierarchy.
pub fn group() -> String {
    format!("/patchbay/measure-{}", std::process::id())
}

/// It is empty by now.
pub fn remove_group() {
    let table = mount_table();
    let hierarchies = table.lines().filter(|line| line.contains(" - cgroup"));
    for point in hierarchies.filter_map(mount_point) {
        let own = Path::new(point).join(group().trim_start_matches('/'));
        let _ = fs::remove_dir(&own);
        // The kernel refuses it while others have groups there.
        let _ = own.parent().map(fs::remove_dir);
    }
}

/// Engines leave their folders bound to themselves.
pub fn unmount_below(directory: &Path) {
    let table = mount_table();
    let points = table.lines().rev().filter_map(mount_point);
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}

fn mount_table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

fn mount_point(line: &str) -> Option<&str> {
    line.split(' ').nth(4)
}

/// What a program's processes occupy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// What is shared, in every process that has it.
    pub resident_kb: u64,
    /// What is shared, divided among those that have it.
    pub proportional_kb: u64,
}

impl Memory {
    /// Of a process and of all below it.
    pub fn of(pid: u32) -> Self {
        let mut sum = Self::default();
        let mut family = vec![pid];
        while let Some(pid) = family.pop() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            sum.resident_kb += kb(&text, "Rss:");
            sum.proportional_kb += kb(&text, "Pss:");
            family.extend(children(pid));
        }
        sum
    }
}

fn kb(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Every thread lists its own.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let files = threads.map(|thread| -> PathBuf { thread.path().join("children") });
    let texts: Vec<String> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    texts.iter().flat_map(|text| text.split_whitespace()).filter_map(|pid| pid.parse().ok()).collect()
}
