//! Every probe, by what it goes for. What several use stands here.

mod calls;
mod devices;
mod files;
mod ipc;
mod mounts;
mod namespaces;
mod network;
mod privilege;
mod proc_files;
mod processes;
mod sockets;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::call::{address, c_path, call, int, text};
use crate::probe::{Probe, Verdict};

pub fn all() -> impl Iterator<Item = &'static Probe> {
    [
        files::PROBES,
        processes::PROBES,
        proc_files::PROBES,
        calls::PROBES,
        sockets::PROBES,
        network::PROBES,
        ipc::PROBES,
        devices::PROBES,
        privilege::PROBES,
        mounts::PROBES,
        namespaces::PROBES,
    ]
    .into_iter()
    .flatten()
}

/// Opens it so that nothing happens to it, whatever it is.
fn opens(path: impl AsRef<Path>, write: bool) -> Verdict {
    let path = path.as_ref();
    let opened = OpenOptions::new()
        .read(!write)
        .write(write)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(path);
    match Verdict::from(opened) {
        Verdict::Open(_) => Verdict::Open(format!("{} was opened", path.display())),
        Verdict::Closed(why) => Verdict::Closed(format!("{}: {why}", path.display())),
    }
}

/// Whether it could be opened for writing, were it not being run (ETXTBSY comes before other answers).
fn may_write(path: &Path) -> Verdict {
    let path = c_path(path);
    let arguments = [int(libc::AT_FDCWD), text(&path), int(libc::W_OK), int(libc::AT_EACCESS)];
    Verdict::from(call(libc::SYS_faccessat2, &arguments))
}

/// A directory of one probe's own, where the payload may write; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = PathBuf::from(format!("/tmp/patchbay-probe-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn file(&self) -> io::Result<PathBuf> {
        let path = self.0.join("file");
        fs::write(&path, "")?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes something in a directory of its own.
fn in_scratch(attempt: impl FnOnce(&Scratch) -> io::Result<Verdict>) -> Verdict {
    Scratch::new()
        .and_then(|scratch| attempt(&scratch))
        .unwrap_or_else(|error| Verdict::Closed(error.to_string()))
}

/// The master of a new pseudo-terminal, and the path of its other side.
pub fn new_terminal() -> io::Result<(OwnedFd, PathBuf)> {
    let master = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOCTTY | libc::O_CLOEXEC)
        .open("/dev/ptmx")?;
    let (fd, unlock, mut number) = (int(master.as_raw_fd()), 0_i32, 0_u32);
    call(libc::SYS_ioctl, &[fd, libc::TIOCSPTLCK as usize, address(&unlock)])?;
    call(libc::SYS_ioctl, &[fd, libc::TIOCGPTN as usize, std::ptr::from_mut(&mut number) as usize])?;
    Ok((master.into(), PathBuf::from(format!("/dev/pts/{number}"))))
}
