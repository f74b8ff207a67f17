//! The sandbox helper: a fork of the template. It builds what is one sandbox's own and lives exactly as long: when the agent
//! dies the socket closes and the helper kills what is inside; when the helper dies the kernel does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};

use super::cgroup::Setting;
use super::message::{self, Blueprint, Order, Report, Work};
use super::root::{self, step};
use super::walls::Seccomp;
use super::workspace::{self, IdMap, Workspace};
use super::{child, sys};
use crate::sandbox::Egress;

/// The whole life of a helper, from its birth in the template's namespaces. Never returns.
pub fn run(blueprint: &Blueprint, fds: Vec<OwnedFd>, seccomp: &Seccomp, id_map: Option<IdMap<'_>>) -> ! {
    let mut fds = fds.into_iter();
    if let (Some(agent), Some(stdout), Some(stderr)) = (fds.next(), fds.next(), fds.next())
        && let Err(error) = live(&agent, [stdout, stderr], blueprint, seccomp, id_map)
    {
        let failed = Report::Failed(message::short(&error.to_string()));
        let _ = message::send(agent.as_fd(), &failed, &[]);
    }
    sys::exit_now(0)
}

fn live(
    agent: &OwnedFd,
    output: [OwnedFd; 2],
    blueprint: &Blueprint,
    seccomp: &Seccomp,
    id_map: Option<IdMap<'_>>,
) -> io::Result<()> {
    // 1. Nothing of the template's but its namespaces, above all not its socket.
    sys::set_signal(libc::SIGCHLD, libc::SIG_DFL)?;
    let null = sys::open_null()?;
    sys::duplicate_to(null.as_fd(), 0)?;
    for (fd, number) in output.into_iter().zip(1..) {
        sys::duplicate_to(fd.as_fd(), number)?;
    }
    // 2. Its first process, which makes namespaces of its own; what it may write meanwhile.
    step("own mount namespace", sys::unshare(libc::CLONE_NEWNS))?;
    if !blueprint.privileged {
        // The kernel would not let a user map the ids of a process that hides.
        sys::prctl(libc::PR_SET_DUMPABLE, 1)?;
    }
    // The agent made its control groups meanwhile.
    let Some((Order::Enter { born_in }, groups)) = message::receive::<Order>(agent.as_fd())? else {
        return Ok(());
    };
    let inside = give_birth(blueprint, born_in, groups, seccomp)?;
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    // The payload's pipes must end with the payload.
    sys::silence(null.as_fd())?;
    step("writable disk", build_disk(blueprint))?;
    message::send(inside.socket.as_fd(), &Order::Build, &[])?;
    // 3. Both sockets, until the end.
    Helper { agent, blueprint, id_map, inside, listener: None, workspace: None }.serve()
}

/// What this sandbox may write, shown in the template's root.
fn build_disk(blueprint: &Blueprint) -> io::Result<()> {
    if !blueprint.disk_in_memory {
        root::bind(&blueprint.directory.join("disk"), Path::new("disk"), false, root::WRITABLE)?;
    }
    workspace::build_disk(blueprint)?;
    root::show_disk()
}

/// `groups`: as they come with [`Order::Enter`]. Opened by the agent: what the child writes into them counts as the agent's.
fn give_birth(
    blueprint: &Blueprint,
    born_in: bool,
    groups: Vec<OwnedFd>,
    seccomp: &Seccomp,
) -> io::Result<Inside> {
    let (ours, theirs) = message::socket_pair()?;
    let (born_in, tasks) = groups.split_at(usize::from(born_in).min(groups.len()));
    let pid = sys::fork_into(libc::CLONE_NEWUSER | libc::CLONE_NEWPID, born_in.first().map(AsFd::as_fd))
        .map_err(|error| io::Error::new(error.kind(), format!("user namespaces: {error}")))?;
    if pid == 0 {
        child::run(seccomp, theirs, tasks);
    }
    drop(theirs);
    let inside = Inside { pid: Pid::from_raw(pid), socket: ours };
    root::map_payload(blueprint, pid)?;
    message::send(inside.socket.as_fd(), &Order::Mapped, &[])?;
    Ok(inside)
}

