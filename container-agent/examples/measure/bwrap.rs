//! bubblewrap, with as much of the same as it has: no control groups, no disk limit, no Landlock, no filter.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::peers::{timed, tried};

#[derive(Debug, Clone)]
pub struct Bwrap {
    workspace: PathBuf,
}

impl Bwrap {
    pub fn new(workspace: &Path) -> Result<Self> {
        let bwrap = Self { workspace: workspace.to_owned() };
        tried(&mut bwrap.command())?;
        Ok(bwrap)
    }

    pub fn once(&self) -> Result<Duration> {
        timed(&mut self.command())
    }

    fn command(&self) -> Command {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr"]);
        for name in ["bin", "sbin", "lib", "lib64"] {
            command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
        }
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home/agent"]);
        command.arg("--bind").args([self.workspace.as_os_str(), "/workspace".as_ref()]);
        command.args(["--chdir", "/workspace", "/bin/true"]);
        command
    }
}
