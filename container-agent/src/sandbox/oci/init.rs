//! A container's first process: this program, bound into the container, started by the engine. It looks whether the walls
//! that were asked for stand, listens for the way out, and becomes PID 1 as in [`crate::sandbox::namespaces::init`].
//!
//! ```text
//!   agent ◀─ connects, once ─ init          the socket's name is gone before the payload starts
//!   agent ── attach ─▶ init                 the command; the pipes that it prints to
//!   agent ◀─ built ─── init                 the listener of its loopback
//!   agent ── start ──▶ init ── forks ──▶ payload
//!   agent ◀─ started, exited | signalled | failed | command_failed ─ init
//!   agent ── terminate, kill ─▶ init        kill also says that the end was heard: until then there is what to measure
//! ```
//! The socket ends with the agent, and with the socket everything in the container.

use std::fs;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use rustix::fs::StatVfsMountFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;

use super::asked;
use crate::sandbox::namespaces::message::{self, Order, Report, Work};
use crate::sandbox::namespaces::payload::{Waiting, await_order};
use crate::sandbox::namespaces::root::step;
use crate::sandbox::namespaces::walls::{self, Seccomp};
use crate::sandbox::namespaces::{init, sys};
use crate::sandbox::{Egress, PROXY};

/// The hidden argument that makes the program a container's first process.
pub const ARGUMENT: &str = "__container-init";
/// Seen from inside.
pub const SOCKET: &str = "/run/patchbay/agent";

/// What `/proc/self/status` says where a wall of the engine stands.
const WALLS: [(&str, &str, &str); 6] = [
    ("inheritable capabilities", "CapInh:", "0000000000000000"),
    ("effective capabilities", "CapEff:", "0000000000000000"),
    ("permitted capabilities", "CapPrm:", "0000000000000000"),
    ("bounding capabilities", "CapBnd:", "0000000000000000"),
    ("no new privileges", "NoNewPrivs:", "1"),
    ("seccomp", "Seccomp:", "2"),
];

pub fn main() -> ExitCode {
    let Ok(agent) = connect() else { return ExitCode::FAILURE };
    match set_up(&agent) {
        Ok(payload) => run(payload, &agent),
        Err(error) => {
            let _ = message::send(agent.as_fd(), &Report::Failed(message::short(&error.to_string())), &[]);
            ExitCode::FAILURE
        }
    }
}

fn connect() -> io::Result<OwnedFd> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(SOCKET)?)?;
    Ok(socket)
}

fn set_up(agent: &OwnedFd) -> io::Result<Waiting> {
    // Not readable through /proc for the payload, which has the same uid.
    step("hide from the payload", sys::prctl(libc::PR_SET_DUMPABLE, 0))?;
    // 1. The work.
    let Some((Order::Attach, fds)) = message::receive::<Order>(agent.as_fd())? else { sys::exit_now(1) };
    let [file, stdout, stderr] = fds.as_slice() else {
        return Err(io::Error::other("the work did not come along"));
    };
    let work: Work = message::read_memory_file(file)?;
    // 2. The engine said that these walls stand.
    let fallen = fallen_walls()?;
    if !fallen.is_empty() {
        return Err(io::Error::other(format!("walls that the engine did not build: {}", fallen.join(", "))));
    }
    // 3. What is this process's own to limit.
    step("resource limits", walls::resource_limits(&work.limits))?;
    // 4. Where the payload prints, and its process.
    for (fd, number) in [(sys::open_null()?.as_fd(), 0), (stdout.as_fd(), 1), (stderr.as_fd(), 2)] {
        step("standard streams", sys::duplicate_to(fd, number))?;
    }
    step("signals", init::block_signals())?;
    let seccomp = Seccomp::compile().map_err(io::Error::other)?;
    let payload = step("fork the payload", Waiting::fork(&seccomp, || Ok(())))?;
    payload.tell(Order::Build, &[])?;
    payload.tell(Order::Work, &[file.as_fd()])?;
    payload.tell(Order::Attach, &[])?;
    // 5. Its way out.
    let listener = match work.egress {
        Egress::Proxy => Some(step("listen for the way out", TcpListener::bind(PROXY))?),
        Egress::Nothing => None,
    };
    let listener: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
    message::send(agent.as_fd(), &Report::Built, &listener)?;
    await_order(agent, Order::Start)?;
    Ok(payload)
}

