//! The agent's side of [`super::template`]: one process for each system that sandboxes are asked for with, replaced when what
//! it was made of has changed.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::sync::Mutex;

use super::message::{self, Base, Blueprint, Order, Report};
use super::running::Line;
use super::{root, template};
use crate::sandbox::{SandboxError, Toolchain};

const MOUNTS: &str = "/proc/self/mountinfo";
/// Images in use at one time are few; one more than this ends the template that was not used for longest.
const HELD_MAX: usize = 8;

#[derive(Debug)]
pub struct Templates {
    /// A mount point for all of them: each mounts in a namespace of its own.
    directory: PathBuf,
    toolchains: Vec<Toolchain>,
    /// The one that was used last is the last.
    held: Mutex<Vec<Arc<Template>>>,
}

/// A process that waits to be forked. It ends when this is dropped and the last of its helpers has ended; then the runtime
/// reaps it.
#[derive(Debug)]
pub struct Template {
    base: Base,
    made_of: Vec<Option<Facts>>,
    /// What was mounted there, as lines of the mount table.
    mounted: Vec<String>,
    /// The mount table. The kernel tells when anything in it changes.
    mounts: File,
    line: Line,
    process: Mutex<tokio::process::Child>,
}

/// Device, inode, time of the last change in seconds and nanoseconds.
type Facts = (u64, u64, i64, i64);

fn facts(base: &Base) -> Vec<Option<Facts>> {
    let facts = |path: PathBuf| {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
    };
    root::made_of(base).into_iter().map(facts).collect()
}

/// The mounts at and below what it is made of. Those that come later it does not see.
fn mounted(base: &Base) -> std::io::Result<Vec<String>> {
    let made_of = root::made_of(base);
    let table = fs::read_to_string(MOUNTS)?;
    let point = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    let is_seen =
        |line: &&str| point(line).is_some_and(|point| made_of.iter().any(|path| point.starts_with(path)));
    Ok(table.lines().filter(is_seen).map(str::to_owned).collect())
}

impl Templates {
    pub fn new(directory: PathBuf, toolchains: Vec<Toolchain>) -> Arc<Self> {
        Arc::new(Self { directory, toolchains, held: Mutex::default() })
    }

    /// The one with this image; none is the machine's own programs.
    pub async fn get(&self, image: Option<&Path>) -> Result<Arc<Template>, SandboxError> {
        let mut held = self.held.lock().await;
        let found = held.iter().position(|template| template.base.image.as_deref() == image);
        let found = found.map(|at| held.remove(at)).filter(|template| template.is_as_it_was_made());
        let template = match found {
            Some(template) => template,
            None => Arc::new(self.make(image).await?),
        };
        if held.len() >= HELD_MAX {
            held.remove(0);
        }
        held.push(Arc::clone(&template));
        Ok(template)
    }

    async fn make(&self, image: Option<&Path>) -> Result<Template, SandboxError> {
        let base = Base {
            directory: self.directory.clone(),
            image: image.map(Path::to_owned),
            toolchains: self.toolchains.clone(),
            privileged: rustix::process::geteuid().is_root(),
        };
        // Looked at before: what changes while it is made counts as a change.
        let made_of = facts(&base);
        let spawn = || -> std::io::Result<_> {
            fs::create_dir_all(&base.directory)?;
            let mounts = (File::open(MOUNTS)?, mounted(&base)?);
            let (ours, theirs) = message::socket_pair()?;
            let mut command = Command::new("/proc/self/exe");
            command.arg(template::ARGUMENT).env_clear();
            command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
            let process = tokio::process::Command::from(command).spawn()?;
            Ok((mounts, Line::new(ours)?, process, message::memory_file(&base)?))
        };
        let ((mounts, mounted), line, process, file) =
            spawn().map_err(SandboxError::io("start the sandboxes' template"))?;
        line.say(Order::Build, &[file.as_fd()])?;
        line.expect(Report::Built).await?;
        Ok(Template { base, made_of, mounted, mounts, line, process: Mutex::new(process) })
    }

    /// They go, and with them what was forked from them.
    pub async fn close(&self) {
        for template in self.held.lock().await.drain(..) {
            template.line.hang_up();
            let _ = template.process.lock().await.wait().await;
        }
    }
}

impl Template {
    fn is_as_it_was_made(&self) -> bool {
        !self.line.is_over() && facts(&self.base) == self.made_of && self.mounts_are_the_same()
    }

    /// Engines mount for every container, elsewhere.
    fn mounts_are_the_same(&self) -> bool {
        !has_something(self.mounts.as_fd(), PollFlags::PRI)
            || mounted(&self.base).is_ok_and(|mounted| mounted == self.mounted)
    }

    /// Forks a helper, which hears its first orders from its own socket.
    pub async fn bear(&self, blueprint: &Blueprint, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        let send = |socket: &OwnedFd| message::send(socket.as_fd(), blueprint, fds);
        let sent = self.line.socket().async_io(Interest::WRITABLE, send).await;
        sent.map_err(SandboxError::io("reach the sandboxes' template"))
    }
}

/// Whether the kernel has anything to say about this descriptor now.
pub fn has_something(fd: BorrowedFd<'_>, what: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, what)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
