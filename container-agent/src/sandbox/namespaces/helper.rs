//! The sandbox helper: the agent's own program once more, with one thread, an empty environment and one descriptor, its
//! socket as standard input. It builds the sandbox and lives exactly as long: when the agent dies the socket closes and
//! the helper kills what is inside; when the helper dies the kernel does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, WaitOptions};

use super::message::{self, Blueprint, Order, Report, Work};
use super::walls::Seccomp;
use super::{child, root, sys, workspace};

/// The hidden argument that makes the program a helper.
pub const ARGUMENT: &str = "__sandbox-helper";

const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS;

/// The whole life of a helper.
pub fn main() -> ExitCode {
    let stdin = io::stdin();
    let Ok(agent) = stdin.as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    match run(&agent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = message::send(agent.as_fd(), &Report::Failed(message::short(&error.to_string())), &[]);
            ExitCode::FAILURE
        }
    }
}

fn run(agent: &OwnedFd) -> io::Result<()> {
    // 1. What to build.
    let Some((Order::Build, fds)) = message::receive::<Order>(agent.as_fd())? else { return Ok(()) };
    let blueprint: Blueprint = message::read_memory_file(first(fds)?)?;
    if blueprint.privileged {
        sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    }
    let seccomp = Seccomp::compile().map_err(io::Error::other)?;
    // 2. Its files, then its first process, which builds the rest in namespaces of its own.
    root::build(&blueprint)?;
    let inside = give_birth(&blueprint, &seccomp)?;
    // The payload's pipes must end with the payload.
    close_output()?;
    if !blueprint.privileged {
        // Not before: the kernel would not let a user map the ids of a process that hides.
        sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    }
    // 3. Both sockets, until the end.
    Helper { agent, blueprint, inside, listener: None, keeps_listener: false }.serve()
}

fn first(fds: Vec<OwnedFd>) -> io::Result<OwnedFd> {
    fds.into_iter().next().ok_or_else(|| io::Error::other("a descriptor did not come along"))
}

fn give_birth(blueprint: &Blueprint, seccomp: &Seccomp) -> io::Result<Inside> {
    let (ours, theirs) = message::socket_pair()?;
    let open = |path: &std::path::Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    // Opened by root: what the child writes into them counts as root's.
    let tasks: Vec<OwnedFd> =
        blueprint.entry.tasks.iter().map(|path| open(path, OFlags::WRONLY)).collect::<Result<_, _>>()?;
    let born_in = blueprint.entry.born_in.as_ref().map(|path| open(path, OFlags::RDONLY | OFlags::DIRECTORY));
    let born_in = born_in.transpose()?;
    std::env::set_current_dir("root")?;
    let pid = sys::fork_into(NAMESPACES, born_in.as_ref().map(AsFd::as_fd))
        .map_err(|error| io::Error::new(error.kind(), format!("user namespaces: {error}")))?;
    if pid == 0 {
        drop(ours);
        child::run(seccomp, theirs, &tasks);
    }
    drop(theirs);
    let inside = Inside {
        pid: Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?,
        socket: ours,
    };
    std::env::set_current_dir(&blueprint.directory)?;
    root::map_payload(blueprint, pid)?;
    message::send(inside.socket.as_fd(), &Order::Mapped, &[])?;
    Ok(inside)
}

fn close_output() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    sys::duplicate_to(null.as_fd(), 1)?;
    sys::duplicate_to(null.as_fd(), 2)
}

/// PID 1 of the sandbox. Killed, with all its descendants, when this goes.
struct Inside {
    pid: Pid,
    socket: OwnedFd,
}

impl Inside {
    fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid, signal);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
    }
}

struct Helper<'a> {
    agent: &'a OwnedFd,
    blueprint: Blueprint,
    inside: Inside,
    /// Of the sandbox's loopback, until it is known whether it is wanted.
    listener: Option<OwnedFd>,
    keeps_listener: bool,
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
                // The end: said only once nothing runs inside any more.
                drop(self.inside);
                return message::send(self.agent.as_fd(), &end, &[]);
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
            Order::Attach => self.attach(first(fds)?)?,
            Order::Start => message::send(self.inside.socket.as_fd(), &Order::Start, &[])?,
            Order::Terminate => self.inside.signal(Signal::TERM),
            Order::Kill => self.inside.signal(Signal::KILL),
            Order::Build | Order::Mapped => {}
        }
        Ok(true)
    }

    fn attach(&mut self, file: OwnedFd) -> io::Result<()> {
        let work: Work = message::read_memory_file(&file)?;
        self.keeps_listener = work.egress == crate::sandbox::Egress::Proxy;
        if !self.keeps_listener {
            self.listener = None;
        }
        let workspace = workspace::attach(&self.blueprint, &work)?;
        let for_inside = [file.as_fd(), workspace.mount.as_fd()];
        message::send(self.inside.socket.as_fd(), &Order::Attach, &for_inside)?;
        let for_agent = [workspace.upper.as_fd(), workspace.merged.as_fd()];
        message::send(self.agent.as_fd(), &Report::Attached, &for_agent)
    }

    /// Passes on what PID 1 says. Returns the end.
    fn report(&mut self) -> io::Result<Option<Report>> {
        let received = message::receive::<Report>(self.inside.socket.as_fd())?;
        Ok(match received {
            Some((Report::Built, fds)) => {
                self.listener = Some(first(fds)?);
                message::send(self.agent.as_fd(), &Report::Built, &[])?;
                None
            }
            Some((Report::Started, terminal)) => {
                let listener = self.listener.take().filter(|_| self.keeps_listener);
                let fds: Vec<_> = listener.iter().chain(&terminal).map(AsFd::as_fd).collect();
                message::send(self.agent.as_fd(), &Report::Started, &fds)?;
                None
            }
            Some((end, _)) => Some(end),
            // PID 1 was killed before it could say anything: by us, or for want of memory.
            None => Some(Report::Signalled(libc::SIGKILL)),
        })
    }
}
