//! The sandbox's first process, from its birth in new namespaces until it becomes [`super::init`].

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::message::HelperConfig;
use super::walls::Seccomp;
use super::{INNER_ID, devices, init, sys, walls};

/// What the child inherits from the helper.
pub struct Inherited {
    /// One byte comes when the ids are mapped and the cgroups entered; its end means that the helper is gone.
    pub released: io::PipeReader,
    /// Where [`init`] says what became of the payload.
    pub status: io::PipeWriter,
}

/// Never returns: the process ends as PID 1 of the sandbox.
pub fn run(config: &HelperConfig, seccomp: &Seccomp, inherited: Inherited) -> ! {
    let Inherited { mut released, mut status } = inherited;
    if let Err(error) = set_up(config, &mut released) {
        let _ = writeln!(status, "F{error}");
        sys::exit_now(1);
    }
    init::run(config, seccomp, OwnedFd::from(status))
}

fn set_up(config: &HelperConfig, released: &mut io::PipeReader) -> io::Result<()> {
    fn step<T>(what: &str, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
    }
    // 1. Wait for the id maps and the cgroups.
    if released.read(&mut [0])? == 0 {
        sys::exit_now(1);
    }
    // 2. Its own user. The capabilities over the new namespaces stay for the steps below.
    step("become the sandbox's user", sys::become_user(INNER_ID))?;
    // setresuid clears this, so it comes after; whether the helper died in between shows on the pipe.
    step("die with the helper", sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong))?;
    if hung_up(released) {
        sys::exit_now(1);
    }
    // Not readable through /proc for the payload, which has the same uid.
    step("hide from the payload", sys::prctl(libc::PR_SET_DUMPABLE, 0))?;
    // 3. What the namespaces hold.
    step("session", rustix::process::setsid().map_err(io::Error::from))?;
    step("cgroup namespace", sys::unshare(libc::CLONE_NEWCGROUP))?;
    step("host name", rustix::system::sethostname(b"sandbox").map_err(io::Error::from))?;
    step("loopback", raise_loopback())?;
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
    // 6. Walls that need no more privilege afterwards.
    step("resource limits", walls::resource_limits(config.limits.processes))?;
    step("drop capabilities", walls::drop_capabilities())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

fn hung_up(pipe: &io::PipeReader) -> bool {
    let mut poll = libc::pollfd { fd: pipe.as_fd().as_raw_fd(), events: 0, revents: 0 };
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
