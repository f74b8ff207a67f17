//! The commit record: what moves where. Once its name is `forward` the change happens, whoever finishes it; named
//! `back` it is taken back.

use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Result;
use serde::{Deserialize, Serialize};
use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;

use super::beneath;

pub const DRAFT: &str = "draft";
pub const FORWARD: &str = "forward";
pub const BACK: &str = "back";

#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The record's own: a journal that came along with a copy or a checkout is not obeyed. Of its folder an overlay
    /// remembers none.
    pub own_inode: u64,
    /// The number of each is the name of its slot in the journal.
    pub moves: Vec<Move>,
    /// Empty by then, and in the way of a new file; deepest first.
    pub vacate: Vec<WorkspacePath>,
    /// Made for new files, outermost first.
    pub make: Vec<WorkspacePath>,
    /// Removed at the end where nothing is left in them, deepest first.
    pub prune: Vec<WorkspacePath>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Move {
    pub path: WorkspacePath,
    /// None where nothing stood.
    pub before: Option<Mark>,
    /// The inode that goes there from the slot; none where the file is removed.
    pub after_inode: Option<u64>,
}

/// What a file was when it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub inode: u64,
    pub size_bytes: i64,
    pub modified_seconds: i64,
    pub modified_nanoseconds: u64,
    pub sha256: Sha256,
}

impl Mark {
    #[expect(clippy::unnecessary_cast, reason = "the types of `stat` differ between targets")]
    pub fn new(stat: &Stat, sha256: Sha256) -> Self {
        Self {
            inode: stat.st_ino,
            size_bytes: stat.st_size as i64,
            modified_seconds: stat.st_mtime as i64,
            modified_nanoseconds: stat.st_mtime_nsec as u64,
            sha256,
        }
    }

    /// Whether the file is still the one that was read. Some overlays number a file anew when it moves, and a file
    /// may have been touched only: then its content decides.
    pub fn holds(&self, folder: BorrowedFd<'_>, name: &str) -> Result<bool> {
        let Some(stat) = beneath::stat(folder, name)? else {
            return Ok(false);
        };
        if *self == Self::new(&stat, self.sha256) {
            return Ok(true);
        }
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        let is_readable = matches!(kind, rustix::fs::FileType::RegularFile | rustix::fs::FileType::Symlink);
        Ok(is_readable
            && Self::new(&stat, self.sha256).size_bytes == self.size_bytes
            && beneath::hash(folder, name, &stat)? == self.sha256)
    }
}

/// Writes the draft; giving it its name is the commit.
pub fn write(journal: BorrowedFd<'_>, record: &mut Record) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(journal, DRAFT, flags, Mode::RUSR | Mode::WUSR)?;
    record.own_inode = rustix::fs::fstat(&fd)?.st_ino;
    let bytes = serde_json::to_vec(record).map_err(|_| rustix::io::Errno::INVAL)?;
    beneath::write(&mut fd.into(), &bytes)
}

/// The record of that name, or none; an error inside where it cannot be read as one.
pub fn read(
    journal: BorrowedFd<'_>,
    name: &str,
) -> Result<Option<std::result::Result<Record, serde_json::Error>>> {
    let Some(fd) = beneath::absent_is_none(beneath::open(journal, name, OFlags::RDONLY))? else {
        return Ok(None);
    };
    Ok(Some(serde_json::from_slice(&beneath::read(fd, 4_096)?)))
}
