//! The last resort against processes left behind: a small shell that holds a pipe from this process. When the
//! pipe closes, this process is gone, by Ctrl-C or `kill -9` alike, and the shell ends every group still listed.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::Pid;

/// Lists come in as `add ID` and `remove ID`. SIGTERM first, so that a container agent can tidy up its sandboxes.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
groups=' '
while read -r verb id; do
  case $verb in
    add) groups="$groups$id " ;;
    remove) kept=' '; for group in $groups; do [ "$group" = "$id" ] || kept="$kept$group "; done; groups=$kept ;;
  esac
done
for group in $groups; do kill -s TERM -- "-$group" 2>/dev/null; done
[ "$groups" = ' ' ] || sleep 3
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
"#;

static GUARDIAN: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();

fn guardian() -> Option<&'static Mutex<ChildStdin>> {
    GUARDIAN
        .get_or_init(|| {
            let mut child = Command::new("/bin/sh")
                .args(["-c", SCRIPT])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .current_dir("/")
                // Out of reach of the terminal's Ctrl-C.
                .process_group(0)
                .spawn()
                .ok()?;
            child.stdin.take().map(Mutex::new)
        })
        .as_ref()
}

fn tell(verb: &str, id: Pid) {
    if let Some(pipe) = guardian() {
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the guardian the groups still end on drop.
        let _ = writeln!(pipe, "{verb} {}", id.as_raw_nonzero());
    }
}

/// Starts the guardian before the first child, so that none is missed while it starts.
pub(super) fn prepare() {
    guardian();
}

pub(super) fn add(id: Pid) {
    tell("add", id);
}

pub(super) fn remove(id: Pid) {
    tell("remove", id);
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use rustix::process::Signal;

    use super::*;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("100").process_group(0).spawn().unwrap()
    }

    #[test]
    fn a_closed_pipe_ends_what_is_still_listed() {
        let (mut listed, mut removed) = (sleeper(), sleeper());
        let mut shell = Command::new("/bin/sh").args(["-c", SCRIPT]).stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = shell.stdin.take().unwrap();
        writeln!(pipe, "add {}\nadd {}\nremove {1}", listed.id(), removed.id()).unwrap();
        drop(pipe);
        assert_eq!(listed.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
        shell.wait().unwrap();
        assert!(removed.try_wait().unwrap().is_none());
        removed.kill().unwrap();
        removed.wait().unwrap();
    }
}
