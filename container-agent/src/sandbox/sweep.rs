//! What a dead agent left: found by its state directory, whose lock tells that it is dead. Mounts and processes
//! need no sweeping, because they end with the helper; control groups and directories do.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use shared_contracts::hash::Sha256;

use super::namespaces::cgroup::Hierarchies;
use super::oci;
use crate::beneath;

/// Held as long as the agent lives; the kernel gives it up when the process ends, however it ends.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("cannot use the state directory {path}: {source}; name another one with --state-dir")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "another agent uses the state directory {path}; stop it, or give this one a directory of its own (--state-dir)"
    )]
    Held { path: PathBuf },
    #[error("{path} belongs to another user; remove it, or set TMPDIR to a directory of your own")]
    Foreign { path: PathBuf },
}

impl StateLock {
    pub fn take(state_directory: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { path: state_directory.to_owned(), source };
        fs::create_dir_all(state_directory).map_err(io)?;
        let path = state_directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held { path: state_directory.to_owned() }),
            Err(error) => Err(io(error.into())),
        }
    }
}

/// Names everything of one agent on this machine: two agents with two state directories never meet.
pub fn instance_of(state_directory: &Path) -> String {
    let path = state_directory.canonicalize().unwrap_or_else(|_| state_directory.to_owned());
    let mut name = Sha256::of(path.as_os_str().as_encoded_bytes()).to_string();
    name.truncate(12);
    name
}

/// Removes this instance's leftover control groups. Call it with the lock held and nothing running.
pub fn sweep_cgroups(instance: &str) {
    let leftovers = Hierarchies::detect().sweep(instance);
    if leftovers > 0 {
        tracing::info!(leftovers, "removed control groups that an earlier run left behind");
    }
}

/// Where `try` keeps its directories: a place for each user, who must be the one who made it.
pub fn try_parent() -> Result<PathBuf, LockError> {
    let user = rustix::process::geteuid().as_raw();
    let name = if user == 0 { "patchbay-try".to_owned() } else { format!("patchbay-try-{user}") };
    let path = std::env::temp_dir().join(name);
    if fs::create_dir(&path).is_err()
        && fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir() || found.uid() != user)
    {
        return Err(LockError::Foreign { path });
    }
    Ok(path)
}

/// A directory of one short run's own, with an instance of its own.
pub struct Scratch {
    pub path: PathBuf,
    pub instance: String,
    /// What had to be made above it, deepest first.
    made: Vec<PathBuf>,
    _lock: StateLock,
}

impl Scratch {
    pub fn make(parent: &Path) -> Result<Self, LockError> {
        sweep_dead(parent);
        let made = parent.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        let attempt = || {
            let path = parent.join(format!("{:08x}", crate::clock::random() as u32));
            StateLock::take(&path).map(|lock| (path, lock))
        };
        // Another one's sweep or end may come between the directory and its lock.
        let (path, lock) = attempt().or_else(|_| attempt()).or_else(|_| attempt())?;
        Ok(Self { instance: instance_of(&path), path, made, _lock: lock })
    }

    /// Nothing may run in it any more.
    pub fn remove(self) {
        sweep_cgroups(&self.instance);
        let _ = remove_tree(&self.path);
        if let Some(parent) = self.path.parent() {
            let _ = fs::remove_dir(parent);
        }
        for path in &self.made {
            let _ = fs::remove_dir(path);
        }
    }
}

/// Removes a directory that a sandbox wrote to. In it may be directories that even their owner cannot enter: overlayfs
/// makes one, a payload any number. Nothing may run in it any more.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            open_up(&File::open(path)?.into())?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// By descriptors: a payload can make paths that are longer than the kernel takes.
fn open_up(directory: &OwnedFd) -> std::io::Result<()> {
    for entry in beneath::list(directory, Path::new(""))? {
        if entry.kind == FileType::Directory {
            rustix::fs::chmodat(directory, &entry.name, Mode::RWXU, AtFlags::empty())?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            open_up(&beneath::open(directory, Path::new(&entry.name), flags)?)?;
        }
    }
    Ok(())
}

/// Removes what dead short runs left.
fn sweep_dead(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if let Ok(lock) = StateLock::take(&path) {
            Hierarchies::detect().sweep(&instance_of(&path));
            oci::mounts::unmount_below(&path);
            let _ = remove_tree(&path);
            drop(lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_directories_are_opened_and_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (tree, outside) = (directory.path().join("tree"), directory.path().join("outside"));
        fs::create_dir_all(tree.join("closed/deeper")).unwrap();
        fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("closed/link")).unwrap();
        for path in [&tree.join("closed/deeper"), &tree.join("closed"), &outside] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        open_up(&File::open(&tree).unwrap().into()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&tree.join("closed/deeper")), mode(&outside)), (0o700, 0));
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_takes() {
        let directory = tempfile::tempdir().unwrap();
        let root: OwnedFd = File::open(directory.path()).unwrap().into();
        let (name, flags) = ("a name of twenty bytes", OFlags::RDONLY | OFlags::DIRECTORY);
        let mut at = root.try_clone().unwrap();
        for _ in 0..300 {
            rustix::fs::mkdirat(&at, name, Mode::RWXU).unwrap();
            at = beneath::open(&at, Path::new(name), flags).unwrap();
        }
        rustix::fs::fchmod(&at, Mode::empty()).unwrap();
        open_up(&root).unwrap();
        assert_eq!(Mode::from_raw_mode(rustix::fs::fstat(&at).unwrap().st_mode), Mode::RWXU);
    }
}
