//! What a dead agent left: found by its state directory, whose lock tells that it is dead. Mounts and processes
//! need no sweeping, because they end with the helper; control groups and directories do.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use shared_contracts::hash::Sha256;

use super::namespaces::cgroup::Hierarchies;
use super::oci;

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
            open_up(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn open_up(directory: &Path) -> std::io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
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
            fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
        }
        open_up(&tree).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&tree.join("closed/deeper")), mode(&outside)), (0o700, 0));
        remove_tree(&tree).unwrap();
        assert!(!tree.exists() && outside.exists());
    }
}
