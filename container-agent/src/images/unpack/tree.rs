//! The one place where an untrusted layer becomes files. Every directory is resolved by the kernel with the root as `/`
//! (`RESOLVE_IN_ROOT`), and what is made, replaced or removed is one name in such a directory, never followed: a link in
//! an image leads to where it would lead inside the sandbox, or nowhere.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::fault::UnpackFault;
use crate::beneath;

/// setuid, setgid and a file's sticky bit go; so does what would keep the owner from reading, or from removing again.
const FILE_MODE: u32 = 0o777;
const FILE_MODE_LEAST: u32 = 0o400;
const DIRECTORY_MODE: u32 = 0o1777;
const DIRECTORY_MODE_LEAST: u32 = 0o700;
const DIRECTORY_MODE_UNSAID: u32 = 0o755;
/// The kernel gives up on `..` while something else is renamed anywhere; it is asked again.
const RESOLVE_TRIES_MAX: u32 = 1000;

pub struct Tree {
    root: OwnedFd,
    entries_max: u64,
    entries: u64,
    /// What this layer made, by the inode of its directory and its name.
    made: HashSet<(u64, OsString)>,
    /// What this layer hid already, in the same words; an opaque directory with no name. Once is enough, and a layer
    /// that says it a million times must not be walked a million times.
    hidden: HashSet<(u64, OsString)>,
    /// The directory of the entry before: the next one's, mostly.
    last: Option<(PathBuf, Rc<Directory>)>,
}

struct Directory {
    fd: OwnedFd,
    inode: u64,
}

impl Directory {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let inode = rustix::fs::fstat(&fd)?.st_ino;
        Ok(Self { fd, inode })
    }
}

