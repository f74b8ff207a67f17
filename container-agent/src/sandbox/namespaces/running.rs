//! A sandbox from its building to its removal, as the agent holds it.

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::Cgroup;
use super::message::{self, Order, Report};
use super::remove_mount_points;
use crate::sandbox::{Collected, Control, Exit, Output, Sandbox, SandboxError, Signal, Started, Usage};

/// The helper process, and what it was given.
#[derive(Debug)]
pub struct Helper {
    pub socket: Arc<AsyncFd<OwnedFd>>,
    /// Killed when it is dropped.
    pub process: tokio::process::Child,
    pub output: Option<Output>,
}

impl Helper {
    pub fn say(&self, order: Order, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        message::send(self.socket.get_ref().as_fd(), &order, fds)
            .map_err(SandboxError::io("reach the sandbox helper"))
    }

    async fn hear(&self) -> Result<(Report, Vec<OwnedFd>), SandboxError> {
        let received = self
            .socket
            .async_io(Interest::READABLE, |socket| message::receive::<Report>(socket.as_fd()))
            .await
            .map_err(SandboxError::io("hear the sandbox helper"))?;
        received.ok_or(SandboxError::HelperDied)
    }

    /// The descriptors that came with this report; anything else is why it failed.
    pub async fn expect(&self, expected: Report) -> Result<Vec<OwnedFd>, SandboxError> {
        match self.hear().await? {
            (report, fds) if report == expected => Ok(fds),
            (other, _) => Err(unexpected(other)),
        }
    }
}

pub fn unexpected(report: Report) -> SandboxError {
    match report {
        Report::Failed(what) => SandboxError::Setup(what),
        Report::CommandFailed(what) => SandboxError::Command(what),
        other => SandboxError::Setup(format!("the helper said {other:?} out of turn")),
    }
}

#[derive(Debug)]
pub struct Running {
    pub helper: Helper,
    pub cgroup: Option<Arc<Cgroup>>,
    /// The upper and the merged directory.
    pub collected: Option<(OwnedFd, OwnedFd)>,
    pub outer_id: u32,
    pub directory: PathBuf,
    /// Whether the directory goes with it.
    pub owns_directory: bool,
    /// What was asked for, and so what comes with the start.
    pub has_egress: bool,
}

impl Sandbox for Running {
    fn start(&mut self) -> BoxFuture<'_, Result<Started, SandboxError>> {
        Box::pin(async {
            self.helper.say(Order::Start, &[])?;
            let mut fds = self.helper.expect(Report::Started).await?.into_iter();
            let egress = if self.has_egress { fds.next().map(TcpListener::from) } else { None };
            let pipes = self.helper.output.take();
            let output = match fds.next() {
                Some(terminal) => Some(Output { stdout: terminal, stderr: None }),
                None => pipes,
            };
            let output = output.ok_or_else(|| SandboxError::Setup("it was started before".into()))?;
            Ok(Started { output, egress })
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<Exit, SandboxError>> {
        Box::pin(async {
            let exit = match self.helper.hear().await? {
                (Report::Exited(code), _) => Exit::Code(code),
                (Report::Signalled(signal), _) => Exit::Signal(signal),
                (other, _) => return Err(unexpected(other)),
            };
            let _ = self.helper.process.wait().await;
            Ok(exit)
        })
    }

    fn control(&self) -> Arc<dyn Control> {
        let upper = self.collected.as_ref().and_then(|(upper, _)| upper.try_clone().ok());
        let (socket, cgroup) = (Arc::clone(&self.helper.socket), self.cgroup.clone());
        Arc::new(Steering { socket, cgroup, upper: upper.map(Arc::new) })
    }

    fn collect(&mut self) -> BoxFuture<'_, Result<Collected, SandboxError>> {
        let collected =
            self.collected.take().ok_or_else(|| SandboxError::Setup("it was collected before".into()));
        let outer_id = self.outer_id;
        let collected = collected.map(|(upper, merged)| Collected { upper, merged, outer_id });
        Box::pin(std::future::ready(collected))
    }

    fn remove(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // 1. The helper goes, and with it everything that ran inside and every mount.
            let _ = self.helper.process.start_kill();
            let _ = self.helper.process.wait().await;
            self.helper.output = None;
            self.collected = None;
            // 2. What it used: control groups, mount points.
            let (cgroup, directory) = (self.cgroup.take(), std::mem::take(&mut self.directory));
            let owns_directory = self.owns_directory;
            let _ = tokio::task::spawn_blocking(move || {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                remove_mount_points(&directory, owns_directory);
            })
            .await;
        })
    }
}

impl Drop for Running {
    /// Only where `remove` was not reached. The helper is killed with its process handle.
    fn drop(&mut self) {
        let (cgroup, directory) = (self.cgroup.take(), std::mem::take(&mut self.directory));
        if directory.as_os_str().is_empty() {
            return;
        }
        let owns_directory = self.owns_directory;
        let _ = self.helper.process.start_kill();
        std::thread::spawn(move || {
            if let Some(cgroup) = cgroup {
                cgroup.remove();
            }
            remove_mount_points(&directory, owns_directory);
        });
    }
}

struct Steering {
    socket: Arc<AsyncFd<OwnedFd>>,
    cgroup: Option<Arc<Cgroup>>,
    upper: Option<Arc<OwnedFd>>,
}

impl Steering {
    async fn of_the_group(
        &self,
        what: &'static str,
        act: impl FnOnce(&Cgroup) -> std::io::Result<()> + Send + 'static,
    ) -> Result<(), SandboxError> {
        let nothing = || std::io::Error::other("it has no control group: the settings say limits = \"none\"");
        let cgroup = self.cgroup.clone();
        let acted =
            tokio::task::spawn_blocking(move || cgroup.ok_or_else(nothing).and_then(|cgroup| act(&cgroup)));
        acted.await.map_err(std::io::Error::other).flatten().map_err(SandboxError::io(what))
    }
}

impl Control for Steering {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move {
            let order = match signal {
                Signal::Terminate => Order::Terminate,
                Signal::Kill => Order::Kill,
            };
            // A helper that is already gone needs no telling.
            let _ = message::send(self.socket.get_ref().as_fd(), &order, &[]);
            // What stands still would hear it only later, and v1 keeps even the dying frozen.
            if self.cgroup.is_some() {
                let _ = self.thaw().await;
            }
            Ok(())
        })
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.of_the_group("freeze the sandbox", Cgroup::freeze))
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.of_the_group("thaw the sandbox", Cgroup::thaw))
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        let mut usage = self.cgroup.as_ref().map(|cgroup| cgroup.usage()).unwrap_or_default();
        usage.disk_full = self.upper.as_ref().is_some_and(is_full);
        Box::pin(std::future::ready(usage))
    }
}

/// Whether the file system has no more room for a page or for a file.
pub fn is_full(upper: &Arc<OwnedFd>) -> bool {
    rustix::fs::fstatvfs(upper)
        .is_ok_and(|facts| facts.f_bavail == 0 || (facts.f_files > 0 && facts.f_ffree == 0))
}
