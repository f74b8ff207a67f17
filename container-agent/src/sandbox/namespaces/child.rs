//! The sandbox's first process, from its birth in new namespaces until it becomes [`super::init`].

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::helper::first;
use super::message::{self, Order, Report};
use super::payload::{Waiting, await_order};
use super::root::{self, step};
use super::walls::{self, Seccomp};
use super::{devices, init, sys};
use crate::sandbox::{INNER_ID, PROXY};

/// Never returns: the process ends as PID 1 of the sandbox. `tasks`: files of v1 control groups to enter.
pub fn run(seccomp: &Seccomp, helper: OwnedFd, tasks: &[OwnedFd]) -> ! {
    // Its control groups, while it is nothing else yet; then nobody else's descriptors any more.
    let entered = tasks.iter().try_for_each(|file| rustix::io::write(file, b"0").map(drop));
    let Ok(helper) = init::keep_only(helper) else { sys::exit_now(1) };
    let ready = step("enter a control group", entered.map_err(io::Error::from))
        .and_then(|()| become_first(&helper))
        .and_then(|()| build_root(&helper, seccomp))
        .and_then(|payload| await_work(&helper, payload));
    match ready {
        Ok(payload) => init::run(payload, &helper),
        Err(error) => {
            let _ = message::send(helper.as_fd(), &Report::Failed(message::short(&error.to_string())), &[]);
            sys::exit_now(1)
        }
    }
}

/// The sandbox's user, in namespaces that do not need the disk. The capabilities over them stay for what comes next.
fn become_first(helper: &OwnedFd) -> io::Result<()> {
    const NAMESPACES: libc::c_int =
        libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    step("user namespaces", sys::unshare(NAMESPACES))?;
    step("host name", rustix::system::sethostname(b"sandbox").map_err(io::Error::from))?;
    step("loopback", raise_loopback())?;
    await_order(helper, Order::Mapped)?;
    step("become the sandbox's user", sys::become_user(INNER_ID))?;
    // setresuid clears this, so it comes after; whether the helper died in between shows on the socket.
    step("die with the helper", sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))?;
    if hung_up(helper) {
        sys::exit_now(1);
    }
    // Not readable through /proc for the payload, which has the same uid.
    step("hide from the payload", sys::prctl(libc::PR_SET_DUMPABLE, 0))?;
    step("signals", init::block_signals())?;
    step("session", rustix::process::setsid().map_err(io::Error::from))?;
    step("bar capabilities", walls::bar_capabilities())
}

/// The payload's process comes first: it puts up its walls meanwhile, and the root changes for both.
fn build_root(helper: &OwnedFd, seccomp: &Seccomp) -> io::Result<Waiting> {
    await_order(helper, Order::Build)?;
    step("mount namespace", sys::unshare(libc::CLONE_NEWNS))?;
    let payload = step("fork the payload", Waiting::fork(seccomp, walls::drop_capabilities))?;
    step("enter the root", std::env::set_current_dir(root::ROOT))?;
    step("/proc and /dev/pts", devices::mount_in_child())?;
    // The new root is the working directory: its path may lead through directories that are closed to this user. Bound
    // onto itself first: a mount that came with the namespace is locked.
    let root = step("copy the root", sys::open_tree(Path::new("."), true))?;
    step("bind the root", sys::move_mount(root.as_fd(), Path::new(".")))?;
    step("enter the root", rustix::process::fchdir(&root).map_err(io::Error::from))?;
    step("pivot to the root", sys::pivot_to_working_directory())?;
    payload.tell(Order::Build, &[])?;
    step("detach the old root", sys::detach_old_root())?;
    Ok(payload)
}

/// Waits for the work, puts the workspace into its place, and gives up what privilege is left.
fn await_work(helper: &OwnedFd, payload: Waiting) -> io::Result<Waiting> {
    let listener = step("listen for the way out", TcpListener::bind(PROXY))?;
    message::send(helper.as_fd(), &Report::Built, &[listener.as_fd()])?;
    drop(listener);
    let file = first(await_order(helper, Order::Work)?)?;
    payload.tell(Order::Work, &[file.as_fd()])?;
    let mount = first(await_order(helper, Order::Attach)?)?;
    step("/workspace", sys::move_mount(mount.as_fd(), Path::new("/workspace")))?;
    payload.tell(Order::Attach, &[])?;
    step("drop capabilities", walls::drop_capabilities())?;
    await_order(helper, Order::Start)?;
    Ok(payload)
}

fn hung_up(socket: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one pollfd, as the count says.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 && poll.revents & libc::POLLHUP != 0 }
}

/// `127.0.0.1` inside the sandbox; there is no other interface.
fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: an all-zero ifreq is a valid one: it holds integers and bytes only.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which outlives the call.
    sys::check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into())
        .map(drop)
}
