//! What the engine sees of a tree on disk: the files that a batch needs, read once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use patch_engine::{File, Rules, Snapshot};
use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::{Errno, Result};
use shared_contracts::hash::Sha256;
use shared_contracts::limits::FILE_BYTES_MAX;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use super::record::Mark;
use super::{DiskError, Tree, beneath};

/// A directory deeper than this is nobody's source tree.
const DEPTH_MAX: usize = 128;
/// The names of most files' attributes fit.
const ATTRIBUTE_NAMES_BYTES: usize = 512;
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

pub struct DiskSnapshot<'tree> {
    root: BorrowedFd<'tree>,
    found: BTreeMap<WorkspacePath, Found>,
    directories: BTreeSet<WorkspacePath>,
    obstacles: BTreeMap<WorkspacePath, Obstacle>,
    given: Given,
    /// Counting files stops above this.
    files_counted_max: u64,
    counted: RefCell<BTreeMap<WorkspacePath, u64>>,
}

/// What the command knows beside the tree.
#[derive(Default)]
pub struct Given {
    /// Contents that files had when the patch was made.
    pub bases: BTreeMap<Sha256, Vec<u8>>,
    pub rules: Rules,
}

/// A file as it was read.
pub struct Found {
    pub file: File,
    pub mark: Mark,
    pub stat: Stat,
    pub attributes: Vec<(CString, Vec<u8>)>,
}

/// What stands there and can be no file of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A device, a socket, a pipe.
    Special,
    TooLarge {
        size_bytes: u64,
    },
}

impl Tree {
    /// Reads the paths that `patch_engine::paths_needed` names.
    pub fn snapshot(
        &self,
        paths: BTreeSet<WorkspacePath>,
        given: Given,
        operation_count: usize,
    ) -> std::result::Result<DiskSnapshot<'_>, DiskError> {
        let mut snapshot = DiskSnapshot {
            root: self.root.as_fd(),
            found: BTreeMap::new(),
            directories: BTreeSet::new(),
            obstacles: BTreeMap::new(),
            given,
            files_counted_max: operation_count as u64 + 1,
            counted: RefCell::default(),
        };
        for path in paths {
            let name = path.to_string();
            snapshot.read(path).map_err(DiskError::io("read", name))?;
        }
        Ok(snapshot)
    }
}

impl DiskSnapshot<'_> {
    pub(super) fn found(&self, path: &WorkspacePath) -> Option<&Found> {
        self.found.get(path)
    }

    pub(super) fn is_directory_on_disk(&self, path: &WorkspacePath) -> bool {
        self.directories.contains(path)
    }

    pub(super) fn is_directory_on_disk_at(&self, path: &str) -> bool {
        self.directories.contains(path)
    }

    pub fn obstacle(&self, path: &WorkspacePath) -> Option<Obstacle> {
        self.obstacles.get(path).copied()
    }

    pub fn sha256(&self, path: &WorkspacePath) -> Option<Sha256> {
        self.found.get(path).map(|found| found.mark.sha256)
    }

    /// How many names the file has: replacing it leaves the others with the old content.
    pub fn names_count(&self, path: &WorkspacePath) -> u64 {
        #[expect(clippy::useless_conversion, reason = "the type of `st_nlink` differs between targets")]
        self.found.get(path).map_or(0, |found| u64::from(found.stat.st_nlink))
    }

    fn read(&mut self, path: WorkspacePath) -> Result<()> {
        let opened = beneath::open(self.root, path.as_str(), OFlags::RDONLY | OFlags::NONBLOCK);
        let fd = match opened {
            Ok(fd) => fd,
            // A link, here or on the way to here; the latter is read as a path of its own.
            Err(Errno::LOOP) => return self.read_link(path),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(Errno::NXIO) => {
                self.obstacles.insert(path, Obstacle::Special);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.read_file(path, fd, stat)?,
            FileType::Directory => drop(self.directories.insert(path)),
            _ => drop(self.obstacles.insert(path, Obstacle::Special)),
        }
        Ok(())
    }

    fn read_file(&mut self, path: WorkspacePath, fd: OwnedFd, stat: Stat) -> Result<()> {
        let size_bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size_bytes > FILE_BYTES_MAX {
            self.obstacles.insert(path, Obstacle::TooLarge { size_bytes });
            return Ok(());
        }
        let attributes = attributes(&fd)?;
        let bytes = beneath::read(fd, size_bytes)?;
        let mode = if stat.st_mode & 0o100 == 0 { FileMode::Regular } else { FileMode::Executable };
        let mark = Mark::new(&stat, Sha256::of(&bytes));
        self.found.insert(path, Found { file: File { bytes, mode }, mark, stat, attributes });
        Ok(())
    }

    fn read_link(&mut self, path: WorkspacePath) -> Result<()> {
        let link = match beneath::open(self.root, path.as_str(), OFlags::PATH) {
            Err(Errno::LOOP | Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            link => link?,
        };
        let bytes = rustix::fs::readlinkat(&link, "", Vec::new())?.into_bytes();
        let stat = rustix::fs::fstat(&link)?;
        let mark = Mark::new(&stat, Sha256::of(&bytes));
        let file = File { bytes, mode: FileMode::Symlink };
        self.found.insert(path, Found { file, mark, stat, attributes: Vec::new() });
        Ok(())
    }

    /// Whatever stands below counts, and so does a directory without anything: only what the batch itself removes
    /// makes room for a file.
    fn count_below(&self, path: &str, depth: usize) -> Result<u64> {
        let folder = beneath::open(self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut count = 0;
        for name in beneath::names(folder.as_fd())? {
            count += match self.count_below(&format!("{path}/{name}"), depth + 1) {
                Ok(below) if depth < DEPTH_MAX => below.max(1),
                // No directory, or one that nobody empties.
                _ => 1,
            };
            if count > self.files_counted_max {
                break;
            }
        }
        Ok(count)
    }
}

impl Snapshot for DiskSnapshot<'_> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.found.get(path).map(|found| &found.file)
    }

    fn base(&self, sha256: Sha256) -> Option<&[u8]> {
        self.given.bases.get(&sha256).map(Vec::as_slice)
    }

    fn rules(&self) -> Option<&Rules> {
        Some(&self.given.rules)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        self.directories.contains(path) && self.files_below(path) > 0
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        if !self.directories.contains(path) {
            return 0;
        }
        // One that cannot be read is never emptied.
        let count = || self.count_below(path.as_str(), 0).map_or(u64::MAX, |count| count.max(1));
        *self.counted.borrow_mut().entry(path.clone()).or_insert_with(count)
    }
}

/// Access lists, labels, what users attached.
fn attributes(fd: &OwnedFd) -> Result<Vec<(CString, Vec<u8>)>> {
    let mut names = vec![0_u8; ATTRIBUTE_NAMES_BYTES];
    let size = match rustix::fs::flistxattr(fd, names.as_mut_slice()) {
        Ok(0) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::ACCESS) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            names.resize(ATTRIBUTE_BYTES_MAX, 0);
            rustix::fs::flistxattr(fd, names.as_mut_slice())?
        }
        size => size?,
    };
    names.truncate(size);
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let Ok(name) = CString::new(name) else { continue };
        let mut value = vec![0_u8; ATTRIBUTE_BYTES_MAX];
        if let Ok(size) = rustix::fs::fgetxattr(fd, name.as_c_str(), value.as_mut_slice()) {
            value.truncate(size);
            attributes.push((name, value));
        }
    }
    Ok(attributes)
}
