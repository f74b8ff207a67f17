//! What a payload changed: the overlay's upper layer against the tree it lies on, as paths first, contents later,
//! so that a flood is refused before it is read.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use patch_engine::{File, FileChange};
use patchctl::disk::JOURNAL;
use rustix::fs::FileType;
use shared_contracts::limits::{FILE_BYTES_MAX, MIB, PATCH_OPERATIONS_MAX};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use super::ignored::Ignored;
use crate::beneath;
use crate::sandbox::Collected;
use crate::tools::settle::settle;

/// Each change is at most two paths (a rename).
const PATHS_MAX: usize = 2 * PATCH_OPERATIONS_MAX;
/// Old and new contents together, in memory at once.
const CONTENT_BYTES_MAX: u64 = 512 * MIB;
const EXAMPLES_MAX: usize = 5;
/// Files counted in a directory that is left out.
const COUNT_MAX: usize = 1_000_000;

#[derive(Debug, Default)]
pub struct Changes {
    pub files: Vec<FileChange>,
    /// New files left out because `.gitignore` says so.
    pub ignored: usize,
    /// What no patch can carry: `.git`, devices, links that lead outside, names that are not UTF-8.
    pub skipped: usize,
    pub skipped_examples: Vec<String>,
    /// Why the changes may be half of a patch: the sandbox ended in the middle of an `apply`.
    pub unsettled: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    #[error("cannot read the workspace's changes at `{path}`: {source}")]
    Io { path: String, source: io::Error },
    #[error("more than {PATHS_MAX} files changed; ignore build output in .gitignore, or change fewer files")]
    TooMany,
    #[error("`{path}` has {size} bytes; a file of a workspace may have at most {FILE_BYTES_MAX}")]
    FileTooLarge { path: String, size: u64 },
    #[error(
        "the changed files are larger than {CONTENT_BYTES_MAX} bytes together; change fewer or smaller files"
    )]
    TooLarge,
}

/// Reads them, once no `apply` is in the middle of them. Blocks.
pub fn read(lower: &OwnedFd, collected: &Collected) -> Result<Changes, ChangesError> {
    let mut walk = Walk {
        lower,
        upper: &collected.upper,
        merged: &collected.merged,
        ignored: Ignored::new(&collected.merged),
        touched: BTreeSet::new(),
        changes: Changes { unsettled: settle(collected).err(), ..Changes::default() },
    };
    walk.upper_directory(Path::new(""), 0)?;
    walk.contents()
}

struct Walk<'a> {
    lower: &'a OwnedFd,
    upper: &'a OwnedFd,
    merged: &'a OwnedFd,
    ignored: Ignored<'a>,
    touched: BTreeSet<PathBuf>,
    changes: Changes,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ChangesError {
    let path = path.display().to_string();
    move |source| ChangesError::Io { path, source }
}

