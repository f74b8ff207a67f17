//! The sandbox helper: the agent's own program once more, with one thread, an empty environment and three
//! descriptors (its socket as standard input, the payload's two pipes). It builds the sandbox, starts it, and lives
//! exactly as long: when the agent dies the socket closes and the helper kills what is inside; when the helper dies
//! the kernel does.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};

use super::child::{self, Inherited};
use super::message::{self, FromHelper, HelperConfig, ToHelper};
use super::walls::Seccomp;
use super::{root, sys};

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
    let Ok(socket) = stdin.as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    match run(&socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failed = FromHelper::Failed(message::short(&error.to_string()));
            let _ = message::send(socket.as_fd(), &failed, &[]);
            ExitCode::FAILURE
        }
    }
}

fn run(socket: &OwnedFd) -> io::Result<()> {
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    // 1. What to build.
    let Some((ToHelper::Prepare, fds)) = message::receive::<ToHelper>(socket.as_fd())? else { return Ok(()) };
    let fd =
        fds.into_iter().next().ok_or_else(|| io::Error::other("the configuration did not come along"))?;
    let config = message::read_config(fd)?;
    let seccomp = Seccomp::compile().map_err(io::Error::other)?;
    sys::leave_groups()?;
    // 2. Build it.
    let built = root::build(&config)?;
    message::send(socket.as_fd(), &FromHelper::Prepared, &[built.upper.as_fd(), built.merged.as_fd()])?;
    drop(built);
    // 3. Start it when told to.
    let Some((ToHelper::Start, _)) = message::receive::<ToHelper>(socket.as_fd())? else { return Ok(()) };
    let (released, mut release) = io::pipe()?;
    let (status, status_writer) = io::pipe()?;
    let pid = sys::fork_into(NAMESPACES)
        .map_err(|error| io::Error::new(error.kind(), format!("user namespaces: {error}")))?;
    if pid == 0 {
        drop((release, status));
        child::run(&config, &seccomp, Inherited { released, status: status_writer });
    }
    drop((released, status_writer));
    let payload = Payload::new(pid)?;
    admit(&config, pid)?;
    release.write_all(b"1")?;
    // The payload's pipes must end with the payload.
    close_output()?;
    // 4. Watch over it. `release` stays open: its end tells the child that the helper is gone.
    watch(socket, status, payload)
}

/// PID 1 of the sandbox. Killed, with all its descendants, when this goes.
struct Payload {
    pid: Pid,
}

impl Payload {
    fn new(pid: libc::pid_t) -> io::Result<Self> {
        Pid::from_raw(pid).map(|pid| Self { pid }).ok_or_else(|| io::Error::other("fork gave no process"))
    }

    fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid, signal);
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
    }
}

/// Maps its ids and puts it into its cgroups.
fn admit(config: &HelperConfig, pid: libc::pid_t) -> io::Result<()> {
    root::write_id_maps(pid, &format!("{} {} 1", super::INNER_ID, config.outer_id))?;
    for file in &config.cgroup_procs {
        std::fs::write(file, pid.to_string())
            .map_err(|error| io::Error::new(error.kind(), format!("enter {}: {error}", file.display())))?;
    }
    Ok(())
}

fn close_output() -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, open};
    let null = open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    sys::duplicate_to(null.as_fd(), 1)?;
    sys::duplicate_to(null.as_fd(), 2)
}

fn watch(socket: &OwnedFd, mut status: io::PipeReader, payload: Payload) -> io::Result<()> {
    let mut said = String::new();
    loop {
        let (commanded, reported) = {
            let mut fds =
                [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(status.as_fd(), PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            let [socket, status] = &fds;
            (!socket.revents().is_empty(), !status.revents().is_empty())
        };
        if commanded {
            match message::receive::<ToHelper>(socket.as_fd())? {
                Some((ToHelper::Terminate, _)) => payload.signal(Signal::TERM),
                Some((ToHelper::Kill, _)) => payload.signal(Signal::KILL),
                Some(_) => {}
                // The agent is gone.
                None => return Ok(()),
            }
        }
        if reported {
            let mut bytes = [0; 4096];
            let count = status.read(&mut bytes)?;
            said.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap_or_default()));
            while let Some((line, rest)) = said.split_once('\n') {
                let message = translate(line);
                if message == FromHelper::Started {
                    message::send(socket.as_fd(), &message, &[])?;
                    said = rest.to_owned();
                    continue;
                }
                // The end: said only once nothing runs inside any more.
                drop(payload);
                return message::send(socket.as_fd(), &message, &[]);
            }
            if count == 0 {
                // PID 1 was killed before it could say anything: by us, or for want of memory.
                drop(payload);
                return message::send(socket.as_fd(), &FromHelper::Signalled(libc::SIGKILL), &[]);
            }
        }
    }
}

fn translate(line: &str) -> FromHelper {
    let (kind, rest) = line.split_at_checked(1).unwrap_or((line, ""));
    match (kind, rest.parse::<i32>()) {
        ("R", _) => FromHelper::Started,
        ("X", Ok(code)) => FromHelper::Exited(code),
        ("S", Ok(signal)) => FromHelper::Signalled(signal),
        ("C", _) => FromHelper::CommandFailed(message::short(rest)),
        _ => FromHelper::Failed(message::short(rest)),
    }
}
