//! A payload can close directories and files to their owner. Where the agent is an ordinary user, that is the agent, and
//! could not read what is to be delivered. Before it is read it is opened; what a patch carries does not change by that.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath;
use crate::sandbox::{Collected, Sandbox, SandboxError};

const DIRECTORY_MODE_LEAST: u32 = 0o700;
const FILE_MODE_LEAST: u32 = 0o400;

/// What the payload left, and all of it can be read.
pub async fn collect(sandbox: &mut dyn Sandbox) -> Result<Collected, SandboxError> {
    let collected = sandbox.collect().await?;
    if rustix::process::geteuid().is_root() {
        return Ok(collected);
    }
    let opened = tokio::task::spawn_blocking(move || open(&collected).map(|()| collected)).await;
    opened.map_err(io::Error::other).flatten().map_err(SandboxError::io("open what the payload closed"))
}

/// Through the overlay, which would not see a change below it.
fn open(Collected { upper, merged, .. }: &Collected) -> io::Result<()> {
    // Its own descriptor: no name leads to a directory that is closed.
    let mode = rustix::fs::fstat(merged)?.st_mode;
    if mode & DIRECTORY_MODE_LEAST != DIRECTORY_MODE_LEAST {
        rustix::fs::fchmod(merged, Mode::from_raw_mode(mode | DIRECTORY_MODE_LEAST))?;
    }
    open_below(upper, merged, 0)
}

/// `written` is the part of `merged` in which anything can have been closed.
fn open_below(written: &OwnedFd, merged: &OwnedFd, depth: usize) -> io::Result<()> {
    for beneath::Entry { name, .. } in beneath::list(written, Path::new(""))? {
        let mode = match rustix::fs::statat(merged, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // What was removed.
            Err(Errno::NOENT) => continue,
            stat => stat?.st_mode,
        };
        let kind = FileType::from_raw_mode(mode);
        let least = match kind {
            FileType::Directory => DIRECTORY_MODE_LEAST,
            FileType::RegularFile => FILE_MODE_LEAST,
            _ => continue,
        };
        if mode & least != least {
            rustix::fs::chmodat(merged, &name, Mode::from_raw_mode(mode | least), AtFlags::empty())?;
        }
        if kind == FileType::Directory && depth < beneath::DEPTH_MAX {
            let below = |root| beneath::open(root, Path::new(&name), OFlags::RDONLY | OFlags::DIRECTORY);
            open_below(&below(written)?, &below(merged)?, depth + 1)?;
        }
    }
    Ok(())
}
