//! A child process with everything it starts.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::guardian;

/// How long a group has after SIGTERM on drop before SIGKILL.
const GRACE_ON_DROP: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A child in a process group of its own. Dropping it ends the whole group.
#[derive(Debug)]
pub struct Group {
    child: Child,
    id: Pid,
    is_ended: bool,
}

impl Group {
    pub fn spawn(command: &mut Command) -> Result<Self> {
        guardian::prepare();
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let id = Pid::from_child(&child);
        guardian::add(id);
        Ok(Self { child, id, is_ended: false })
    }

    /// The process id of the child, which is also the id of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child_mut(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().context("cannot ask whether a child process has ended")?;
        if status.is_some() {
            self.tidy();
        }
        Ok(status)
    }

    /// Waits without blocking the runtime's thread; none when the time was not enough.
    pub async fn wait_for(&mut self, at_most: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits, blocking.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("cannot wait for a child process")?;
        self.tidy();
        Ok(status)
    }

    /// Sends a signal to the child alone.
    pub fn signal_child(&self, signal: Signal) {
        if !self.is_ended {
            let _ = kill_process(self.id, signal);
        }
    }

    /// Sends a signal to everything in the group.
    pub fn signal_group(&self, signal: Signal) {
        if !self.is_ended {
            let _ = kill_process_group(self.id, signal);
        }
    }

    /// SIGKILL to the child and nothing else, as when a machine kills it: what it started stays until this is
    /// dropped, so that a test can see what was left.
    pub fn kill_child_alone(&mut self) -> Result<ExitStatus> {
        self.signal_child(Signal::KILL);
        self.child.wait().context("cannot wait for a killed child process")
    }

    /// SIGTERM to the group, SIGKILL to what is left after the grace.
    pub async fn stop(&mut self, grace: Duration) -> Result<Option<ExitStatus>> {
        self.signal_group(Signal::TERM);
        if let Some(status) = self.wait_for(grace).await? {
            return Ok(Some(status));
        }
        self.signal_group(Signal::KILL);
        self.wait_for(Duration::from_secs(5)).await
    }

    /// The child has ended; what it started and left in its group ends now.
    fn tidy(&mut self) {
        if !self.is_ended {
            let _ = kill_process_group(self.id, Signal::KILL);
            guardian::remove(self.id);
            self.is_ended = true;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal_group(Signal::TERM);
        let deadline = Instant::now() + GRACE_ON_DROP;
        while !self.is_ended && Instant::now() < deadline {
            if self.try_wait().is_err() {
                break;
            }
            std::thread::sleep(POLL);
        }
        if !self.is_ended {
            self.signal_group(Signal::KILL);
            let _ = self.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(pid: &str) -> bool {
        // The third field of `stat`; a zombie is dead and waits only for its parent.
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
    }

    #[test]
    fn dropping_ends_grandchildren_too() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 100 & echo $! > {}.new; mv {0}.new {0}; wait", file.display());
        let group = Group::spawn(Command::new("/bin/sh").args(["-c", &script])).unwrap();
        while !file.exists() {
            std::thread::sleep(POLL);
        }
        let grandchild = std::fs::read_to_string(&file).unwrap();
        assert!(is_alive(grandchild.trim()));
        drop(group);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!is_alive(grandchild.trim()));
    }
}
