//! The `namespaces` back end: the agent's half. Control groups, a helper process for each sandbox, and its words.
//!
//! ```text
//!   agent ── spawns, once ──▶ template ── forks ──▶ helper ── forks ──▶ PID 1 ── forks ──▶ payload
//!   mod, templates,           template,             helper,             child, init        payload,
//!   running, warm, cgroup     root, etc, devices    workspace           devices            walls
//! ```
//! As root every execution gets a uid of its own; as an ordinary user all of it happens in a user namespace, with the
//! same walls and one uid.

pub mod cgroup;
mod child;
mod devices;
mod etc;
mod helper;
pub(in crate::sandbox) mod init;
pub(in crate::sandbox) mod message;
pub(in crate::sandbox) mod payload;
pub(in crate::sandbox) mod root;
pub(in crate::sandbox) mod running;
pub(in crate::sandbox) mod sys;
pub mod template;
mod templates;
pub(in crate::sandbox) mod walls;
pub mod warm;
pub(in crate::sandbox) mod workspace;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use shared_contracts::executions::Limits;

use self::cgroup::{Hierarchies, Setting};
use self::message::{Blueprint, Order, Report, Work};
use self::running::{Line, Running};
use self::templates::Templates;
use self::warm::Warm;
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
/// In an execution's directory, what it writes where that does not go to memory.
const DISK: &str = "disk";

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
    templates: Arc<Templates>,
    /// Sandboxes that wait; none unless they were asked for.
    pub warm: Option<Arc<Warm>>,
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
    /// `directory`: of this instance's own; nothing is ever written there. `instance`: see [`Self::instance`].
    pub fn new(instance: String, directory: PathBuf, toolchains: Vec<Toolchain>) -> Self {
        Self {
            instance,
            hierarchies: Hierarchies::detect(),
            enforce_limits: true,
            disk_in_memory: true,
            templates: Templates::new(directory, toolchains),
            warm: None,
        }
    }

    async fn prepare_now(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        // One that waits has the machine's own programs.
        let warm = self.warm.as_ref().filter(|_| spec.mounts.image.is_none());
        let waiting = warm.and_then(Warm::take);
        let mut running = match waiting {
            Some(running) => running,
            None => {
                let place = Place {
                    name: spec.name.clone(),
                    directory: spec.directory.clone(),
                    owns_directory: false,
                    slot: spec.slot,
                    image: spec.mounts.image.clone(),
                };
                self.build(&place).await?
            }
        };
        running.attach(&spec)?;
        Ok(Box::new(running))
    }

    /// Everything that does not depend on the workspace and the command. It goes on while this returns.
    async fn build(&self, place: &Place) -> Result<Running, SandboxError> {
        let privileged = rustix::process::geteuid().is_root();
        let outer_id = outer_id(&self.instance, place.slot);
        let blueprint = Blueprint {
            directory: place.directory.clone(),
            outer_id: if privileged { outer_id } else { INNER_ID },
            privileged,
            disk_in_memory: self.disk_in_memory,
        };
        // 1. The system. It is there already, unless it has changed.
        if self.enforce_limits {
            let settled = self.hierarchies.settle(&self.instance);
            settled.map_err(SandboxError::io("make the control groups"))?;
        }
        let template = self.templates.get(place.image.as_deref()).await?;
        // 2. The helper. From here on dropping what comes of it undoes everything.
        let (line, helpers) = message::socket_pair()
            .and_then(|(ours, theirs)| Ok((Line::new(ours)?, theirs)))
            .map_err(SandboxError::io("make the helper's socket"))?;
        let (output, pipes) = pipes().map_err(SandboxError::io("make the payload's pipes"))?;
        let [stdout, stderr] = &pipes;
        template.bear(&blueprint, &[helpers.as_fd(), stdout.as_fd(), stderr.as_fd()]).await?;
        let mut running = Running {
            line,
            output: Some(output),
            cgroup: None,
            taken_from: None,
            limited: Vec::new(),
            collected: None,
            outer_id,
            directory: place.directory.clone(),
            owns_directory: place.owns_directory,
            has_egress: false,
        };
        // 3. Meanwhile what its first process needs. The limits of its control groups come with the work.
        if !self.disk_in_memory {
            let disk = place.directory.join(DISK);
            std::fs::create_dir_all(&disk).map_err(SandboxError::io(format!("make {}", disk.display())))?;
        }
        if self.enforce_limits {
            let made = self.hierarchies.create(&self.instance, &place.name);
            running.cgroup = Some(Arc::new(made.map_err(SandboxError::io("make the control groups"))?));
        }
        let entry = running.cgroup.as_ref().map(|cgroup| cgroup.entry()).transpose();
        let entry = entry.map_err(SandboxError::io("open the control groups"))?.unwrap_or_default();
        let groups: Vec<_> = entry.born_in.iter().chain(&entry.tasks).map(AsFd::as_fd).collect();
        running.line.say(Order::Enter { born_in: entry.born_in.is_some() }, &groups)?;
        Ok(running)
    }

    /// The same, until it waits for its work, within the limits of most.
    async fn build_whole(&self, place: &Place) -> Result<Running, SandboxError> {
        let mut running = self.build(place).await?;
        if let Some(cgroup) = &running.cgroup {
            running.limited = cgroup.settings(&Limits::default());
            Setting::apply_all(&running.limited).map_err(SandboxError::io("set the limits"))?;
        }
        running.line.expect(Report::Built).await?;
        Ok(running)
    }
}

impl Provider for Namespaces {
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.prepare_now(spec))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(warm) = &self.warm {
                warm.close().await;
            }
            self.templates.close().await;
        })
    }
}

impl Running {
    /// What will run, and over what. It becomes ready by the time it is started.
    fn attach(&mut self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        self.has_egress = spec.egress == Egress::Proxy;
        let settings = self.cgroup.as_ref().map(|cgroup| cgroup.settings(&spec.limits)).unwrap_or_default();
        let settings = settings.into_iter().filter(|setting| !self.limited.contains(setting)).collect();
        let file = message::memory_file(&Work::of(spec, settings));
        let file = file.map_err(SandboxError::io("write the helper's orders"))?;
        self.line.say(Order::Attach, &[file.as_fd()])
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

/// `whole`: the directory goes, too.
fn remove_disk(directory: &Path, whole: bool) {
    let _ = remove_tree(&directory.join(DISK));
    if whole {
        let _ = std::fs::remove_dir(directory);
    }
}
