//! A sandbox from its building to its removal, as the agent holds it.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rustix::event::PollFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::{Cgroup, Setting};
use super::message::{self, Order, Report};
use super::remove_disk;
use super::templates::has_something;
use super::warm::Warm;
use crate::sandbox::{Collected, Control, Exit, Output, Sandbox, SandboxError, Signal, Started, Usage};

/// The agent's end of a socket that leads to a process of its own.
#[derive(Debug, Clone)]
pub struct Line(Arc<AsyncFd<OwnedFd>>);

impl Line {
    /// Needs tokio's runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        // SAFETY: an `OwnedFd` is an open descriptor of its own until it is dropped, and `AsyncFd` owns it.
        Ok(Self(Arc::new(unsafe { AsyncFd::register(socket)? })))
    }

    pub fn socket(&self) -> &AsyncFd<OwnedFd> {
        &self.0
    }

    pub fn say(&self, order: Order, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        message::send(self.0.get_ref().as_fd(), &order, fds)
            .map_err(SandboxError::io("reach the sandbox helper"))
    }

    pub async fn hear(&self) -> Result<(Report, Vec<OwnedFd>), SandboxError> {
        let received = self
            .0
            .async_io(Interest::READABLE, |socket| message::receive::<Report>(socket.as_fd()))
            .await
            .map_err(SandboxError::io("hear the sandbox helper"))?;
        received.ok_or(SandboxError::HelperDied)
    }

    /// Anything else than this report is why it failed.
    pub async fn expect(&self, expected: Report) -> Result<(), SandboxError> {
        match self.hear().await?.0 {
            report if report == expected => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Whether the other side spoke unasked: it is gone, or says why it goes.
    pub fn is_over(&self) -> bool {
        has_something(self.0.get_ref().as_fd(), PollFlags::IN)
    }

    /// Nothing more will be said, which is the other side's end.
    pub fn hang_up(&self) {
        let _ = rustix::net::shutdown(self.0.get_ref(), rustix::net::Shutdown::Write);
    }

    /// The same, and waits for it.
    async fn end(&self) {
        self.hang_up();
        while self.hear().await.is_ok() {}
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
    /// To the helper.
    pub line: Line,
    pub output: Option<Output>,
    pub cgroup: Option<Arc<Cgroup>>,
    /// Where another is missing now, until this one runs.
    pub taken_from: Option<Arc<Warm>>,
    /// What its control groups hold already.
    pub limited: Vec<Setting>,
    /// The upper and the merged directory, once it runs.
    pub collected: Option<(OwnedFd, OwnedFd)>,
    pub outer_id: u32,
    pub directory: PathBuf,
    /// Whether the directory goes with it.
    pub owns_directory: bool,
    /// What was asked for, and so what comes with the start.
    pub has_egress: bool,
}

impl Running {
    fn give_back(&mut self) {
        let _ = self.taken_from.take().map(|warm| warm.refill());
    }
}

impl Sandbox for Running {
    fn start(&mut self) -> BoxFuture<'_, Result<Started, SandboxError>> {
        Box::pin(async {
            self.line.say(Order::Start, &[])?;
            let fds = loop {
                match self.line.hear().await? {
                    (Report::Built, _) => {}
                    (Report::Started, fds) => break fds,
                    (other, _) => return Err(unexpected(other)),
                }
            };
            self.give_back();
            let mut fds = fds.into_iter();
            self.collected = fds.next().zip(fds.next());
            let egress = if self.has_egress { fds.next().map(TcpListener::from) } else { None };
            let pipes = self.output.take();
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
            match self.line.hear().await? {
                (Report::Exited(code), _) => Ok(Exit::Code(code)),
                (Report::Signalled(signal), _) => Ok(Exit::Signal(signal)),
                (other, _) => Err(unexpected(other)),
            }
        })
    }

    fn control(&self) -> Arc<dyn Control> {
        let upper = self.collected.as_ref().and_then(|(upper, _)| upper.try_clone().ok());
        let (line, cgroup) = (self.line.clone(), self.cgroup.clone());
        Arc::new(Steering { line, cgroup, upper: upper.map(Arc::new) })
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
            // 1. The helper goes, and with it everything that ran inside and every mount. What v1 has frozen could not.
            let _ = self.cgroup.as_ref().map(|cgroup| cgroup.thaw());
            self.line.end().await;
            self.output = None;
            self.collected = None;
            // 2. What it used: control groups, mount points.
            let (cgroup, directory) = (self.cgroup.take(), std::mem::take(&mut self.directory));
            let owns_directory = self.owns_directory;
            let _ = tokio::task::spawn_blocking(move || {
                if let Some(cgroup) = cgroup {
                    cgroup.remove();
                }
                remove_disk(&directory, owns_directory);
            })
            .await;
        })
    }
}

impl Drop for Running {
    /// Only where `remove` was not reached.
    fn drop(&mut self) {
        self.give_back();
        let (cgroup, directory) = (self.cgroup.take(), std::mem::take(&mut self.directory));
        if directory.as_os_str().is_empty() {
            return;
        }
        let owns_directory = self.owns_directory;
        self.line.hang_up();
        std::thread::spawn(move || {
            if let Some(cgroup) = cgroup {
                cgroup.remove();
            }
            remove_disk(&directory, owns_directory);
        });
    }
}

struct Steering {
    line: Line,
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
            let _ = self.line.say(order, &[]);
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
