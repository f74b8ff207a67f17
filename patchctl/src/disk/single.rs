//! A change of one file: written in a folder outside the tree, then one rename. Killed at any instant, the tree holds
//! the old file or the new one and nothing else.

use std::os::fd::{AsFd, BorrowedFd};

use patch_engine::FileChange;
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::{Errno, Result};

use super::{DiskError, DiskSnapshot, Tree, beneath, stage};

const STAGED: &str = "staged";

/// False where a rename alone does not do it; nothing has happened then.
pub fn commit(
    tree: &Tree,
    change: &FileChange,
    snapshot: &DiskSnapshot<'_>,
    staging: BorrowedFd<'_>,
    durable: bool,
) -> std::result::Result<bool, DiskError> {
    let is_same_device = rustix::fs::fstat(staging).is_ok_and(|stat| stat.st_dev == tree.device);
    let mut above = change.path.ancestors();
    let has_folder = above.next().is_none_or(|folder| snapshot.is_directory_on_disk_at(folder));
    let Some(file) = change.after.as_ref().filter(|_| is_same_device && has_folder) else {
        return Ok(false);
    };
    let path = change.path.as_str();
    let found = snapshot.found(&change.path);
    // A run that was killed may have left one.
    remove_staged(staging).map_err(DiskError::io("prepare", path))?;
    let moved = stage::write(staging, STAGED, file, found).and_then(|_| {
        if durable {
            let staged = beneath::open(staging, STAGED, rustix::fs::OFlags::RDONLY)?;
            rustix::fs::fsync(&staged)?;
        }
        place(tree, change, snapshot, staging, durable)
    });
    let cleared = remove_staged(staging);
    match moved {
        Ok(Some(())) => cleared.map(|()| true).map_err(DiskError::io("remove the old", path)),
        // The folder for staging is mounted from elsewhere, or names cannot be exchanged: the journal can.
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => Ok(false),
        Ok(None) | Err(Errno::EXIST | Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
            Err(DiskError::Changed { path: path.to_owned() })
        }
        Err(error) => Err(DiskError::io("write", path)(error)),
    }
}

/// None where the file is not the one that was read any more; it is left as it is.
fn place(
    tree: &Tree,
    change: &FileChange,
    snapshot: &DiskSnapshot<'_>,
    staging: BorrowedFd<'_>,
    durable: bool,
) -> Result<Option<()>> {
    let (folder, name) = beneath::folder_of(tree.root.as_fd(), change.path.as_str())?;
    match snapshot.found(&change.path) {
        None => beneath::move_to_free(staging, STAGED, folder.as_fd(), name)?,
        Some(found) => {
            if !found.mark.holds(folder.as_fd(), name)? {
                return Ok(None);
            }
            rustix::fs::renameat_with(staging, STAGED, &folder, name, RenameFlags::EXCHANGE)?;
            if !found.mark.holds(staging, STAGED)? {
                rustix::fs::renameat_with(staging, STAGED, &folder, name, RenameFlags::EXCHANGE)?;
                return Ok(None);
            }
        }
    }
    if durable {
        rustix::fs::syncfs(tree.root.as_fd())?;
    }
    Ok(Some(()))
}

fn remove_staged(staging: BorrowedFd<'_>) -> Result<()> {
    beneath::absent_is_none(rustix::fs::unlinkat(staging, STAGED, AtFlags::empty())).map(drop)
}
