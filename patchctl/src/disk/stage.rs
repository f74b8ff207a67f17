//! A new file, written where nobody looks yet, with everything that its old self had: mode, owner, attributes.

use std::os::fd::BorrowedFd;

use patch_engine::File;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Result;
use shared_contracts::workspaces::FileMode;

use super::beneath;
use super::snapshot::Found;

/// Writes `name` in `folder` and answers its inode.
pub fn write(folder: BorrowedFd<'_>, name: &str, file: &File, old: Option<&Found>) -> Result<u64> {
    if file.mode == FileMode::Symlink {
        rustix::fs::symlinkat(file.bytes.as_slice(), folder, name)?;
        return Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino);
    }
    // Of a link nothing is kept: its mode means nothing.
    let old = old.filter(|old| old.file.mode != FileMode::Symlink);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // The umask decides about a new file, the old file about the one that replaces it.
    let bits = match file.mode {
        _ if old.is_some() => 0o600,
        FileMode::Executable => 0o777,
        FileMode::Regular | FileMode::Symlink => 0o666,
    };
    let mut staged: std::fs::File =
        rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(bits))?.into();
    beneath::write(&mut staged, &file.bytes)?;
    let written = rustix::fs::fstat(&staged)?;
    if let Some(old) = old {
        keep(&staged, &written, old, file.mode)?;
    }
    Ok(written.st_ino)
}

fn keep(staged: &std::fs::File, written: &Stat, old: &Found, mode: FileMode) -> Result<()> {
    if (written.st_uid, written.st_gid) != (old.stat.st_uid, old.stat.st_gid) {
        // Only root gives files away; anyone else becomes the owner of what they write, as with any editor.
        let owner = (Uid::from_raw(old.stat.st_uid), Gid::from_raw(old.stat.st_gid));
        if rustix::fs::fchown(staged, Some(owner.0), Some(owner.1)).is_err() {
            let _ = rustix::fs::fchown(staged, None, Some(owner.1));
        }
    }
    for (name, value) in &old.attributes {
        // Some belong to the kernel or to root; they are not ours to copy.
        let _ = rustix::fs::fsetxattr(staged, name.as_c_str(), value, XattrFlags::empty());
    }
    // Whoever writes to a file takes its set-user-id away; replacing it must not keep it.
    let bits = old.stat.st_mode & 0o777;
    let bits = match (old.file.mode, mode) {
        (FileMode::Regular, FileMode::Executable) => bits | ((bits & 0o444) >> 2),
        (FileMode::Executable, FileMode::Regular) => bits & !0o111,
        _ => bits,
    };
    rustix::fs::fchmod(staged, Mode::from_raw_mode(bits))
}
