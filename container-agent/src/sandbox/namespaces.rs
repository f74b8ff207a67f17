//! The `namespaces` back end, the agent's half: cgroups, a helper process for each sandbox, and its words.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::{Cgroup, Hierarchies};
use super::message::{self, FromHelper, HelperConfig, ToHelper};
use super::{
    Collected, Exit, FIRST_ID, Output, Provider, Sample, Sandbox, SandboxError, SandboxSpec, Stop, Stopper,
    Toolchain, UsageProbe, helper,
};

/// Uids kept for one instance, so that two agents of one machine do not share any.
const IDS_PER_INSTANCE: u32 = 1_000;
const INSTANCES_MAX: u32 = 1_000_000;
/// Asked for, so that a payload that writes fast is not woken for every 64 KiB.
const PIPE_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Namespaces {
    /// Names this agent's cgroups; derived from its state directory.
    pub instance: String,
    pub hierarchies: Hierarchies,
    /// False only where the operator said `limits = "none"`.
    pub enforce_limits: bool,
    pub disk_in_memory: bool,
    pub toolchains: Vec<Toolchain>,
}

impl Namespaces {
    fn outer_id(&self, slot: u32) -> u32 {
        let number = u32::from_str_radix(self.instance.get(..8).unwrap_or_default(), 16).unwrap_or_default();
        FIRST_ID + (number % INSTANCES_MAX) * IDS_PER_INSTANCE + slot % IDS_PER_INSTANCE
    }

    async fn prepare_now(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        // 1. Mount points, inside a directory of this execution's own.
        for name in ["root", "lower", "merged", "disk"] {
            std::fs::create_dir_all(spec.directory.join(name))
                .map_err(SandboxError::io(format!("make {}", spec.directory.join(name).display())))?;
        }
        // 2. Limits, before anything runs.
        let cgroup = match self.enforce_limits {
            true => Some(Arc::new(
                self.hierarchies
                    .create(&self.instance, &spec.name, &spec.limits)
                    .map_err(SandboxError::io("make the control groups"))?,
            )),
            false => None,
        };
        let config = HelperConfig {
            directory: spec.directory.clone(),
            lower: spec.lower,
            command: spec.command,
            environment: spec.environment,
            limits: spec.limits,
            toolchains: self.toolchains.clone(),
            outer_id: self.outer_id(spec.slot),
            cgroup_procs: cgroup.as_ref().map_or_else(Vec::new, |cgroup| cgroup.procs_files()),
            disk_in_memory: self.disk_in_memory,
            prompt: spec.prompt,
        };
        // 3. The helper. From here on dropping `sandbox` undoes everything.
        let (socket, child, output) = spawn_helper(cgroup.as_deref())?;
        let mut sandbox = Running {
            socket: Arc::new(socket),
            child,
            output: Some(output),
            cgroup,
            collected: None,
            directory: spec.directory,
        };
        let file =
            message::config_file(&config).map_err(SandboxError::io("write the helper's configuration"))?;
        sandbox.say(ToHelper::Prepare, &[file.as_fd()])?;
        match sandbox.hear().await? {
            (FromHelper::Prepared, fds) => {
                let mut fds = fds.into_iter();
                let (Some(upper), Some(merged)) = (fds.next(), fds.next()) else {
                    return Err(SandboxError::Setup("the workspace's directories did not come along".into()));
                };
                sandbox.collected = Some(Collected { upper, merged, outer_id: config.outer_id });
                Ok(Box::new(sandbox))
            }
            (other, _) => Err(unexpected(other)),
        }
    }
}

impl Provider for Namespaces {
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.prepare_now(spec))
    }
}

type Spawned = (AsyncFd<OwnedFd>, tokio::process::Child, Output);