impl Tree {
    /// `root` is an empty directory that nobody else writes to.
    pub fn new(root: &Path, entries_max: u64) -> io::Result<Self> {
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, entries_max, entries: 0, made: HashSet::new(), hidden: HashSet::new(), last: None })
    }

    /// What was made until now is what whiteouts from here on are about.
    pub fn begin_layer(&mut self) {
        self.made.clear();
        self.hidden.clear();
        self.last = None;
    }

    pub fn directory(&mut self, parent: &Path, name: &OsStr, mode: u32) -> Result<(), UnpackFault> {
        self.count()?;
        let parent = self.parent(parent)?;
        match kind_of(&parent.fd, name)? {
            Some(FileType::Directory) => {}
            existing => {
                self.remove_existing(&parent, name, existing)?;
                rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?;
            }
        }
        set_directory_mode(&parent.fd, name, mode)?;
        self.made.insert((parent.inode, name.to_owned()));
        Ok(())
    }

    /// An empty file for the caller to fill.
    pub fn file(&mut self, parent: &Path, name: &OsStr, mode: u32) -> Result<File, UnpackFault> {
        let parent = self.make_way(parent, name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&parent.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        // After the creation: the umask has no say.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & FILE_MODE | FILE_MODE_LEAST))?;
        Ok(File::from(file))
    }

    /// The target is kept as it is: it is resolved where the tree is a root.
    pub fn symlink(&mut self, parent: &Path, name: &OsStr, target: &[u8]) -> Result<(), UnpackFault> {
        let parent = self.make_way(parent, name)?;
        Ok(rustix::fs::symlinkat(OsStr::from_bytes(target), &parent.fd, name)?)
    }

    /// A second name of a file, or of a link itself, within the tree.
    pub fn hard_link(
        &mut self,
        (parent, name): (&Path, &OsStr),
        (target_parent, target_name): (&Path, &OsStr),
    ) -> Result<(), UnpackFault> {
        let refused = |what| UnpackFault::HardLink {
            path: parent.join(name).display().to_string(),
            target: target_parent.join(target_name).display().to_string(),
            what,
        };
        let absent = || refused("which is not in the image");
        let from = match self.resolve(target_parent) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(absent()),
            other => Directory::new(other?)?,
        };
        let target = stat(&from.fd, target_name)?.ok_or_else(absent)?;
        if !matches!(FileType::from_raw_mode(target.st_mode), FileType::RegularFile | FileType::Symlink) {
            return Err(refused("which is no file"));
        }
        let to = self.parent(parent)?;
        if stat(&to.fd, name)?.is_some_and(|existing| existing.st_ino == target.st_ino) {
            self.made.insert((to.inode, name.to_owned()));
            return self.count();
        }
        let to = self.make_way(parent, name)?;
        match rustix::fs::linkat(&from.fd, target_name, &to.fd, name, AtFlags::empty()) {
            // The target went when this name was cleared for the link.
            Err(Errno::NOENT) => Err(absent()),
            other => Ok(other?),
        }
    }

    /// Leaves nothing at a name: something stood there in a layer below which this one has no file for.
    pub fn clear(&mut self, parent: &Path, name: &OsStr) -> Result<(), UnpackFault> {
        self.make_way(parent, name).map(drop)
    }

    /// The mode of the root itself.
    pub fn root_mode(&mut self, mode: u32) -> Result<(), UnpackFault> {
        Ok(set_directory_mode(&self.root, OsStr::new("."), mode)?)
    }

    /// A whiteout: `name` of the layers below goes, what this layer made stays, whichever came first.
    pub fn hide(&mut self, parent: &Path, name: &OsStr) -> Result<(), UnpackFault> {
        let Some(parent) = self.existing(parent)? else { return Ok(()) };
        self.last = None;
        if self.hidden.insert((parent.inode, name.to_owned())) {
            self.hide_in(&parent, name)?;
        }
        Ok(())
    }

    /// An opaque directory: all that the layers below have in it goes.
    pub fn hide_all(&mut self, directory: &Path) -> Result<(), UnpackFault> {
        let Some(directory) = self.existing(directory)? else { return Ok(()) };
        self.last = None;
        if !self.hidden.insert((directory.inode, OsString::new())) {
            return Ok(());
        }
        for entry in beneath::list(&directory.fd, Path::new(""))? {
            self.hide_in(&directory, &entry.name)?;
        }
        Ok(())
    }

    /// Whether something of this layer is left there.
    fn hide_in(&self, parent: &Directory, name: &OsStr) -> Result<bool, UnpackFault> {
        let is_made = self.made.contains(&(parent.inode, name.to_owned()));
        match kind_of(&parent.fd, name)? {
            None => Ok(false),
            Some(FileType::Directory) => {
                let directory = Directory::new(beneath::open(&parent.fd, Path::new(name), OFlags::PATH)?)?;
                let mut is_left = is_made;
                for entry in beneath::list(&directory.fd, Path::new(""))? {
                    is_left |= self.hide_in(&directory, &entry.name)?;
                }
                if !is_left {
                    rustix::fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR)?;
                }
                Ok(is_left)
            }
            Some(_) if is_made => Ok(true),
            Some(_) => {
                rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty())?;
                Ok(false)
            }
        }
    }

    /// The directory for a new entry, in which nothing stands at `name`.
    fn make_way(&mut self, parent: &Path, name: &OsStr) -> Result<Rc<Directory>, UnpackFault> {
        self.count()?;
        let parent = self.parent(parent)?;
        let existing = kind_of(&parent.fd, name)?;
        self.remove_existing(&parent, name, existing)?;
        self.made.insert((parent.inode, name.to_owned()));
        Ok(parent)
    }

    fn remove_existing(
        &mut self,
        parent: &Directory,
        name: &OsStr,
        kind: Option<FileType>,
    ) -> Result<(), UnpackFault> {
        match kind {
            None => return Ok(()),
            Some(FileType::Directory) => remove_directory(parent.fd.as_fd(), name)?,
            Some(_) => rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty())?,
        }
        // The way to the last directory may have led through it.
        self.last = None;
        Ok(())
    }

    /// The directory `path`, made with all above it where it is missing.
    fn parent(&mut self, path: &Path) -> Result<Rc<Directory>, UnpackFault> {
        if let Some((_, directory)) = self.last.as_ref().filter(|(last, _)| last == path) {
            return Ok(Rc::clone(directory));
        }
        let fd = match self.resolve(path) {
            Err(Errno::NOENT) => self.make_directories(path)?,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(UnpackFault::name(
                    path.as_os_str().as_bytes(),
                    "leads to no directory, and has entries",
                ));
            }
            other => other?,
        };
        let directory = Rc::new(Directory::new(fd)?);
        self.last = Some((path.to_owned(), Rc::clone(&directory)));
        Ok(directory)
    }

    fn make_directories(&mut self, path: &Path) -> Result<OwnedFd, UnpackFault> {
        let (mut at, mut way) = (self.resolve(Path::new(""))?, PathBuf::new());
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            way.push(name);
            at = match self.resolve(&way) {
                Err(Errno::NOENT) => {
                    self.count()?;
                    match rustix::fs::mkdirat(&at, name, Mode::RWXU) {
                        Err(Errno::EXIST) => {
                            return Err(UnpackFault::name(
                                way.as_os_str().as_bytes(),
                                "is a link to nothing, and has entries",
                            ));
                        }
                        other => other?,
                    }
                    set_directory_mode(&at, name, DIRECTORY_MODE_UNSAID)?;
                    self.resolve(&way)?
                }
                other => other?,
            };
        }
        Ok(at)
    }

    /// The directory `path`, if it is there.
    fn existing(&self, path: &Path) -> Result<Option<Directory>, UnpackFault> {
        match self.resolve(path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            other => Ok(Some(Directory::new(other?)?)),
        }
    }

    fn resolve(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let mut tries = 0;
        loop {
            tries += 1;
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside) {
                Err(Errno::AGAIN) if tries < RESOLVE_TRIES_MAX => {}
                other => return other,
            }
        }
    }

    fn count(&mut self) -> Result<(), UnpackFault> {
        self.entries += 1;
        if self.entries > self.entries_max {
            return Err(UnpackFault::TooManyEntries { entries_max: self.entries_max });
        }
        Ok(())
    }
}

/// When the content was changed; Python, for one, believes its compiled files by that.
pub fn set_modified(file: &File, modified_s: u64) -> io::Result<()> {
    let time = Timespec { tv_sec: i64::try_from(modified_s).unwrap_or_default(), tv_nsec: 0 };
    Ok(rustix::fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

fn set_directory_mode(parent: &OwnedFd, name: &OsStr, mode: u32) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(mode & DIRECTORY_MODE | DIRECTORY_MODE_LEAST);
    rustix::fs::chmodat(parent, name, mode, AtFlags::empty())
}

fn stat(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn kind_of(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<FileType>> {
    Ok(stat(directory, name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)))
}

/// As deep as [`beneath::DEPTH_MAX`], for nothing deeper was made.
fn remove_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat2(parent, name, flags, Mode::empty(), inside)?;
    for entry in beneath::list(&directory, Path::new(""))? {
        match entry.kind {
            FileType::Directory => remove_directory(directory.as_fd(), &entry.name)?,
            _ => rustix::fs::unlinkat(&directory, &entry.name, AtFlags::empty())?,
        }
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
