//! A sandbox can end in the middle of an `apply`, both its processes with it. Before the changes are read, what the journal
//! says is finished or taken back, by a process with the rights that the payload had: the journal is its word.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use patchctl::disk::{JOURNAL, Tree};
use rustix::fs::AtFlags;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::sandbox::Collected;

/// The hidden argument that makes the program settle its working directory.
pub const ARGUMENT: &str = "__settle";

const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const CPU_SECONDS_MAX: u64 = 20;

/// An error says that the changes may be half of a patch. Blocks.
pub fn settle(collected: &Collected) -> Result<(), String> {
    if rustix::fs::statat(&collected.merged, JOURNAL, AtFlags::SYMLINK_NOFOLLOW).is_err() {
        return Ok(());
    }
    let status = Command::new("/proc/self/exe")
        .arg(ARGUMENT)
        .env_clear()
        .current_dir(format!("/proc/self/fd/{}", collected.merged.as_fd().as_raw_fd()))
        .uid(collected.outer_id)
        .gid(collected.outer_id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("settling {JOURNAL} ended with {status}")),
        Err(error) => Err(format!("settling {JOURNAL}: {error}")),
    }
}

/// The whole life of that process.
pub fn main() -> ExitCode {
    let limited =
        |resource, value| setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) });
    let settled = limited(Resource::As, MEMORY_BYTES_MAX)
        .and_then(|()| limited(Resource::Cpu, CPU_SECONDS_MAX))
        .is_ok_and(|()| Tree::open(Path::new(".")).is_ok());
    if settled { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
