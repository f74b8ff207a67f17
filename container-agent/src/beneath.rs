//! Reads a tree that a payload wrote. It is untrusted: nothing is followed, nothing outside is reached, nothing but
//! regular files, links and directories is opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};

/// A directory deeper than this is nobody's source tree.
pub const DEPTH_MAX: usize = 128;

pub struct Entry {
    pub name: OsString,
    pub kind: FileType,
}

/// Opens `path` below `root` without following any link. An empty path is the root itself.
pub fn open(root: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// What stands in a directory, by name.
pub fn list(root: &OwnedFd, path: &Path) -> io::Result<Vec<Entry>> {
    let directory = open(root, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        entries.push(Entry { name: name.to_owned(), kind });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Facts about `path` itself, or none where nothing stands there.
pub fn stat(root: &OwnedFd, path: &Path) -> io::Result<Option<Stat>> {
    match open(root, path, OFlags::PATH) {
        Ok(fd) => Ok(Some(rustix::fs::fstat(&fd)?)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Nothing there; or a link or a file stands where a directory would have to be.
fn absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP))
}

/// An ordinary file, opened for reading, with its facts. A fifo in its place does not block.
pub fn open_file(root: &OwnedFd, path: &Path) -> io::Result<(File, Stat)> {
    let fd = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((File::from(fd), stat))
}

/// A file's whole content, or an error where it is larger than `bytes_max`.
pub fn read_file(root: &OwnedFd, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let (file, stat) = open_file(root, path)?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn read_link(root: &OwnedFd, path: &Path) -> io::Result<Vec<u8>> {
    let link = open(root, path, OFlags::PATH)?;
    Ok(rustix::fs::readlinkat(&link, "", Vec::new())?.into_bytes())
}

/// Whether overlayfs marked this directory of an upper layer: opaque, or moved here from elsewhere. A user's overlay has
/// its marks among the user's attributes. Where a payload can make such a mark itself, it only makes more be compared.
pub fn hides_lower(upper: &OwnedFd, path: &Path) -> io::Result<bool> {
    let directory = open(upper, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    for name in
        ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.opaque", "user.overlay.redirect"]
    {
        let mut value = [0_u8; 4096];
        match rustix::fs::fgetxattr(directory.as_fd(), name, &mut value) {
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// A whiteout: what overlayfs puts where a file of the lower layer was deleted.
pub fn is_whiteout(root: &OwnedFd, path: &Path) -> io::Result<bool> {
    Ok(stat(root, path)?.is_some_and(|stat| stat.st_rdev == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_a_users_overlay_made_opaque_hides_what_is_below() {
        let directory = tempfile::tempdir().unwrap();
        let root: OwnedFd = File::open(directory.path()).unwrap().into();
        assert!(!hides_lower(&root, Path::new("")).unwrap());
        rustix::fs::fsetxattr(&root, "user.overlay.opaque", b"y", rustix::fs::XattrFlags::empty()).unwrap();
        assert!(hides_lower(&root, Path::new("")).unwrap());
    }

    #[test]
    fn links_are_never_followed_and_fifos_never_block() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "content").unwrap();
        std::os::unix::fs::symlink("/etc", at("etc")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root: OwnedFd = File::open(directory.path()).unwrap().into();
        assert_eq!(read_file(&root, Path::new("file"), 100).unwrap(), b"content");
        assert!(read_file(&root, Path::new("file"), 3).is_err());
        for path in ["etc/passwd", "link", "fifo", "../x", "/etc/passwd"] {
            assert!(open_file(&root, Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(read_link(&root, Path::new("link")).unwrap(), b"file");
        assert!(stat(&root, Path::new("etc/passwd")).unwrap().is_none());
        assert_eq!(list(&root, Path::new("")).unwrap().len(), 4);
    }
}
