//! The `namespaces` back end: the agent's half. Control groups, a helper process for each sandbox, and its words.
//!
//! ```text
//!   agent ── spawns ──▶ helper ── forks ──▶ PID 1 ── forks ──▶ payload
//!   mod, running,       helper, root,       child, init        walls
//!   cgroup              etc, workspace      devices
//! ```
//! As root every execution gets a uid of its own; as an ordinary user all of it happens in a user namespace, with the
//! same walls and one uid.

pub mod cgroup;
mod child;
mod devices;
mod etc;
pub mod helper;
pub(in crate::sandbox) mod init;
pub(in crate::sandbox) mod message;
pub(in crate::sandbox) mod root;
pub(in crate::sandbox) mod running;
pub(in crate::sandbox) mod sys;
pub(in crate::sandbox) mod walls;
pub mod warm;
pub(in crate::sandbox) mod workspace;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::unix::AsyncFd;

use self::cgroup::{Cgroup, Hierarchies};
use self::message::{Blueprint, Order, Report, Work};
use self::running::{Helper, Running};
use super::sweep::remove_tree;
use super::{Egress, INNER_ID, Output, Provider, Sandbox, SandboxError, SandboxSpec, Toolchain};

/// Uids of executions start here, far above those of people and services: `FIRST_ID + instance × 2000 + slot`.
const FIRST_ID: u32 = 200_000;
/// Uids kept for one instance, so that two agents of one machine do not share any: one for each place of its capacity,
/// and as many for sandboxes that wait.
const IDS_PER_INSTANCE: u32 = 2 * CAPACITY_IDS;
const CAPACITY_IDS: u32 = shared_contracts::limits::CONTAINER_AGENT_CAPACITY_MAX;
const INSTANCES_MAX: u32 = 1_000_000;
/// Asked for, so that a payload that writes fast is not woken for every 64 KiB.
const PIPE_BYTES: usize = 1024 * 1024;
/// Mount points in an execution's directory.
const MOUNT_POINTS: [&str; 5] = ["root", "lower", "disk", "secrets", "image"];

/// The uid of a slot's payload on the host.
pub(in crate::sandbox) fn outer_id(instance: &str, slot: u32) -> u32 {
    let own = rustix::process::geteuid();
    if !own.is_root() {
        return own.as_raw();
    }
    let number = u32::from_str_radix(instance.get(..8).unwrap_or_default(), 16).unwrap_or_default();
    let warm = slot.checked_sub(CAPACITY_IDS).map(|number| CAPACITY_IDS + number % CAPACITY_IDS);
    FIRST_ID + (number % INSTANCES_MAX) * IDS_PER_INSTANCE + warm.unwrap_or(slot)
}

#[derive(Debug, Clone)]
pub struct Namespaces {
    /// Names this agent's cgroups; derived from its state directory.
    pub instance: String,
    pub hierarchies: Hierarchies,
    /// False only where the operator said `limits = "none"`.
    pub enforce_limits: bool,
    pub disk_in_memory: bool,
    pub toolchains: Vec<Toolchain>,
    /// Sandboxes that wait; none unless they were asked for.
    pub warm: Option<Arc<warm::Warm>>,
}

/// Where a sandbox is built, before anything is known of what will run in it.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    directory: PathBuf,
    /// Whether the directory goes with the sandbox.
    owns_directory: bool,
    slot: u32,
    image: Option<PathBuf>,
}

impl Namespaces {
    async fn prepare_now(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        // One that waits has the machine's own programs.
        let waiting = self.warm.as_ref().filter(|_| spec.mounts.image.is_none()).and_then(|warm| warm.take());
        if let Some(mut running) = waiting {
            match running.attach(&spec).await {
                Ok(()) => return Ok(Box::new(running)),
                // Its helper may have died while it waited; a fault of this execution will be met again.
                Err(error) => tracing::warn!(%error, "a sandbox that waited could not be used"),
            }
        }
        let place = Place {
            name: spec.name.clone(),
            directory: spec.directory.clone(),
            owns_directory: false,
            slot: spec.slot,
            image: spec.mounts.image.clone(),
        };
        let mut running = self.build(&place).await?;
        running.attach(&spec).await?;
        Ok(Box::new(running))
    }

