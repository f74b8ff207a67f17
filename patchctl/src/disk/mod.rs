//! Changes to a tree on disk: all of them or none, whenever and whoever is killed.
//!
//! A change of one file is one rename. Anything more goes by a journal, a hidden folder in the root: new files are
//! written there (`stage`), the commit record gets its name (`record`: the commit point), then every file is moved
//! into place (`settle`). Old files stay in the journal until the end, so that a step that fails takes all back. Two
//! processes see to it (`guardian`): whichever is killed, the other finishes; should both be, the next command does.
//! All of that happens under one lock, an `flock` of the root itself, which the two share.

mod beneath;
mod guardian;
mod journal;
mod record;
mod settle;
mod single;
mod snapshot;
mod stage;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use patch_engine::FileChange;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

pub use guardian::WORKER_KILLED;
pub use journal::Recovered;
pub use snapshot::{DiskSnapshot, Given, Obstacle};

/// The journal's name in the root. Nothing a patch says may touch it.
pub const JOURNAL: &str = ".patchbay-apply";

#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot {doing} {path}: {}", std::io::Error::from(*source))]
    Io { doing: &'static str, path: String, source: Errno },
    #[error("{path} was changed by somebody else meanwhile; run it again")]
    Changed { path: String },
    #[error("{path} lies on another file system than the root: apply its part with --root there")]
    OtherFileSystem { path: String },
    #[error(
        "{JOURNAL} is no journal of this tree and this user (a copy of one, or made by somebody else); look at what \
         it holds, then remove it"
    )]
    ForeignJournal,
    #[error(
        "{JOURNAL} was damaged, as by a power loss without --durable ({why}); compare the tree, then remove it"
    )]
    DamagedJournal { why: String },
    #[error(
        "{cause}; files are in between: {JOURNAL} holds what is missing, and the next run finishes or takes it back"
    )]
    Unfinished { cause: Box<DiskError> },
    #[error(
        "the process that changes the files was killed; files may be in between: the next run finishes or takes it back"
    )]
    WorkerKilled,
}

impl DiskError {
    pub(crate) fn io(doing: &'static str, path: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// A tree that nobody else applies to while this value lives.
pub struct Tree {
    root: OwnedFd,
    /// Without links: what the state folder is named by.
    path: PathBuf,
    device: u64,
}

impl Tree {
    /// Waits for its turn, then finishes or takes back what a run before left half done.
    pub fn open(root: &Path) -> Result<(Self, Recovered), DiskError> {
        let name = || root.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(DiskError::io("open", name()))?;
        let stat = rustix::fs::fstat(&fd).map_err(DiskError::io("read", name()))?;
        let path = path_of(&fd, root);
        lock(&fd).map_err(DiskError::io("lock", name()))?;
        let recovered = journal::recover(fd.as_fd())?;
        Ok((Self { root: fd, path, device: stat.st_dev }, recovered))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a planned change in place. `outside` is a folder outside the tree: one file may wait there for its rename,
    /// and the journal for its next run.
    pub fn commit(
        &self,
        changes: &[FileChange],
        snapshot: &DiskSnapshot<'_>,
        outside: Option<BorrowedFd<'_>>,
        durable: bool,
    ) -> Result<(), DiskError> {
        if let ([change], Some(outside)) = (changes, outside)
            && single::commit(self, change, snapshot, outside, durable)?
        {
            return Ok(());
        }
        journal::commit(self, changes, snapshot, outside, durable)
    }
}

/// `/proc` knows the name that the opened directory has now, the kernel at once that of the working directory; without
/// either the given one must do.
fn path_of(fd: &OwnedFd, root: &Path) -> PathBuf {
    let known = match root.to_str() {
        Some(".") => std::env::current_dir(),
        _ => std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd))),
    };
    known.or_else(|_| std::path::absolute(root)).unwrap_or_else(|_| root.to_owned())
}

/// Waits until nobody else holds it.
fn lock(root: &OwnedFd) -> rustix::io::Result<()> {
    loop {
        match rustix::fs::flock(root, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            locked => return locked,
        }
    }
}
