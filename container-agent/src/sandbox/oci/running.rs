//! A container that runs, as the agent holds it.

use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::PidfdFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Directory;
use super::engine::{Engine, failed};
use super::handle::{Container, kill};
use super::line::{Connected, watch};
use crate::sandbox::namespaces::cgroup::{Cgroup, Hierarchies};
use crate::sandbox::namespaces::message::{self, Order, Report, Work};
use crate::sandbox::namespaces::pipes;
use crate::sandbox::namespaces::running::{is_full, unexpected};
use crate::sandbox::{
    Collected, Control, Egress, Exit, Output, Sandbox, SandboxError, Signal, Started, Usage,
};

/// The kernel's time to end a container whose first process was told to.
const END: Duration = Duration::from_secs(10);

pub struct Running {
    socket: Arc<AsyncFd<OwnedFd>>,
    /// The first process: with it everything inside is gone.
    process: AsyncFd<OwnedFd>,
    gauge: Arc<Gauge>,
    container: Container,
    egress: Option<TcpListener>,
    output: Option<Output>,
    collected: Option<(OwnedFd, OwnedFd)>,
    outer_id: u32,
    directory: Directory,
    is_frozen: Arc<AtomicBool>,
}

impl Running {
    /// Tells the first process its work, and sees that the limits hold.
    pub async fn attach(
        connected: Connected,
        container: Container,
        (upper, merged): (OwnedFd, OwnedFd),
        directory: Directory,
        work: &Work,
        outer_id: u32,
    ) -> Result<Self, SandboxError> {
        let (output, [stdout, stderr]) = pipes().map_err(SandboxError::io("make the payload's pipes"))?;
        let process = rustix::process::pidfd_open(connected.process, PidfdFlags::empty());
        let process = process.map_err(std::io::Error::from).and_then(watch);
        let pid = connected.process.as_raw_nonzero().get().unsigned_abs();
        let cgroup = Hierarchies::of_process(pid).map_err(SandboxError::io("find the container's limits"))?;
        let unmet = cgroup.unmet(&work.limits);
        let gauged = upper.try_clone().map_err(SandboxError::io("keep the upper directory"))?;
        let mut running = Self {
            socket: Arc::new(connected.socket),
            process: process.map_err(SandboxError::io("watch the container's first process"))?,
            gauge: Arc::new(Gauge { cgroup, upper: Arc::new(gauged), last: Mutex::new(None) }),
            container,
            egress: None,
            output: Some(output),
            collected: Some((upper, merged)),
            outer_id,
            directory,
            is_frozen: Arc::default(),
        };
        if !unmet.is_empty() {
            let unmet: Vec<_> = unmet.iter().map(|(what, held)| format!("{what}: {held}")).collect();
            return Err(SandboxError::Setup(format!(
                "limits that the engine said it set do not hold: {}",
                unmet.join("; ")
            )));
        }
        let file = message::memory_file(work).map_err(SandboxError::io("write the container's orders"))?;
        running.say(Order::Attach, &[file.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        let mut fds = running.expect(Report::Built).await?.into_iter();
        if work.egress == Egress::Proxy {
            running.egress = fds.next().map(TcpListener::from);
        }
        Ok(running)
    }

    fn say(&self, order: Order, fds: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        message::send(self.socket.get_ref().as_fd(), &order, fds)
            .map_err(SandboxError::io("reach the container's first process"))
    }

    async fn hear(&self) -> Result<Option<(Report, Vec<OwnedFd>)>, SandboxError> {
        self.socket
            .async_io(Interest::READABLE, |socket| message::receive::<Report>(socket.as_fd()))
            .await
            .map_err(SandboxError::io("hear the container's first process"))
    }

    async fn expect(&self, expected: Report) -> Result<Vec<OwnedFd>, SandboxError> {
        match self.hear().await? {
            Some((report, fds)) if report == expected => Ok(fds),
            Some((other, _)) => Err(unexpected(other)),
            None => Err(SandboxError::Setup("the container ended before its payload started".into())),
        }
    }

    async fn start_now(&mut self) -> Result<Started, SandboxError> {
        let pipes = self.output.take().ok_or_else(|| SandboxError::Setup("it was started before".into()))?;
        self.say(Order::Start, &[])?;
        let terminal = self.expect(Report::Started).await?.into_iter().next();
        let output = match terminal {
            Some(terminal) => Output { stdout: terminal, stderr: None },
            None => pipes,
        };
        Ok(Started { output, egress: self.egress.take() })
    }

    async fn wait_now(&mut self) -> Result<Exit, SandboxError> {
        let exit = match self.hear().await? {
            Some((Report::Exited(code), _)) => Exit::Code(code),
            Some((Report::Signalled(signal), _)) => Exit::Signal(signal),
            Some((other, _)) => return Err(unexpected(other)),
            // The first process itself was killed: by us, by a person, for want of memory.
            None => Exit::Signal(libc::SIGKILL),
        };
        // Its control groups are there until its first process is told that it was heard.
        self.gauge.keep_last();
        let _ = self.say(Order::Kill, &[]);
        if tokio::time::timeout(END, self.process.readable()).await.is_err() {
            kill(&self.container.engine, &self.container.id).await;
            let _ =
                self.process.readable().await.map_err(SandboxError::io("wait for the container's end"))?;
        }
        Ok(exit)
    }
}

impl Sandbox for Running {
    fn start(&mut self) -> BoxFuture<'_, Result<Started, SandboxError>> {
        Box::pin(self.start_now())
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<Exit, SandboxError>> {
        Box::pin(self.wait_now())
    }

    fn control(&self) -> Arc<dyn Control> {
        Arc::new(Steering {
            socket: Arc::clone(&self.socket),
            gauge: Arc::clone(&self.gauge),
            engine: self.container.engine.clone(),
            id: self.container.id.clone(),
            is_frozen: Arc::clone(&self.is_frozen),
        })
    }

    fn collect(&mut self) -> BoxFuture<'_, Result<Collected, SandboxError>> {
        let collected =
            self.collected.take().ok_or_else(|| SandboxError::Setup("it was collected before".into()));
        let outer_id = self.outer_id;
        let collected = collected.map(|(upper, merged)| Collected { upper, merged, outer_id });
        Box::pin(std::future::ready(collected))
    }

    fn remove(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { socket, container, directory, .. } = *self;
            drop(socket);
            container.remove().await;
            let _ = tokio::task::spawn_blocking(move || drop(directory)).await;
        })
    }
}

