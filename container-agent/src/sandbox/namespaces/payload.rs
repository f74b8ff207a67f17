//! The payload's process before it is the payload: forked by PID 1 early, it puts up its own walls and waits there for its
//! program. What takes longest is then done while the workspace is being made.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::RulesetStatus;
use rustix::fs::Mode;
use rustix::process::Pid;
use shared_contracts::executions::Terminal;

use super::helper::first;
use super::message::{self, Order, Report, Work};
use super::root::step;
use super::walls::{self, Landlock, Seccomp};
use super::{init, sys};

const WORKSPACE: &str = "/workspace";

/// Waits for its work, and goes with PID 1.
pub struct Waiting {
    pid: Pid,
    socket: OwnedFd,
}

impl Waiting {
    /// From here on this process prints to nowhere: the pipes are the payload's. `give_up` is what the new process still has
    /// to let go of.
    pub fn fork(seccomp: &Seccomp, give_up: fn() -> io::Result<()>) -> io::Result<Self> {
        let (ours, theirs) = message::socket_pair()?;
        let pid = sys::fork_into(0, None)?;
        if pid == 0 {
            let Ok(socket) = init::keep_only(theirs) else { sys::exit_now(1) };
            let report = become_payload(&socket, seccomp, give_up);
            let _ = message::send(socket.as_fd(), &report, &[]);
            sys::exit_now(127);
        }
        sys::silence(sys::open_null()?.as_fd())?;
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process"))?;
        Ok(Self { pid, socket: ours })
    }

    pub fn tell(&self, order: Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        message::send(self.socket.as_fd(), &order, fds)
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns when it has become its program. Its terminal, if it has one.
    pub fn start(self) -> Result<Option<OwnedFd>, Report> {
        let mut terminal = None;
        self.tell(Order::Start, &[]).map_err(machine)?;
        // Its end of the socket closes without another word when the program is there.
        while let Some((report, fds)) = message::receive::<Report>(self.socket.as_fd()).map_err(machine)? {
            match report {
                Report::Started => terminal = fds.into_iter().next(),
                failed => return Err(failed),
            }
        }
        Ok(terminal)
    }
}

fn machine(error: impl std::fmt::Display) -> Report {
    Report::Failed(message::short(&error.to_string()))
}

fn command(error: impl std::fmt::Display) -> Report {
    Report::CommandFailed(message::short(&error.to_string()))
}

/// Returns only on failure: what to say.
fn become_payload(socket: &OwnedFd, seccomp: &Seccomp, give_up: fn() -> io::Result<()>) -> Report {
    let ready = || -> Result<Program, Report> {
        let (work, landlock) = prepare(socket, seccomp, give_up).map_err(machine)?;
        let mut program = Program::of(&work)?;
        enter_workspace(socket, landlock).map_err(machine)?;
        program.find(&work)?;
        await_order(socket, Order::Start).map_err(machine)?;
        Ok(program)
    };
    ready().map_or_else(|report| report, |program| program.run())
}

/// Behind its walls, on its terminal.
fn prepare(
    socket: &OwnedFd,
    seccomp: &Seccomp,
    give_up: fn() -> io::Result<()>,
) -> io::Result<(Work, Landlock)> {
    step("session", rustix::process::setsid().map_err(io::Error::from))?;
    step("drop capabilities", give_up())?;
    step("seccomp", seccomp.apply().map_err(io::Error::other))?;
    await_order(socket, Order::Build)?;
    let landlock = step("Landlock", Landlock::prepare().map_err(io::Error::other))?;
    let work: Work = message::read_memory_file(first(await_order(socket, Order::Work)?)?)?;
    step("resource limits", walls::resource_limits(&work.limits))?;
    if let Some(size) = work.terminal {
        step("terminal", take_terminal(socket, size))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // A program starts with nothing blocked and SIGPIPE as usual, which Rust's runtime ignores.
    step("signals", init::unblock_signals().and_then(|()| sys::set_signal(libc::SIGPIPE, libc::SIG_DFL)))?;
    Ok((work, landlock))
}

/// The last wall, which needs it.
fn enter_workspace(socket: &OwnedFd, landlock: Landlock) -> io::Result<()> {
    await_order(socket, Order::Attach)?;
    step("enter /workspace", std::env::set_current_dir(WORKSPACE))?;
    if step("Landlock", landlock.apply(WORKSPACE).map_err(io::Error::other))? == RulesetStatus::NotEnforced {
        return Err(io::Error::other("Landlock: not in this kernel"));
    }
    Ok(())
}

/// The next order, which must be this one. Whoever gave it may be gone: then there is nothing to do.
pub fn await_order(socket: &OwnedFd, expected: Order) -> io::Result<Vec<OwnedFd>> {
    match message::receive::<Order>(socket.as_fd())? {
        Some((order, fds)) if order == expected => Ok(fds),
        Some((order, _)) => Err(io::Error::other(format!("{order:?} came instead of {expected:?}"))),
        None => sys::exit_now(1),
    }
}

/// A pseudo-terminal of the sandbox's own: its other end goes to the agent.
fn take_terminal(socket: &OwnedFd, size: Terminal) -> io::Result<()> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let size =
        rustix::termios::Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&master, size)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    rustix::process::ioctl_tiocsctty(&slave)?;
    (0..3).try_for_each(|number| sys::duplicate_to(slave.as_fd(), number))?;
    message::send(socket.as_fd(), &Report::Started, &[master.as_fd()])
}

/// What the kernel is told to run, as it wants it.
struct Program {
    name: String,
    path: CString,
    arguments: Vec<CString>,
    variables: Vec<CString>,
}

impl Program {
    fn of(work: &Work) -> Result<Self, Report> {
        let name = work.command.first().ok_or_else(|| command("the command is empty"))?;
        let variables = work.environment.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(Self {
            name: name.clone(),
            path: CString::default(),
            arguments: c_strings(work.command.iter().cloned()).map_err(machine)?,
            variables: c_strings(variables).map_err(machine)?,
        })
    }

    /// It may be one of the workspace.
    fn find(&mut self, work: &Work) -> Result<(), Report> {
        let search = work.environment.get("PATH").map_or("", String::as_str);
        let path = find_program(&self.name, search).map_err(command)?;
        self.path = sys::c_string(path.as_os_str()).map_err(machine)?;
        Ok(())
    }

    /// Returns only on failure.
    fn run(&self) -> Report {
        let pointers = |strings: &[CString]| {
            strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (arguments, variables) = (pointers(&self.arguments), pointers(&self.variables));
        // SAFETY: NUL-terminated strings in NULL-terminated arrays; all outlive the call. What this process holds besides its
        // standard streams closes by itself (O_CLOEXEC).
        unsafe { libc::execve(self.path.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
        command(format!("cannot run `{}`: {}", self.name.escape_debug(), io::Error::last_os_error()))
    }
}

fn c_strings(texts: impl Iterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.map(|text| sys::c_string(OsStr::new(&text))).collect()
}

/// The program's path as the payload's `PATH` finds it, seen from inside the root.
fn find_program(name: &str, search: &str) -> Result<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    if name.contains('/') {
        return Ok(Path::new(WORKSPACE).join(name));
    }
    let mut found_unusable = None;
    for directory in search.split(':').filter(|directory| !directory.is_empty()) {
        let path = Path::new(WORKSPACE).join(directory).join(name);
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
