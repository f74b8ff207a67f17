//! Moves a committed change into place, or back. Each step finds out from the inodes whether it was done already, so
//! that anyone may go on where anyone was stopped: the process itself, its guardian, the next command.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, Result};
use shared_contracts::paths::WorkspacePath;

use super::DiskError;
use super::beneath::{self, Folder, folder_of};
use super::record::{Mark, Move, Record};

pub struct Settle<'tree> {
    pub root: BorrowedFd<'tree>,
    pub journal: BorrowedFd<'tree>,
    pub record: &'tree Record,
}

fn slot(index: usize) -> String {
    index.to_string()
}

/// Where the old file waits on a file system that cannot exchange two names.
fn aside(index: usize) -> String {
    format!("{index}.old")
}

fn vacated(index: usize) -> String {
    format!("d{index}")
}

impl<'tree> Settle<'tree> {
    /// Removals first, so that directories become files; new files last, so that files become directories.
    pub fn forward(&self) -> std::result::Result<(), DiskError> {
        for (index, step) in self.moves(|step| step.after_inode.is_none()) {
            self.named("remove", &step.path, self.remove(index, step))?;
        }
        for (index, path) in self.record.vacate.iter().enumerate() {
            self.named("make room at", path, self.vacate(index, path))?;
        }
        for path in &self.record.make {
            self.named("make the directory", path, self.make(path))?;
        }
        for (index, step) in self.moves(|step| step.after_inode.is_some()) {
            self.named("write", &step.path, self.put(index, step))?;
        }
        for path in &self.record.prune {
            // Nothing that is not empty is removed; one that stays is no harm.
            let _ = self.remove_directory(path);
        }
        Ok(())
    }

    pub fn back(&self) -> std::result::Result<(), DiskError> {
        for (index, step) in self.moves(|step| step.after_inode.is_some()) {
            self.named("restore", &step.path, self.take_back(index, step))?;
        }
        for path in self.record.make.iter().rev() {
            let _ = self.remove_directory(path);
        }
        for (index, path) in self.record.vacate.iter().enumerate().rev() {
            self.named("restore", path, self.restore(&vacated(index), path))?;
        }
        for (index, step) in self.moves(|step| step.after_inode.is_none()) {
            self.named("restore", &step.path, self.restore(&slot(index), &step.path))?;
        }
        Ok(())
    }

    fn moves(&self, which: fn(&Move) -> bool) -> impl Iterator<Item = (usize, &'tree Move)> {
        self.record.moves.iter().enumerate().filter(move |(_, step)| which(step))
    }