    /// Everything that does not depend on the workspace and the command.
    async fn build(&self, place: &Place) -> Result<Running, SandboxError> {
        // 1. Mount points, inside a directory of its own.
        for name in MOUNT_POINTS {
            std::fs::create_dir_all(place.directory.join(name))
                .map_err(SandboxError::io(format!("make {}", place.directory.join(name).display())))?;
        }
        // 2. Control groups, before anything runs. Their limits come with the work.
        let cgroup = match self.enforce_limits {
            true => Some(Arc::new(
                self.hierarchies
                    .create(&self.instance, &place.name)
                    .map_err(SandboxError::io("make the control groups"))?,
            )),
            false => None,
        };
        let privileged = rustix::process::geteuid().is_root();
        let outer_id = outer_id(&self.instance, place.slot);
        let blueprint = Blueprint {
            directory: place.directory.clone(),
            image: place.image.clone(),
            toolchains: self.toolchains.clone(),
            outer_id: if privileged { outer_id } else { INNER_ID },
            privileged,
            entry: cgroup.as_ref().map(|cgroup| cgroup.entry()).unwrap_or_default(),
            disk_in_memory: self.disk_in_memory,
        };
        // 3. The helper. From here on dropping what comes of it undoes everything.
        let running = Running {
            helper: spawn_helper(cgroup.as_deref())?,
            cgroup,
            collected: None,
            outer_id,
            directory: place.directory.clone(),
            owns_directory: place.owns_directory,
            has_egress: false,
        };
        let file = message::memory_file(&blueprint).map_err(SandboxError::io("write the helper's orders"))?;
        running.helper.say(Order::Build, &[file.as_fd()])?;
        running.helper.expect(Report::Built).await?;
        Ok(running)
    }
}

impl Provider for Namespaces {
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.prepare_now(spec))
    }
}

impl Running {
    /// What will run, and over what.
    async fn attach(&mut self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        if let Some(cgroup) = &self.cgroup {
            cgroup.limit(&spec.limits).map_err(SandboxError::io("set the limits"))?;
        }
        self.has_egress = spec.egress == Egress::Proxy;
        let work = Work::of(spec);
        let file = message::memory_file(&work).map_err(SandboxError::io("write the helper's orders"))?;
        self.helper.say(Order::Attach, &[file.as_fd()])?;
        let mut fds = self.helper.expect(Report::Attached).await?.into_iter();
        let (Some(upper), Some(merged)) = (fds.next(), fds.next()) else {
            return Err(SandboxError::Setup("the workspace's directories did not come along".into()));
        };
        self.collected = Some((upper, merged));
        Ok(())
    }
}

/// What the payload prints, and what it prints to.
pub(in crate::sandbox) fn pipes() -> std::io::Result<(Output, [OwnedFd; 2])> {
    let (stdout, stdout_writer) = std::io::pipe()?;
    let (stderr, stderr_writer) = std::io::pipe()?;
    for pipe in [&stdout, &stderr] {
        // Without it the pipes only hold less.
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    }
    let output = Output { stdout: stdout.into(), stderr: Some(stderr.into()) };
    Ok((output, [stdout_writer.into(), stderr_writer.into()]))
}

fn spawn_helper(cgroup: Option<&Cgroup>) -> Result<Helper, SandboxError> {
    let spawn = || -> std::io::Result<Helper> {
        let (ours, theirs) = message::socket_pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let (output, [stdout_writer, stderr_writer]) = pipes()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(helper::ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout_writer))
            .stderr(Stdio::from(stderr_writer));
        let mut command = tokio::process::Command::from(command);
        let process = command.kill_on_drop(true).spawn()?;
        // SAFETY: an `OwnedFd` is an open descriptor of its own until it is dropped, and `AsyncFd` owns it.
        let socket: AsyncFd<OwnedFd> = unsafe { AsyncFd::register(ours)? };
        Ok(Helper { socket: Arc::new(socket), process, output: Some(output) })
    };
    spawn().map_err(|source| {
        if let Some(cgroup) = cgroup {
            cgroup.remove();
        }
        SandboxError::Io { what: "start the sandbox helper".into(), source }
    })
}

fn remove_mount_points(directory: &Path, whole: bool) {
    if directory.as_os_str().is_empty() {
        return;
    }
    for name in MOUNT_POINTS {
        let path: PathBuf = directory.join(name);
        // What a sandbox wrote is below `disk` where it is not in memory; the others are empty.
        let _ = if name == "disk" { remove_tree(&path) } else { std::fs::remove_dir(&path) };
    }
    if whole {
        let _ = std::fs::remove_dir(directory);
    }
}
