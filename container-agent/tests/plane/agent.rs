//! The real binary, started and ended by a test.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Plane;

impl Plane {
    /// The real binary, connected here.
    pub fn agent(&self, state_directory: &Path) -> Agent {
        self.agent_with(state_directory, &[])
    }

    pub fn agent_with(&self, state_directory: &Path, arguments: &[&str]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
        command.arg("run").args(arguments);
        self.agent_by(command, state_directory)
    }

    /// `command` runs it.
    pub fn agent_by(&self, mut command: Command, state_directory: &Path) -> Agent {
        let child = command
            .env("PATCHBAY_URL", format!("http://{}", self.address))
            .env("PATCHBAY_TOKEN", "agent-token")
            .env("PATCHBAY_NAME", "test")
            .env("PATCHBAY_STATE_DIR", state_directory)
            .env("PATCHBAY_CAPACITY", "4")
            // A server of a test is on this machine's own loopback, which no project can list otherwise.
            .env("PATCHBAY_EGRESS_VOUCHED", self.address.to_string())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Agent(child)
    }
}

/// Made to give up what it runs when dropped; killed if it does not.
pub struct Agent(pub Child);

impl Agent {
    pub fn signal(&self, signal: &str) {
        // It may have ended by itself meanwhile.
        let _ = Command::new("kill").args([signal, &self.0.id().to_string()]).stderr(Stdio::null()).status();
    }

    pub fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(8);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            self.signal("-TERM");
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
