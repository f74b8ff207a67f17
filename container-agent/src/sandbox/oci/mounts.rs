//! What a container may write, as mounts: the workspace's overlay, `/tmp`, the home directory, shared memory, secrets. They
//! are made as the `namespaces` back end makes them, by the same code: the shared tree id-mapped to the execution's own
//! user, and all that is written below one size limit.
//!
//! An engine takes paths, not descriptors. So each mount stands below the execution's directory, in the agent's own mount
//! namespace, from just before the container is created until its first process says that it runs; from then on only
//! the container has it. What an agent that dies in between leaves is taken away by [`unmount_below`].

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sandbox::SandboxError;
use crate::sandbox::namespaces::message::{self, Blueprint, Order, Report, Work};
use crate::sandbox::namespaces::{root, sys, workspace};

/// The hidden argument that makes the program the one that mounts: only a process with one thread can fork for the
/// id map and change its namespace.
pub const ARGUMENT: &str = "__container-mounts";

/// In the execution's directory, what goes into the container is below this.
pub const INSIDE: &str = "inside";
/// Mount points of the helper's own namespace.
const WORKING: [&str; 3] = ["lower", "disk", "secrets"];
/// What is handed over, where it stands in the container, whether it is read-only there.
pub const MOUNTS: [(&str, &str, bool); 5] = [
    ("workspace", "/workspace", false),
    ("tmp", "/tmp", false),
    ("home", "/home/agent", false),
    // An engine's own is outside the disk limit, and in memory as many files as anyone likes.
    ("shm", "/dev/shm", false),
    ("secrets", crate::sandbox::SECRETS, true),
];
const NOT_WRITABLE: u64 = root::READ_ONLY | sys::ATTR_NOEXEC;

/// The directories that are read after the end, and what the engine is shown.
pub struct Mounts {
    pub upper: OwnedFd,
    pub merged: OwnedFd,
    pub shown: Shown,
}

/// What stands below `inside`. Drop it once the container has its own.
pub struct Shown {
    directory: PathBuf,
}

impl Mounts {
    /// Builds them in a helper process, then puts them below the execution's directory.
    pub async fn build(program: &Path, blueprint: &Blueprint, work: &Work) -> Result<Self, SandboxError> {
        let directory = &blueprint.directory;
        for name in WORKING.into_iter().map(PathBuf::from).chain(targets()) {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(SandboxError::io(format!("make {}", path.display())))?;
        }
        let mut fds = ask(program, blueprint, work).await?.into_iter();
        let mut next = || fds.next().ok_or_else(|| SandboxError::Setup("a mount did not come along".into()));
        let shown = Shown { directory: directory.clone() };
        let upper = next()?;
        for target in targets() {
            sys::move_mount(next()?.as_fd(), &directory.join(target))
                .map_err(SandboxError::io("show the workspace to the engine"))?;
        }
        let merged = workspace::open_directory(&directory.join(INSIDE).join("workspace"))
            .map_err(SandboxError::io("keep the workspace"))?;
        Ok(Self { upper, merged, shown })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        targets().for_each(|target| detach(&self.directory.join(target)));
    }
}

fn targets() -> impl Iterator<Item = PathBuf> {
    MOUNTS.iter().map(|(name, ..)| Path::new(INSIDE).join(name))
}

fn detach(path: &Path) {
    use rustix::mount::UnmountFlags;
    // Not mounted, or no more, is as good.
    let _ = rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
}

/// Takes away what a dead agent left mounted below its directory.
pub fn unmount_below(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let ours = |path: &&Path| path.starts_with(directory) && targets().any(|target| path.ends_with(target));
    points.filter(ours).for_each(detach);
}

/// Removes the mount points.
pub fn clear(directory: &Path) {
    if directory.as_os_str().is_empty() {
        return;
    }
    unmount_below(directory);
    for name in WORKING.into_iter().chain([INSIDE]) {
        let _ = fs::remove_dir_all(directory.join(name));
    }
}

async fn ask(program: &Path, blueprint: &Blueprint, work: &Work) -> Result<Vec<OwnedFd>, SandboxError> {
    let spawn = || -> io::Result<_> {
        let (ours, theirs) = message::socket_pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let (blueprint, work) = (message::memory_file(blueprint)?, message::memory_file(work)?);
        let mut command = Command::new(program);
        command.arg(ARGUMENT).env_clear().current_dir("/").stdin(Stdio::from(theirs)).stdout(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn()?;
        message::send(ours.as_fd(), &Order::Build, &[blueprint.as_fd(), work.as_fd()])?;
        // SAFETY: an `OwnedFd` is an open descriptor of its own until it is dropped, and `AsyncFd` owns it.
        let socket: AsyncFd<OwnedFd> = unsafe { AsyncFd::register(ours)? };
        Ok((socket, process))
    };
    let (socket, mut process) = spawn().map_err(SandboxError::io("start the sandbox helper"))?;
    let answer = socket
        .async_io(Interest::READABLE, |socket| message::receive::<Report>(socket.as_fd()))
        .await
        .map_err(SandboxError::io("hear the sandbox helper"))?;
    let _ = process.wait().await;
    match answer {
        Some((Report::Attached, fds)) => Ok(fds),
        Some((Report::Failed(what), _)) => Err(SandboxError::Setup(what)),
        _ => Err(SandboxError::HelperDied),
    }
}

/// The whole life of the helper.
pub fn main() -> ExitCode {
    let stdin = io::stdin();
    let Ok(agent) = stdin.as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    match build(&agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = message::send(agent.as_fd(), &Report::Failed(message::short(&error.to_string())), &[]);
            ExitCode::FAILURE
        }
    }
}

fn build(agent: &OwnedFd) -> io::Result<()> {
    let Some((Order::Build, fds)) = message::receive::<Order>(agent.as_fd())? else { return Ok(()) };
    let [blueprint, work] = fds.as_slice() else { return Err(io::Error::other("two files must come along")) };
    let blueprint: Blueprint = message::read_memory_file(blueprint)?;
    let work: Work = message::read_memory_file(work)?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    root::enter_own_namespaces(blueprint.privileged)?;
    root::keep_mounts_private()?;
    // Short relative paths: overlayfs splits its options at commas and colons.
    root::step("enter the sandbox's directory", std::env::set_current_dir(&blueprint.directory))?;
    root::step("writable disk", workspace::build_disk(&blueprint))?;
    workspace::fill_disk(&blueprint, &work)?;
    let workspace = workspace::attach(&blueprint, &work, None)?;
    let copy = |path: &str, attributes| -> io::Result<OwnedFd> {
        let tree = sys::open_tree(Path::new(path), false)?;
        sys::mount_setattr(tree.as_fd(), false, attributes, None)?;
        Ok(tree)
    };
    let [tmp, home, shm] = [
        copy("disk/tmp", root::WRITABLE)?,
        copy("disk/home", root::WRITABLE)?,
        copy("disk/shm", root::WRITABLE)?,
    ];
    let secrets = copy("secrets", NOT_WRITABLE)?;
    let fds = [&workspace.upper, &workspace.mount, &tmp, &home, &shm, &secrets];
    message::send(agent.as_fd(), &Report::Attached, &fds.map(AsFd::as_fd))
}
