//! PID 1 of a sandbox: reaps what is orphaned, passes signals on, tells the end.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::message::{self, Order, Report};
use super::payload::Waiting;
use super::sys;

/// Where a process of the sandbox keeps its socket; everything above is closed.
const SOCKET: libc::c_int = 3;

/// Never returns.
pub fn run(payload: Waiting, helper: &OwnedFd) -> ! {
    let say = |report: &Report, fds: &[std::os::fd::BorrowedFd<'_>]| {
        let _ = message::send(helper.as_fd(), report, fds);
    };
    let process = payload.pid();
    match payload.start() {
        Ok(terminal) => {
            say(&Report::Started, &terminal.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            drop(terminal);
            say(&reap_until(process), &[]);
        }
        Err(report) => say(&report, &[]),
    }
    // The helper, too, waits for the agent before it ends this one: its end takes the kernel longer than the payload's did.
    let _ = message::receive::<Order>(helper.as_fd());
    sys::exit_now(0)
}

/// Of all descriptors but the standard streams only this one.
pub fn keep_only(socket: OwnedFd) -> io::Result<OwnedFd> {
    sys::duplicate_to(socket.as_fd(), SOCKET)?;
    std::mem::forget(socket);
    sys::close_from(4)?;
    // SAFETY: just put there by dup2; the original, wherever it was, is closed or is this very one.
    let kept = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::CLOEXEC)?;
    Ok(kept)
}

fn signal_set() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the set before it is read.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2]
        {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

/// They wait until [`reap_until`] takes them. Call it before the payload's process is forked.
pub fn block_signals() -> io::Result<()> {
    let set = signal_set();
    // SAFETY: a set that outlives the call; the old one is not wanted.
    sys::check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) }.into())
        .map(drop)
}

pub fn unblock_signals() -> io::Result<()> {
    // SAFETY: sigemptyset initialises the set before it is read.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        sys::check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into())
            .map(drop)
    }
}

/// The payload's end. Orphans of the sandbox are reaped on the way, and afterwards everything else is ended: nothing runs
/// on behind the payload's back.
pub fn reap_until(payload: Pid) -> Report {
    let set = signal_set();
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == payload {
                // SAFETY: integers only; -1 is every process inside but this one.
                unsafe { libc::kill(-1, libc::SIGKILL) };
                while rustix::process::wait(WaitOptions::empty()).is_ok() {}
                return end_of(status);
            }
        }
        // SAFETY: a set that outlives the call; no siginfo is wanted.
        let signal = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        if signal > 0 && signal != libc::SIGCHLD {
            // SAFETY: integers only. The payload leads its own process group.
            unsafe { libc::kill(-payload.as_raw_nonzero().get(), signal) };
        }
    }
}

fn end_of(status: WaitStatus) -> Report {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Report::Exited(code),
        (None, Some(signal)) => Report::Signalled(signal),
        (None, None) => Report::Exited(255),
    }
}
