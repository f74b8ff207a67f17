//! PID 1 of a sandbox: starts the payload, reaps what is orphaned, passes signals on, tells the helper the end.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use landlock::RulesetStatus;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use shared_contracts::executions::Terminal;

use super::message::{self, Report, Work};
use super::walls::{self, Seccomp};
use super::{child, sys};

/// Where the helper's socket is kept; everything above is closed.
const HELPER: libc::c_int = 3;

/// Never returns.
pub fn run(work: &Work, seccomp: &Seccomp, helper: OwnedFd) -> ! {
    let Ok(helper) = keep_only(helper) else { sys::exit_now(1) };
    let say = |report: &Report, fds: &[std::os::fd::BorrowedFd<'_>]| {
        let _ = message::send(helper.as_fd(), report, fds);
    };
    match start(work, seccomp) {
        Ok((payload, terminal)) => {
            say(&Report::Started, &terminal.iter().map(AsFd::as_fd).collect::<Vec<_>>());
            drop(terminal);
            say(&reap_until(payload), &[]);
        }
        Err(report) => say(&report, &[]),
    }
    // The end of PID 1 ends every other process inside.
    sys::exit_now(0)
}

pub fn keep_only(helper: OwnedFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    sys::duplicate_to(helper.as_fd(), HELPER)?;
    std::mem::forget(helper);
    sys::close_from(4)?;
    // SAFETY: just put there by dup2; the original, wherever it was, is closed or is this very one.
    Ok(unsafe { OwnedFd::from_raw_fd(HELPER) })
}

fn machine(error: impl std::fmt::Display) -> Report {
    Report::Failed(message::short(&error.to_string()))
}

fn command(error: impl std::fmt::Display) -> Report {
    Report::CommandFailed(message::short(&error.to_string()))
}

/// Forks the payload and waits until it has become its program. Its terminal, too, if it has one.
pub fn start(work: &Work, seccomp: &Seccomp) -> Result<(Pid, Option<OwnedFd>), Report> {
    block_signals().map_err(machine)?;
    let program = work.command.first().ok_or_else(|| command("the command is empty"))?;
    let search = work.environment.get("PATH").map_or("", String::as_str);
    let path = child::find_program(program, search).map_err(command)?;
    let path = sys::c_string(path.as_os_str()).map_err(machine)?;
    let arguments = c_strings(work.command.iter().cloned()).map_err(machine)?;
    let variables = work.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let variables = c_strings(variables).map_err(machine)?;
    let terminal = work.terminal.map(open_terminal).transpose();
    let (master, slave) = terminal.map_err(|error| machine(format!("terminal: {error}")))?.unzip();
    let (mut outcome, mut failure) = io::pipe().map_err(machine)?;
    let pid = sys::fork_into(0, None).map_err(machine)?;
    if pid == 0 {
        let fault = become_payload(seccomp, slave.as_ref(), &path, &arguments, &variables);
        let _ = write!(failure, "{fault}");
        sys::exit_now(127);
    }
    drop(failure);
    let mut text = String::new();
    // Closed without a word by exec.
    outcome.read_to_string(&mut text).map_err(machine)?;
    match text.split_at_checked(1) {
        None => Ok((Pid::from_raw(pid).ok_or_else(|| machine("fork gave no process"))?, master)),
        Some(("C", error)) => Err(command(format!("cannot run `{}`: {error}", program.escape_debug()))),
        Some((_, error)) => Err(machine(error)),
    }
}

fn c_strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| sys::c_string(OsStr::new(&text))).collect()
}

/// Returns only on failure: what to say, first letter `C` (the command's fault) or `F`.
fn become_payload(
    seccomp: &Seccomp,
    terminal: Option<&OwnedFd>,
    path: &CString,
    arguments: &[CString],
    variables: &[CString],
) -> String {
    let walls = || -> Result<(), String> {
        rustix::process::setsid().map_err(|error| format!("session: {error}"))?;
        if let Some(terminal) = terminal {
            take_terminal(terminal).map_err(|error| format!("terminal: {error}"))?;
        }
        std::env::set_current_dir("/workspace").map_err(|error| format!("enter /workspace: {error}"))?;
        match walls::landlock() {
            Ok(RulesetStatus::NotEnforced) => return Err("Landlock: not in this kernel".into()),
            Ok(_) => {}
            Err(error) => return Err(format!("Landlock: {error}")),
        }
        unblock_signals().map_err(|error| format!("signals: {error}"))?;
        seccomp.apply().map_err(|error| format!("seccomp: {error}"))
    };
    if let Err(error) = walls() {
        return format!("F{error}");
    }
    let pointers = |strings: &[CString]| {
        strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
    };
    let (arguments, variables) = (pointers(arguments), pointers(variables));
    // SAFETY: NUL-terminated strings in NULL-terminated arrays; all outlive the call. Pipes of this process and the
    // socket close by themselves (O_CLOEXEC, set below for the one that dup2 made).
    unsafe {
        libc::fcntl(HELPER, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::execve(path.as_ptr(), arguments.as_ptr(), variables.as_ptr());
    }
    format!("C{}", io::Error::last_os_error())
}

/// A pseudo-terminal of the sandbox's own: what the agent reads, and what the payload gets.
fn open_terminal(size: Terminal) -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let size =
        rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok((master, slave))
}

fn take_terminal(slave: &OwnedFd) -> io::Result<()> {
    rustix::process::ioctl_tiocsctty(slave)?;
    (0..3).try_for_each(|number| sys::duplicate_to(slave.as_fd(), number))
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

fn block_signals() -> io::Result<()> {
    let set = signal_set();
    // SAFETY: a set that outlives the call; the old one is not wanted.
    sys::check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) }.into())
        .map(drop)
}

/// The payload starts as any program does: nothing blocked, SIGPIPE as usual (Rust's runtime ignores it).
fn unblock_signals() -> io::Result<()> {
    // SAFETY: sigemptyset initialises the set; SIG_DFL is a valid disposition.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        sys::check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()).into())
            .map(drop)
    }
}

/// The payload's end. Orphans of the sandbox are reaped on the way.
pub fn reap_until(payload: Pid) -> Report {
    let set = signal_set();
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == payload {
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