/// PID 1 of the sandbox. Killed, with all its descendants, when this goes.
struct Inside {
    /// Until it is reaped: then it may be somebody else's.
    pid: Option<Pid>,
    socket: OwnedFd,
}

impl Inside {
    fn signal(&self, signal: Signal) {
        let _ = self.pid.map(|pid| rustix::process::kill_process(pid, signal));
    }

    fn end(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.pid.take().map(|pid| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.end();
    }
}

struct Helper<'a> {
    agent: &'a OwnedFd,
    blueprint: &'a Blueprint,
    id_map: Option<IdMap<'a>>,
    inside: Inside,
    /// Of the sandbox's loopback, until it is known whether it is wanted.
    listener: Option<OwnedFd>,
    workspace: Option<(Workspace, Egress)>,
}

impl Helper<'_> {
    fn serve(mut self) -> io::Result<()> {
        loop {
            let (ordered, reported) = {
                let mut fds =
                    [PollFd::new(self.agent, PollFlags::IN), PollFd::new(&self.inside.socket, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    other => other?,
                };
                let [agent, inside] = &fds;
                (!agent.revents().is_empty(), !inside.revents().is_empty())
            };
            if reported && let Some(end) = self.report()? {
                message::send(self.agent.as_fd(), &end, &[])?;
                // Taking it all down would hold up whoever waits for that. It hangs up when it has what it wants.
                while message::receive::<Order>(self.agent.as_fd())?.is_some() {}
                return Ok(());
            }
            // The agent is gone.
            if ordered && !self.obey()? {
                return Ok(());
            }
        }
    }

    fn obey(&mut self) -> io::Result<bool> {
        let Some((order, fds)) = message::receive::<Order>(self.agent.as_fd())? else { return Ok(false) };
        match order {
            Order::Attach => self.attach(&first(fds)?)?,
            Order::Start => message::send(self.inside.socket.as_fd(), &Order::Start, &[])?,
            Order::Terminate => self.inside.signal(Signal::TERM),
            Order::Kill => self.inside.signal(Signal::KILL),
            Order::Build | Order::Enter { .. } | Order::Mapped | Order::Work => {}
        }
        Ok(true)
    }

    fn attach(&mut self, file: &OwnedFd) -> io::Result<()> {
        // In this order, because the payload's process goes on meanwhile. It is started by a later order only.
        message::send(self.inside.socket.as_fd(), &Order::Work, &[file.as_fd()])?;
        let work: Work = message::read_memory_file(file)?;
        let workspace = workspace::attach(self.blueprint, &work, self.id_map.as_ref())?;
        message::send(self.inside.socket.as_fd(), &Order::Attach, &[workspace.mount.as_fd()])?;
        workspace::fill_disk(self.blueprint, &work)?;
        step("set the limits", Setting::apply_all(&work.settings))?;
        self.workspace = Some((workspace, work.egress));
        Ok(())
    }

    /// Passes on what PID 1 says. Returns the end, after which nothing runs inside any more.
    fn report(&mut self) -> io::Result<Option<Report>> {
        Ok(match message::receive::<Report>(self.inside.socket.as_fd())? {
            Some((Report::Built, fds)) => {
                self.listener = Some(first(fds)?);
                message::send(self.agent.as_fd(), &Report::Built, &[])?;
                None
            }
            Some((Report::Started, terminal)) => {
                self.started(&terminal)?;
                None
            }
            Some((end, _)) => Some(end),
            // PID 1 was killed before it could say anything: by us, or for want of memory.
            None => {
                self.inside.end();
                Some(Report::Signalled(libc::SIGKILL))
            }
        })
    }

    fn started(&mut self, terminal: &[OwnedFd]) -> io::Result<()> {
        let (workspace, egress) =
            self.workspace.take().ok_or_else(|| io::Error::other("it was started before there was work"))?;
        let listener = self.listener.take().filter(|_| egress == Egress::Proxy);
        let fds = [&workspace.upper, &workspace.merged];
        let fds: Vec<_> = fds.into_iter().chain(&listener).chain(terminal).map(AsFd::as_fd).collect();
        message::send(self.agent.as_fd(), &Report::Started, &fds)
    }
}

pub fn first(fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    fds.into_iter().next().ok_or_else(|| io::Error::other("a descriptor did not come along"))
}
