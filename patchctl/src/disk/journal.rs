//! The journal's life: staged, committed, settled, removed; or found where another run was killed.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use patch_engine::FileChange;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use shared_contracts::paths::WorkspacePath;

use super::guardian::guarded;
use super::record::{self, BACK, DRAFT, FORWARD, Move, Record};
use super::settle::Settle;
use super::{DiskError, DiskSnapshot, JOURNAL, Tree, beneath, stage};

/// What was found of a run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovered {
    Nothing,
    /// Killed before the commit point: what it had prepared is removed.
    Discarded,
    Finished,
    TakenBack,
}

/// The emptied journal, where it waits for the next run: making and removing a directory can take longer than all
/// the rest, where a disk is told of every block that becomes free.
const SPARE: &str = "journal";

pub fn commit(
    tree: &Tree,
    changes: &[FileChange],
    snapshot: &DiskSnapshot<'_>,
    outside: Option<BorrowedFd<'_>>,
    durable: bool,
) -> Result<(), DiskError> {
    let root = tree.root.as_fd();
    // Whoever kills one process from here on leaves the rest to the other.
    guarded(&tree.path, || work(root, changes, snapshot, outside, durable))?
}

fn work(
    root: BorrowedFd<'_>,
    changes: &[FileChange],
    snapshot: &DiskSnapshot<'_>,
    outside: Option<BorrowedFd<'_>>,
    durable: bool,
) -> Result<(), DiskError> {
    // 1. Everything new is written beside the tree. Failing removes it again.
    let (journal, record) = match prepare(root, changes, snapshot, outside, durable) {
        Ok(prepared) => prepared,
        Err(error) => {
            // Why it failed matters more than that its leftovers could not be removed: the next command tries again.
            let _ = discard(root);
            return Err(error);
        }
    };
    // 2. The commit point.
    if let Err(error) = rename(journal.as_fd(), DRAFT, FORWARD) {
        let _ = discard(root);
        return Err(error);
    }
    // 3. Into place, or all back.
    settle(root, outside, journal.as_fd(), &record, durable).map_err(|(error, _)| error)
}

/// Moves everything into place, or takes it back; then the journal goes. An error comes with whether the tree is whole
/// nonetheless.
fn settle(
    root: BorrowedFd<'_>,
    outside: Option<BorrowedFd<'_>>,
    journal: BorrowedFd<'_>,
    record: &Record,
    durable: bool,
) -> Result<(), (DiskError, bool)> {
    let settle = Settle { root, journal, record };
    let flush_record = || match durable {
        true => rustix::fs::fsync(journal).map_err(DiskError::io("flush", JOURNAL)),
        false => Ok(()),
    };
    if let Err(error) = flush_record().and_then(|()| settle.forward()) {
        take_back(root, journal, &settle).map_err(|cause| (cause, false))?;
        return Err((error, true));
    }
    if durable && let Err(error) = rustix::fs::syncfs(root) {
        let cause = Box::new(DiskError::io("flush", ".")(error));
        return Err((DiskError::Unfinished { cause }, false));
    }
    // It is in place whatever becomes of the journal: the next command removes what stays.
    let _ = clear(root, outside, journal, FORWARD);
    Ok(())
}

fn take_back(root: BorrowedFd<'_>, journal: BorrowedFd<'_>, settle: &Settle<'_>) -> Result<(), DiskError> {
    let unfinished = |cause| DiskError::Unfinished { cause: Box::new(cause) };
    if beneath::stat(journal, FORWARD).is_ok_and(|stat| stat.is_some()) {
        rename(journal, FORWARD, BACK).map_err(unfinished)?;
    }
    settle.back().map_err(unfinished)?;
    clear(root, None, journal, BACK)
}

/// The record goes first: without it the rest is waste that anyone may remove.
fn clear(
    root: BorrowedFd<'_>,
    outside: Option<BorrowedFd<'_>>,
    journal: BorrowedFd<'_>,
    record: &str,
) -> Result<(), DiskError> {
    rustix::fs::unlinkat(journal, record, AtFlags::empty()).map_err(DiskError::io("remove", JOURNAL))?;
    empty(journal)?;
    remove(root, outside)
}

fn rename(journal: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), DiskError> {
    rustix::fs::renameat(journal, from, journal, to).map_err(DiskError::io("commit in", JOURNAL))
}

/// Under the lock: finishes, takes back or removes what a killed run left.
pub fn recover(root: BorrowedFd<'_>) -> Result<Recovered, DiskError> {
    let io = || DiskError::io("read", JOURNAL);
    let Some(stat) = beneath::stat(root, JOURNAL).map_err(io())? else {
        return Ok(Recovered::Nothing);
    };
    if !is_ours(&stat) {
        return Err(DiskError::ForeignJournal);
    }
    let journal = open(root)?;
    let back = record::read(journal.as_fd(), BACK).map_err(io())?;
    let is_back = back.is_some();
    let found = if is_back { back } else { record::read(journal.as_fd(), FORWARD).map_err(io())? };
    let Some(record) = found else {
        discard(root)?;
        return Ok(Recovered::Discarded);
    };
    let record = record.map_err(|error| DiskError::DamagedJournal { why: error.to_string() })?;
    let own = beneath::stat(journal.as_fd(), if is_back { BACK } else { FORWARD }).map_err(io())?;
    if own.is_none_or(|stat| stat.st_ino != record.own_inode) {
        return Err(DiskError::ForeignJournal);
    }
    if is_back {
        take_back(root, journal.as_fd(), &Settle { root, journal: journal.as_fd(), record: &record })?;
        return Ok(Recovered::TakenBack);
    }
    match settle(root, None, journal.as_fd(), &record, false) {
        Ok(()) => Ok(Recovered::Finished),
        // Whoever changed a file meanwhile keeps the change; the rest is as it was before.
        Err((_, true)) => Ok(Recovered::TakenBack),
        Err((error, false)) => Err(error),
    }
}