fn spawn_helper(cgroup: Option<&Cgroup>) -> Result<Spawned, SandboxError> {
    let spawn = || -> std::io::Result<Spawned> {
        let (ours, theirs) = message::socket_pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let (stdout, stdout_writer) = std::io::pipe()?;
        let (stderr, stderr_writer) = std::io::pipe()?;
        for pipe in [&stdout, &stderr] {
            // Without it the pipes only hold less.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let mut command = Command::new("/proc/self/exe");
        command
            .arg(helper::ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(stdout_writer))
            .stderr(Stdio::from(stderr_writer));
        let mut command = tokio::process::Command::from(command);
        let child = command.kill_on_drop(true).spawn()?;
        // SAFETY: an `OwnedFd` is an open descriptor of its own until it is dropped, and `AsyncFd` owns it.
        let socket = unsafe { AsyncFd::register(ours)? };
        Ok((socket, child, Output { stdout: stdout.into(), stderr: stderr.into() }))
    };
    spawn().map_err(|source| {
        if let Some(cgroup) = cgroup {
            cgroup.remove();
        }
        SandboxError::Io { what: "start the sandbox helper".into(), source }
    })
}

struct Running {
    socket: Arc<AsyncFd<OwnedFd>>,
    child: tokio::process::Child,
    output: Option<Output>,
    cgroup: Option<Arc<Cgroup>>,
    collected: Option<Collected>,
    directory: PathBuf,
}

impl Running {
    fn say(&self, message: ToHelper, fds: &[std::os::fd::BorrowedFd<'_>]) -> Result<(), SandboxError> {
        message::send(self.socket.get_ref().as_fd(), &message, fds)
            .map_err(SandboxError::io("reach the sandbox helper"))
    }

    async fn hear(&self) -> Result<(FromHelper, Vec<OwnedFd>), SandboxError> {
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket| message::receive::<FromHelper>(socket.as_fd()))
            .await
            .map_err(SandboxError::io("hear the sandbox helper"))?;
        received.ok_or(SandboxError::HelperDied)
    }
}

fn unexpected(message: FromHelper) -> SandboxError {
    match message {
        FromHelper::Failed(what) => SandboxError::Setup(what),
        FromHelper::CommandFailed(what) => SandboxError::Command(what),
        other => SandboxError::Setup(format!("the helper said {other:?} out of turn")),
    }
}

impl Sandbox for Running {
    fn take_output(&mut self) -> Option<Output> {
        self.output.take()
    }

    fn start(&mut self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async {
            self.say(ToHelper::Start, &[])?;
            match self.hear().await? {
                (FromHelper::Started, _) => Ok(()),
                (other, _) => Err(unexpected(other)),
            }
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<Exit, SandboxError>> {
        Box::pin(async {
            let exit = match self.hear().await? {
                (FromHelper::Exited(code), _) => Exit::Code(code),
                (FromHelper::Signalled(signal), _) => Exit::Signal(signal),
                (other, _) => return Err(unexpected(other)),
            };
            let _ = self.child.wait().await;
            Ok(exit)
        })
    }

    fn stopper(&self) -> Arc<dyn Stopper> {
        Arc::new(SocketStopper(Arc::clone(&self.socket)))
    }

    fn usage(&self) -> Arc<dyn UsageProbe> {
        Arc::new(CgroupUsage(self.cgroup.clone()))
    }

    fn collect(&mut self) -> Option<Collected> {
        self.collected.take()
    }

    fn remove(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // 1. The helper goes, and with it everything that ran inside and every mount.
            let _ = self.child.start_kill();
            let _ = self.child.wait().await;
            self.output = None;
            self.collected = None;
            // 2. What it used: control groups, mount points.
            let (cgroup, directory) = (self.cgroup.take(), std::mem::take(&mut self.directory));
            let _ = tokio::task::spawn_blocking(move || {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                remove_mount_points(&directory);
            })
            .await;
        })
    }
}

impl Drop for Running {
    /// Only where `remove` was not reached. The helper is killed by `kill_on_drop`.
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            let _ = self.child.start_kill();
            let directory = std::mem::take(&mut self.directory);
            std::thread::spawn(move || {
                cgroup.remove();
                remove_mount_points(&directory);
            });
        }
    }
}

fn remove_mount_points(directory: &Path) {
    if directory.as_os_str().is_empty() {
        return;
    }
    for name in ["root", "lower", "merged"] {
        let _ = std::fs::remove_dir(directory.join(name));
    }
    let _ = std::fs::remove_dir_all(directory.join("disk"));
}

struct SocketStopper(Arc<AsyncFd<OwnedFd>>);

impl Stopper for SocketStopper {
    fn stop(&self, how: Stop) {
        let message = match how {
            Stop::Terminate => ToHelper::Terminate,
            Stop::Kill => ToHelper::Kill,
        };
        // A helper that is already gone needs no stopping.
        let _ = message::send(self.0.get_ref().as_fd(), &message, &[]);
    }
}

struct CgroupUsage(Option<Arc<Cgroup>>);

impl UsageProbe for CgroupUsage {
    fn sample(&self) -> Sample {
        self.0.as_ref().map(|cgroup| cgroup.sample()).unwrap_or_default()
    }
}
