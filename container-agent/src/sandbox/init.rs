//! PID 1 of a sandbox: starts the payload, reaps what is orphaned, passes signals on, tells the helper the end.

use std::ffi::{CString, OsStr};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use landlock::RulesetStatus;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::message::HelperConfig;
use super::walls::{self, Seccomp};
use super::{child, sys};

/// Where the status pipe is kept; everything above is closed.
const STATUS: libc::c_int = 3;

/// Never returns. Lines written to `status`: `R` the payload runs, `X<code>`, `S<signal>`, `F<machine's fault>`,
/// `C<command's fault>`.
pub fn run(config: &HelperConfig, seccomp: &Seccomp, status: OwnedFd) -> ! {
    let mut status = match keep_only(status) {
        Ok(status) => status,
        Err(_) => sys::exit_now(1),
    };
    match start(config, seccomp) {
        Ok(payload) => {
            let _ = writeln!(status, "R");
            let _ = writeln!(status, "{}", reap_until(payload));
        }
        Err(Fault::Machine(error)) => drop(writeln!(status, "F{error}")),
        Err(Fault::Command(error)) => drop(writeln!(status, "C{error}")),
    }
    // The end of PID 1 ends every other process inside.
    sys::exit_now(0)
}

fn keep_only(status: OwnedFd) -> io::Result<std::fs::File> {
    use std::os::fd::FromRawFd;
    sys::duplicate_to(status.as_fd(), STATUS)?;
    std::mem::forget(status);
    sys::close_from(4)?;
    // SAFETY: just put there by dup2; the original, wherever it was, is closed or is this very one.
    Ok(unsafe { std::fs::File::from_raw_fd(STATUS) })
}

enum Fault {
    Machine(String),
    Command(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Machine(error.to_string())
    }
}

/// Forks the payload and waits until it has become its program.
fn start(config: &HelperConfig, seccomp: &Seccomp) -> Result<Pid, Fault> {
    block_signals()?;
    let program = config.command.first().ok_or_else(|| Fault::Command("the command is empty".into()))?;
    let search = config.environment.get("PATH").map_or("", String::as_str);
    let path = child::find_program(program, search).map_err(Fault::Command)?;
    let path = sys::c_string(path.as_os_str())?;
    let arguments = c_strings(config.command.iter().cloned())?;
    let variables = c_strings(config.environment.iter().map(|(name, value)| format!("{name}={value}")))?;
    let (mut outcome, mut failure) = io::pipe()?;
    let pid = sys::fork_into(0)?;
    if pid == 0 {
        let fault = become_payload(seccomp, &path, &arguments, &variables);
        let _ = write!(failure, "{fault}");
        sys::exit_now(127);
    }
    drop(failure);
    let mut text = String::new();
    // Closed without a word by exec.
    outcome.read_to_string(&mut text)?;
    match text.split_at_checked(1) {
        None => Pid::from_raw(pid).ok_or_else(|| Fault::Machine("fork gave no process".into())),
        Some(("C", error)) => {
            Err(Fault::Command(format!("cannot run `{}`: {error}", program.escape_debug())))
        }
        Some((_, error)) => Err(Fault::Machine(error.to_owned())),
    }
}

fn c_strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| sys::c_string(OsStr::new(&text))).collect()
}

/// Returns only on failure: what to say, first letter `C` (the command's fault) or `F`.
fn become_payload(seccomp: &Seccomp, path: &CString, arguments: &[CString], variables: &[CString]) -> String {
    let walls = || -> Result<(), String> {
        rustix::process::setsid().map_err(|error| format!("session: {error}"))?;
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
    // status pipe close by themselves (O_CLOEXEC, set below for the one that dup2 made).
    unsafe {
        libc::fcntl(STATUS, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::execve(path.as_ptr(), arguments.as_ptr(), variables.as_ptr());
    }
    format!("C{}", io::Error::last_os_error())
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

/// The payload's end as a status line. Orphans of the sandbox are reaped on the way.
fn reap_until(payload: Pid) -> String {
    let set = signal_set();
    loop {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == payload {
                return status_line(status);
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

fn status_line(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("X{code}"),
        (None, Some(signal)) => format!("S{signal}"),
        (None, None) => "X255".to_owned(),
    }
}