impl Walk<'_> {
    /// A directory that exists on both sides: only what the upper layer has was touched.
    fn upper_directory(&mut self, path: &Path, depth: usize) -> Result<(), ChangesError> {
        if depth > beneath::DEPTH_MAX {
            self.skip(path);
            return Ok(());
        }
        for entry in beneath::list(self.upper, path).map_err(at(path))? {
            let below = path.join(&entry.name);
            match entry.kind {
                // What could not be settled.
                _ if below == Path::new(JOURNAL) => self.skip(&below),
                FileType::RegularFile | FileType::Symlink => {
                    self.lower_files(&below, depth)?;
                    self.touch(below)?;
                }
                FileType::Directory => {
                    let in_lower = self.lower_kind(&below)?;
                    let hides = beneath::hides_lower(self.upper, &below).map_err(at(&below))?;
                    if in_lower == Some(FileType::Directory) && !hides {
                        self.upper_directory(&below, depth + 1)?;
                    } else {
                        self.lower_files(&below, depth)?;
                        self.merged_files(&below, depth + 1, in_lower.is_none())?;
                    }
                }
                FileType::CharacterDevice
                    if beneath::is_whiteout(self.upper, &below).map_err(at(&below))? =>
                {
                    self.lower_files(&below, depth)?;
                }
                _ => {
                    self.lower_files(&below, depth)?;
                    self.skip(&below);
                }
            }
        }
        Ok(())
    }

    fn lower_kind(&self, path: &Path) -> Result<Option<FileType>, ChangesError> {
        let stat = beneath::stat(self.lower, path).map_err(at(path))?;
        Ok(stat.map(|stat| FileType::from_raw_mode(stat.st_mode)))
    }

    /// Every file of the lower layer at or below a path.
    fn lower_files(&mut self, path: &Path, depth: usize) -> Result<(), ChangesError> {
        match self.lower_kind(path)? {
            Some(FileType::Directory) if depth <= beneath::DEPTH_MAX => {
                for entry in beneath::list(self.lower, path).map_err(at(path))? {
                    self.lower_files(&path.join(entry.name), depth + 1)?;
                }
                Ok(())
            }
            Some(FileType::RegularFile | FileType::Symlink) => self.touch(path.to_owned()),
            _ => Ok(()),
        }
    }

    /// Every file that the payload saw below a directory. `new`: the lower layer has nothing at this path.
    fn merged_files(&mut self, path: &Path, depth: usize, new: bool) -> Result<(), ChangesError> {
        if depth > beneath::DEPTH_MAX || is_git(path) {
            self.skip(path);
            return Ok(());
        }
        if new && self.ignored.contains(path, true) {
            self.changes.ignored += self.count(path, depth);
            return Ok(());
        }
        for entry in beneath::list(self.merged, path).map_err(at(path))? {
            let below = path.join(&entry.name);
            match entry.kind {
                FileType::Directory => self.merged_files(&below, depth + 1, new)?,
                FileType::RegularFile | FileType::Symlink => self.touch(below)?,
                _ => self.skip(&below),
            }
        }
        Ok(())
    }

    fn count(&self, path: &Path, depth: usize) -> usize {
        if depth > beneath::DEPTH_MAX {
            return 1;
        }
        let mut count = 0;
        for entry in beneath::list(self.merged, path).unwrap_or_default() {
            count += match entry.kind {
                FileType::Directory => self.count(&path.join(entry.name), depth + 1),
                _ => 1,
            };
            if count > COUNT_MAX {
                break;
            }
        }
        count
    }

    fn skip(&mut self, path: &Path) {
        self.changes.skipped += 1;
        if self.changes.skipped_examples.len() < EXAMPLES_MAX {
            self.changes.skipped_examples.push(path.display().to_string());
        }
    }

    fn touch(&mut self, path: PathBuf) -> Result<(), ChangesError> {
        if self.touched.contains(&path) {
            return Ok(());
        }
        if self.lower_kind(&path)?.is_none() && self.ignored.contains(&path, false) {
            self.changes.ignored += 1;
            return Ok(());
        }
        if path.to_str().is_none_or(|text| WorkspacePath::parse(text).is_err()) {
            self.skip(&path);
            return Ok(());
        }
        self.touched.insert(path);
        if self.touched.len() > PATHS_MAX { Err(ChangesError::TooMany) } else { Ok(()) }
    }

    /// Reads what was touched and keeps what really differs.
    fn contents(mut self) -> Result<Changes, ChangesError> {
        let mut bytes_total = 0;
        for path in std::mem::take(&mut self.touched) {
            let Some(name) = path.to_str().and_then(|text| WorkspacePath::parse(text).ok()) else { continue };
            let before = read_side(self.lower, &path)?;
            let after = read_side(self.merged, &path)?;
            let size = |file: &Option<File>| file.as_ref().map_or(0, |file| file.bytes.len() as u64);
            bytes_total += size(&before) + size(&after);
            if bytes_total > CONTENT_BYTES_MAX {
                return Err(ChangesError::TooLarge);
            }
            if let Some(file) = &after
                && file.mode == FileMode::Symlink
                && std::str::from_utf8(&file.bytes).map_or(true, |target| name.resolve_link(target).is_err())
            {
                self.skip(&path);
                continue;
            }
            if before != after {
                self.changes.files.push(FileChange { path: name, before, after });
            }
        }
        Ok(self.changes)
    }
}

fn is_git(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == ".git")
}

fn read_side(root: &OwnedFd, path: &Path) -> Result<Option<File>, ChangesError> {
    let Some(stat) = beneath::stat(root, path).map_err(at(path))? else { return Ok(None) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            if size > FILE_BYTES_MAX {
                return Err(ChangesError::FileTooLarge { path: path.display().to_string(), size });
            }
            let mode = if stat.st_mode & 0o111 != 0 { FileMode::Executable } else { FileMode::Regular };
            Ok(Some(File { bytes: beneath::read_file(root, path, FILE_BYTES_MAX).map_err(at(path))?, mode }))
        }
        FileType::Symlink => {
            let bytes = beneath::read_link(root, path).map_err(at(path))?;
            Ok(Some(File { bytes, mode: FileMode::Symlink }))
        }
        _ => Ok(None),
    }
}