/// Seen from inside, whatever the engine's inspection says.
fn fallen_walls() -> io::Result<Vec<String>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.split_whitespace().next())
    };
    let mut fallen: Vec<String> = WALLS
        .iter()
        .filter(|(_, key, wanted)| value(key) != Some(wanted))
        .map(|(what, ..)| (*what).to_owned())
        .collect();
    if !our_profile_stands() {
        fallen.push("our seccomp profile".into());
    }
    fallen
        .extend(asked::COVERED.iter().filter(|path| tells(path)).map(|path| format!("a cover over {path}")));
    if rustix::process::getuid().is_root() {
        fallen.push("a user that is not root".into());
    }
    if std::process::id() != 1 {
        fallen.push("processes of its own".into());
    }
    if let Some(device) = routed_device() {
        fallen.push(format!("no network ({device} has a route)"));
    }
    let owner = fs::metadata("/workspace")?.uid();
    if owner != rustix::process::getuid().as_raw() {
        fallen.push(format!(
            "a workspace of its own (it belongs to {owner}: the agent's mounts do not reach the engine; run both in one mount \
             namespace)"
        ));
    }
    if !rustix::fs::statvfs("/")?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        fallen.push("a read-only root".into());
    }
    Ok(fallen)
}

/// Asks for the personality, which engines' own profiles allow and ours does not.
fn our_profile_stands() -> bool {
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: integers only; this value changes nothing.
    sys::check(unsafe { libc::personality(ASK) }.into()).is_err()
}

/// Whether anything is in it.
fn tells(path: &str) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => fs::File::open(path).and_then(|mut file| file.read(&mut [0])).is_ok_and(|count| count > 0),
    }
}

/// A network interface besides the loopback that anything could leave by.
fn routed_device() -> Option<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (read("/proc/self/net/route"), read("/proc/self/net/ipv6_route"));
    let v4 = v4.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let v6 = v6.lines().filter_map(|line| line.split_whitespace().next_back());
    v4.chain(v6).find(|device| *device != "lo").map(str::to_owned)
}

fn run(payload: Waiting, agent: &OwnedFd) -> ! {
    let say = |report: &Report, fds: &[BorrowedFd<'_>]| {
        let _ = message::send(agent.as_fd(), report, fds);
    };
    let process = payload.pid();
    std::thread::scope(|scope| {
        // Before the payload, which may leave no room for another thread.
        scope.spawn(|| obey(agent.as_fd(), process));
        match payload.start() {
            Ok(terminal) => {
                say(&Report::Started, &terminal.iter().map(AsFd::as_fd).collect::<Vec<_>>());
                drop(terminal);
                say(&init::reap_until(process), &[]);
            }
            Err(report) => say(&report, &[]),
        }
    });
    // Not reached: `obey` ends the process.
    sys::exit_now(0)
}

/// Until the agent says that it is over, or is gone.
fn obey(agent: BorrowedFd<'_>, payload: Pid) {
    while let Ok(Some((order, _))) = message::receive::<Order>(agent) {
        match order {
            Order::Terminate => {
                // SAFETY: integers only. The payload leads its own process group.
                unsafe { libc::kill(-payload.as_raw_nonzero().get(), libc::SIGTERM) };
            }
            Order::Kill => break,
            Order::Build
            | Order::Enter { .. }
            | Order::Work
            | Order::Attach
            | Order::Start
            | Order::Mapped => {}
        }
    }
    // The end of PID 1 ends every other process inside.
    sys::exit_now(0)
}