    fn named<T>(
        &self,
        doing: &'static str,
        path: &WorkspacePath,
        result: Result<Option<T>>,
    ) -> std::result::Result<T, DiskError> {
        match result {
            Ok(Some(value)) => Ok(value),
            // A directory on the way is gone, or a link by now: nothing was followed.
            Ok(None) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                Err(DiskError::Changed { path: path.to_string() })
            }
            Err(Errno::XDEV) => Err(DiskError::OtherFileSystem { path: path.to_string() }),
            Err(source) => Err(DiskError::Io { doing, path: path.to_string(), source }),
        }
    }

    fn place<'path>(&self, path: &'path WorkspacePath) -> Result<(Folder<'tree>, &'path str)> {
        folder_of(self.root, path.as_str())
    }

    // Each of these answers none where somebody else changed what it was about to touch.

    fn remove(&self, index: usize, step: &Move) -> Result<Option<()>> {
        let slot = slot(index);
        if beneath::stat(self.journal, &slot)?.is_some() {
            return Ok(Some(()));
        }
        let (folder, name) = self.place(&step.path)?;
        if !is_still(step.before.as_ref(), folder.as_fd(), name)? {
            return Ok(None);
        }
        beneath::move_to_free(folder.as_fd(), name, self.journal, &slot)?;
        Ok(is_still(step.before.as_ref(), self.journal, &slot)?.then_some(()))
    }

    fn vacate(&self, index: usize, path: &WorkspacePath) -> Result<Option<()>> {
        let aside = vacated(index);
        if beneath::stat(self.journal, &aside)?.is_none() {
            let (folder, name) = self.place(path)?;
            beneath::move_to_free(folder.as_fd(), name, self.journal, &aside)?;
        }
        let moved = beneath::open(self.journal, &aside, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(beneath::names(moved.as_fd())?.is_empty().then_some(()))
    }

    fn make(&self, path: &WorkspacePath) -> Result<Option<()>> {
        let (folder, name) = self.place(path)?;
        match rustix::fs::mkdirat(&folder, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
            Ok(()) | Err(Errno::EXIST) => Ok(Some(())),
            Err(error) => Err(error),
        }
    }

    fn put(&self, index: usize, step: &Move) -> Result<Option<()>> {
        let slot = slot(index);
        if !self.is_pending(&slot, step)? {
            return Ok(Some(()));
        }
        let (folder, name) = self.place(&step.path)?;
        let folder = folder.as_fd();
        let Some(before) = &step.before else {
            return match beneath::move_to_free(self.journal, &slot, folder, name) {
                Ok(()) => Ok(Some(())),
                Err(Errno::EXIST) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let aside = aside(index);
        let was_set_aside = beneath::stat(self.journal, &aside)?.is_some();
        if !was_set_aside && !before.holds(folder, name)? {
            return Ok(None);
        }
        if !was_set_aside {
            match rustix::fs::renameat_with(self.journal, &slot, folder, name, RenameFlags::EXCHANGE) {
                // What came back shows whether the file that was replaced is the one that was read.
                Ok(()) => return Ok(before.holds(self.journal, &slot)?.then_some(())),
                Err(Errno::INVAL | Errno::NOSYS) => {
                    beneath::move_to_free(folder, name, self.journal, &aside)?;
                }
                Err(error) => return Err(error),
            }
        }
        beneath::move_to_free(self.journal, &slot, folder, name)?;
        Ok(before.holds(self.journal, &aside)?.then_some(()))
    }

    /// Whether the new file is still in its slot.
    fn is_pending(&self, slot: &str, step: &Move) -> Result<bool> {
        Ok(beneath::stat(self.journal, slot)?.map(|stat| stat.st_ino) == step.after_inode)
    }

    fn take_back(&self, index: usize, step: &Move) -> Result<Option<()>> {
        let (slot, aside) = (slot(index), aside(index));
        let was_set_aside = beneath::stat(self.journal, &aside)?.is_some();
        if self.is_pending(&slot, step)? {
            return if was_set_aside { self.restore(&aside, &step.path) } else { Ok(Some(())) };
        }
        let (folder, name) = self.place(&step.path)?;
        let folder = folder.as_fd();
        let found = beneath::stat(folder, name)?.map(|stat| stat.st_ino);
        if was_set_aside {
            if found != step.after_inode {
                return Ok(None);
            }
            rustix::fs::renameat(self.journal, &aside, folder, name)?;
        } else if step.before.is_some() {
            // Exchanged: the slot holds the old file, or was exchanged back and is pending.
            if found != step.after_inode {
                return Ok(None);
            }
            rustix::fs::renameat_with(self.journal, &slot, folder, name, RenameFlags::EXCHANGE)?;
        } else if found == step.after_inode {
            rustix::fs::renameat(folder, name, self.journal, &slot)?;
        }
        Ok(Some(()))
    }

    /// Puts back what waits in the journal, if it does.
    fn restore(&self, aside: &str, path: &WorkspacePath) -> Result<Option<()>> {
        if beneath::stat(self.journal, aside)?.is_none() {
            return Ok(Some(()));
        }
        let (folder, name) = self.place(path)?;
        match beneath::move_to_free(self.journal, aside, folder.as_fd(), name) {
            Ok(()) => Ok(Some(())),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove_directory(&self, path: &WorkspacePath) -> Result<()> {
        let (folder, name) = self.place(path)?;
        rustix::fs::unlinkat(folder.as_fd(), name, AtFlags::REMOVEDIR)
    }
}

fn is_still(before: Option<&Mark>, folder: BorrowedFd<'_>, name: &str) -> Result<bool> {
    match before {
        Some(mark) => mark.holds(folder, name),
        None => Ok(false),
    }
}
