//! Processes that a test started, and what those left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Orphans of this process's children become its own, so that none is missed.
pub fn adopt_orphans() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

/// As [`descendants`], in words.
pub fn remaining(spared: &[u32]) -> Vec<String> {
    // What is dead waits for this process, which its orphans came to.
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
    descendants(spared).into_iter().map(|process| format!("process {process}")).collect()
}

/// A process and its parent, from `/proc`.
pub fn parents() -> BTreeMap<u32, u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
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
