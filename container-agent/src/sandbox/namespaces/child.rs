//! The sandbox's first process, from its birth in new namespaces until it becomes [`super::init`].

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::message::{self, Order, Report, Work};
use super::root::step;
use super::walls::Seccomp;
use super::{devices, init, sys, walls};
use crate::sandbox::{INNER_ID, PROXY};

/// Never returns: the process ends as PID 1 of the sandbox. `tasks`: files of v1 control groups to enter.
pub fn run(seccomp: &Seccomp, helper: OwnedFd, tasks: &[OwnedFd]) -> ! {
    let work = set_up(&helper, tasks).and_then(|()| take_work(&helper));
    match work {
        Ok(work) => init::run(&work, seccomp, helper),
        Err(error) => {
            let _ = message::send(helper.as_fd(), &Report::Failed(message::short(&error.to_string())), &[]);
            sys::exit_now(1)
        }
    }
}

/// The next order, which must be this one. Without a helper there is nothing to do.
fn await_order(helper: &OwnedFd, expected: Order) -> io::Result<Vec<OwnedFd>> {
    match message::receive::<Order>(helper.as_fd())? {
        Some((order, fds)) if order == expected => Ok(fds),
        Some((order, _)) => Err(io::Error::other(format!("{order:?} came instead of {expected:?}"))),
        None => sys::exit_now(1),
    }
}

fn set_up(helper: &OwnedFd, tasks: &[OwnedFd]) -> io::Result<()> {
    // 1. Its control groups, while it is nothing else yet.
    for file in tasks {
        step("enter a control group", rustix::io::write(file, b"0").map_err(io::Error::from))?;
    }
    // 2. Its own user. The capabilities over the new namespaces stay for the steps below.
    await_order(helper, Order::Mapped)?;
    step("become the sandbox's user", sys::become_user(INNER_ID))?;
    // setresuid clears this, so it comes after; whether the helper died in between shows on the socket.
    step("die with the helper", sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))?;
    if hung_up(helper) {
        sys::exit_now(1);
    }
    // Not readable through /proc for the payload, which has the same uid.
    step("hide from the payload", sys::prctl(libc::PR_SET_DUMPABLE, 0))?;
    // 3. What the namespaces hold.
    step("session", rustix::process::setsid().map_err(io::Error::from))?;
    step("cgroup namespace", sys::unshare(libc::CLONE_NEWCGROUP))?;
    step("host name", rustix::system::sethostname(b"sandbox").map_err(io::Error::from))?;
    step("loopback", raise_loopback())?;
    let listener = step("listen for the way out", TcpListener::bind(PROXY))?;
    step("/proc and /dev/pts", devices::mount_in_child())?;
    // 4. The new root, which is the working directory: its path may lead through directories that are closed to this
    // user. Bound onto itself first: a mount that came with the namespace is locked.
    let root = step("copy the root", sys::open_tree(Path::new("."), true))?;
    step("bind the root", sys::move_mount(root.as_fd(), Path::new(".")))?;
    step("enter the root", rustix::process::fchdir(&root).map_err(io::Error::from))?;
    step("pivot to the root", sys::pivot_to_working_directory())?;
    // 5. Standard input is the helper's socket: give it away for good.
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    step("standard input", sys::duplicate_to(null.as_fd(), 0))?;
    message::send(helper.as_fd(), &Report::Built, &[listener.as_fd()])
}

/// Waits for the work, puts the workspace into its place, and gives up what privilege is left.
fn take_work(helper: &OwnedFd) -> io::Result<Work> {
    let mut fds = await_order(helper, Order::Attach)?.into_iter();
    let missing = || io::Error::other("the work did not come along");
    let (file, mount) = (fds.next().ok_or_else(missing)?, fds.next().ok_or_else(missing)?);
    let work: Work = message::read_memory_file(&file)?;
    step("/workspace", sys::move_mount(mount.as_fd(), Path::new("/workspace")))?;
    step("resource limits", walls::resource_limits(&work.limits))?;
    step("drop capabilities", walls::drop_capabilities())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    await_order(helper, Order::Start)?;
    Ok(work)
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

/// The program's path as the payload's `PATH` finds it, seen from inside the root.
pub fn find_program(name: &str, search: &str) -> Result<std::path::PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    if name.contains('/') {
        return Ok(Path::new("/workspace").join(name));
    }
    let mut found_unusable = None;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let path = Path::new("/workspace").join(directory).join(name);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => {
                return Ok(path);
            }
            Ok(metadata) if metadata.is_file() => found_unusable = Some(path),
            _ => {}
        }
    }
    Err(match found_unusable {
        Some(path) => format!("`{}` is not executable; set its mode", path.display()),
        None => format!(
            "the command `{}` was not found in the sandbox's PATH ({search}); name one that the machine has in /usr, \
             or add its directory as a toolchain",
            name.escape_debug()
        ),
    })
}
