//! Names below a root, resolved by the kernel: never through a link, never out of the root, never onto anything but
//! what the name itself says.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};
use shared_contracts::hash::Sha256;

/// A rename elsewhere in the tree can make the kernel ask for another try.
const TRIES_MAX: u32 = 128;

/// Opens `path` below `root`; `.` is the root itself.
pub fn open(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < TRIES_MAX => tries += 1,
            opened => return opened,
        }
    }
}

/// The directory that holds a name.
pub enum Folder<'root> {
    Root(BorrowedFd<'root>),
    Below(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

/// Where `path` stands: its directory, opened, and its name there.
pub fn folder_of<'root, 'path>(
    root: BorrowedFd<'root>,
    path: &'path str,
) -> Result<(Folder<'root>, &'path str)> {
    match path.rsplit_once('/') {
        None => Ok((Folder::Root(root), path)),
        Some((folder, name)) => {
            Ok((Folder::Below(open(root, folder, OFlags::PATH | OFlags::DIRECTORY)?), name))
        }
    }
}

/// Facts about the name itself, or none where nothing stands there.
pub fn stat(folder: impl AsFd, name: &str) -> Result<Option<Stat>> {
    absent_is_none(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW))
}

pub fn absent_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves a name to where nothing stands.
pub fn move_to_free(from: BorrowedFd<'_>, old: &str, to: BorrowedFd<'_>, new: &str) -> Result<()> {
    match rustix::fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // A file system that cannot check and move in one step: the lock holds off everyone of ours.
        Err(Errno::INVAL | Errno::NOSYS) => match stat(to, new)? {
            Some(_) => Err(Errno::EXIST),
            None => rustix::fs::renameat(from, old, to, new),
        },
        moved => moved,
    }
}

pub fn names(folder: BorrowedFd<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        // What is no UTF-8 is no path of a workspace; the exact name does not matter to any caller.
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// A file whole. `size_bytes` is what it is said to have: a file of that size is read in one go.
pub fn read(fd: OwnedFd, size_bytes: u64) -> Result<Vec<u8>> {
    let size_bytes = usize::try_from(size_bytes).unwrap_or_default();
    // One more than there should be shows that there is no more.
    let mut bytes = Vec::with_capacity(size_bytes.saturating_add(1));
    let count =
        rustix::io::retry_on_intr(|| rustix::io::read(&fd, rustix::buffer::spare_capacity(&mut bytes)))?;
    if count != size_bytes {
        std::fs::File::from(fd).read_to_end(&mut bytes).map_err(errno)?;
    }
    Ok(bytes)
}

pub fn write(fd: &mut std::fs::File, bytes: &[u8]) -> Result<()> {
    fd.write_all(bytes).map_err(errno)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// The hash of a file's content or of a link's target.
pub fn hash(folder: BorrowedFd<'_>, name: &str, stat: &Stat) -> Result<Sha256> {
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(Sha256::of(rustix::fs::readlinkat(folder, name, Vec::new())?.as_bytes()));
    }
    let fd = open(folder, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
    Ok(Sha256::of(&read(fd, u64::try_from(stat.st_size).unwrap_or_default())?))
}