/// What is measured: while it runs in its control groups, afterwards as it was at its end.
struct Gauge {
    cgroup: Cgroup,
    upper: Arc<OwnedFd>,
    last: Mutex<Option<Usage>>,
}

impl Gauge {
    /// The first one stays: a control group that is gone has used nothing.
    fn keep_last(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get_or_insert_with(|| self.cgroup.usage());
    }

    fn read(&self) -> Usage {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let disk_full = is_full(&self.upper);
        Usage { disk_full, ..last.unwrap_or_else(|| self.cgroup.usage()) }
    }
}

struct Steering {
    socket: Arc<AsyncFd<OwnedFd>>,
    gauge: Arc<Gauge>,
    engine: Engine,
    id: String,
    is_frozen: Arc<AtomicBool>,
}

impl Steering {
    async fn freeze_now(&self) -> Result<(), SandboxError> {
        self.engine.docker.pause_container(&self.id).await.map_err(failed("freeze the container"))?;
        self.is_frozen.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn thaw_now(&self) -> Result<(), SandboxError> {
        if !self.is_frozen.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        self.engine.docker.unpause_container(&self.id).await.map_err(failed("thaw the container"))
    }

    async fn signal_now(&self, signal: Signal) {
        let order = match signal {
            Signal::Terminate => Order::Terminate,
            Signal::Kill => {
                // The engine takes the control groups away before anybody hears of the end.
                self.gauge.keep_last();
                Order::Kill
            }
        };
        // A container that is already gone needs no telling.
        let _ = message::send(self.socket.get_ref().as_fd(), &order, &[]);
        // What stands still would hear it only later.
        let _ = self.thaw_now().await;
        if signal == Signal::Kill {
            // Also where an image's own loader got into the first process.
            kill(&self.engine, &self.id).await;
        }
    }
}

impl Control for Steering {
    fn signal(&self, signal: Signal) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move {
            self.signal_now(signal).await;
            Ok(())
        })
    }

    fn freeze(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.freeze_now())
    }

    fn thaw(&self) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(self.thaw_now())
    }

    fn usage(&self) -> BoxFuture<'_, Usage> {
        Box::pin(std::future::ready(self.gauge.read()))
    }
}