fn open(root: BorrowedFd<'_>) -> Result<OwnedFd, DiskError> {
    beneath::open(root, JOURNAL, OFlags::RDONLY | OFlags::DIRECTORY).map_err(DiskError::io("open", JOURNAL))
}

fn is_ours(stat: &Stat) -> bool {
    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_folder && stat.st_mode & 0o077 == 0 && stat.st_uid == rustix::process::geteuid().as_raw()
}

fn discard(root: BorrowedFd<'_>) -> Result<(), DiskError> {
    match beneath::open(root, JOURNAL, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT) => return Ok(()),
        journal => empty(journal.map_err(DiskError::io("remove", JOURNAL))?.as_fd())?,
    }
    remove(root, None)
}

fn empty(journal: BorrowedFd<'_>) -> Result<(), DiskError> {
    let io = || DiskError::io("remove", JOURNAL);
    for name in beneath::names(journal).map_err(io())? {
        match rustix::fs::unlinkat(journal, name.as_str(), AtFlags::empty()) {
            // A directory that made room, empty.
            Err(Errno::ISDIR | Errno::PERM) => {
                rustix::fs::unlinkat(journal, name.as_str(), AtFlags::REMOVEDIR).map_err(io())?;
            }
            removed => removed.map_err(io())?,
        }
    }
    Ok(())
}

/// The journal, empty by now.
fn remove(root: BorrowedFd<'_>, outside: Option<BorrowedFd<'_>>) -> Result<(), DiskError> {
    let is_spared =
        outside.is_some_and(|outside| rustix::fs::renameat(root, JOURNAL, outside, SPARE).is_ok());
    if is_spared {
        return Ok(());
    }
    rustix::fs::unlinkat(root, JOURNAL, AtFlags::REMOVEDIR).map_err(DiskError::io("remove", JOURNAL))
}

/// An empty journal: the spare one, if it is on the same file system.
fn make(root: BorrowedFd<'_>, outside: Option<BorrowedFd<'_>>) -> Result<OwnedFd, DiskError> {
    let spare = |outside| beneath::move_to_free(outside, SPARE, root, JOURNAL).is_ok();
    if !outside.is_some_and(spare) {
        rustix::fs::mkdirat(root, JOURNAL, Mode::RWXU).map_err(DiskError::io("make", JOURNAL))?;
    }
    let journal = open(root)?;
    let stat = rustix::fs::fstat(&journal).map_err(DiskError::io("read", JOURNAL))?;
    if is_ours(&stat) {
        return Ok(journal);
    }
    // Somebody else's, who shares the folder for receipts.
    remove(root, None)?;
    make(root, None)
}

fn prepare(
    root: BorrowedFd<'_>,
    changes: &[FileChange],
    snapshot: &DiskSnapshot<'_>,
    outside: Option<BorrowedFd<'_>>,
    durable: bool,
) -> Result<(OwnedFd, Record), DiskError> {
    let journal = make(root, outside)?;
    let mut moves = Vec::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        let name = index.to_string();
        let after_inode = match &change.after {
            Some(file) => Some(
                stage::write(journal.as_fd(), &name, file, snapshot.found(&change.path))
                    .map_err(DiskError::io("write the new", change.path.as_str()))?,
            ),
            None => None,
        };
        let before = snapshot.found(&change.path).map(|found| found.mark.clone());
        moves.push(Move { path: change.path.clone(), before, after_inode });
    }
    let (vacate, make, prune) = directories(changes, snapshot);
    let mut record = Record { own_inode: 0, moves, vacate, make, prune };
    record::write(journal.as_fd(), &mut record).map_err(DiskError::io("write", JOURNAL))?;
    if durable {
        rustix::fs::syncfs(root).map_err(DiskError::io("flush", "."))?;
    }
    Ok((journal, record))
}

type Directories = Vec<WorkspacePath>;

/// Which directories must go before, come before, and may go after the files move.
fn directories(
    changes: &[FileChange],
    snapshot: &DiskSnapshot<'_>,
) -> (Directories, Directories, Directories) {
    let above = |path: &WorkspacePath| -> Vec<WorkspacePath> {
        path.ancestors().filter_map(|path| WorkspacePath::parse(path).ok()).collect()
    };
    let is_written =
        |path: &WorkspacePath| changes.iter().any(|change| change.path == *path && change.after.is_some());
    let mut vacate = BTreeSet::new();
    let mut prune = BTreeSet::new();
    for change in changes.iter().filter(|change| change.after.is_none()) {
        let above = above(&change.path);
        // A file takes the place of a directory: everything from there down to the removed file goes first.
        match above.iter().rposition(is_written) {
            Some(at) => vacate.extend(above.into_iter().take(at + 1)),
            None => prune.extend(above),
        }
    }
    let made = changes.iter().filter(|change| change.after.is_some()).flat_map(|change| above(&change.path));
    let make: BTreeSet<_> = made.filter(|path| !snapshot.is_directory_on_disk(path)).collect();
    // A path sorts before everything below it.
    (vacate.into_iter().rev().collect(), make.into_iter().collect(), prune.into_iter().rev().collect())
}
