//! Builds a revision's tree under another name, then gives it its own: a tree that is there is whole.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use shared_contracts::workspaces::{FileMode, ManifestEntry};

use super::WorkspaceError;
use super::cache::Cache;

pub fn build(cache: &Cache, manifest: &[ManifestEntry], path: &Path) -> Result<(), WorkspaceError> {
    let temporary = cache.temporary();
    let built = fill(cache, manifest, &temporary).and_then(|()| {
        fs::rename(&temporary, path).map_err(WorkspaceError::io(format!("name the tree {}", path.display())))
    });
    if built.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    built
}

fn fill(cache: &Cache, manifest: &[ManifestEntry], root: &Path) -> Result<(), WorkspaceError> {
    fs::create_dir(root).map_err(WorkspaceError::io("make a tree"))?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))
        .map_err(WorkspaceError::io("open a tree"))?;
    let mut made = BTreeSet::new();
    // Links come last: while there is none, no path can lead out of the tree.
    let is_link = |entry: &&ManifestEntry| entry.mode == FileMode::Symlink;
    for entry in manifest.iter().filter(|entry| !is_link(entry)) {
        let target = root.join(entry.path.as_str());
        make_parent(root, entry, &mut made)?;
        cache
            .place(entry.sha256, entry.mode, &target)
            .map_err(WorkspaceError::io(format!("place `{}`", entry.path)))?;
    }
    for entry in manifest.iter().filter(is_link) {
        make_parent(root, entry, &mut made)?;
        let target = cache
            .read(entry.sha256)
            .and_then(|target| symlink(OsStr::from_bytes(&target), root.join(entry.path.as_str())));
        target.map_err(WorkspaceError::io(format!("place the link `{}`", entry.path)))?;
    }
    Ok(())
}

fn make_parent<'a>(
    root: &Path,
    entry: &'a ManifestEntry,
    made: &mut BTreeSet<&'a str>,
) -> Result<(), WorkspaceError> {
    let missing: Vec<_> = entry.path.ancestors().take_while(|directory| !made.contains(directory)).collect();
    for directory in missing.into_iter().rev() {
        fs::create_dir(root.join(directory))
            .map_err(WorkspaceError::io(format!("make the directory `{directory}`")))?;
        made.insert(directory);
    }
    Ok(())
}

/// For the cache's choice of what to evict.
pub fn mark_used(path: &Path) {
    let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
    let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty());
}
