//! What there is to find outside a sandbox, and the probes that look for it: see `sandbox-probes`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use crate::probe_program::{AGENT, program};

/// One line of the program.
#[derive(Debug, Deserialize)]
pub struct Probed {
    pub id: String,
    pub means: String,
    pub precondition: Vec<String>,
    #[serde(default)]
    pub verdict: String,
    #[serde(default)]
    pub why: String,
}

pub fn probed(output: &[u8]) -> Vec<Probed> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

pub fn listed() -> Vec<Probed> {
    probed(&Command::new(program()).arg("--list").output().unwrap().stdout)
}

/// What there is to find on the host while this lives.
pub struct Stand {
    process: Child,
    number: String,
    port: String,
    terminal: String,
    /// Outside of what every sandbox covers with its own, and on a file system with setuid bits.
    directory: tempfile::TempDir,
}

impl Stand {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("patchbay-probes-").tempdir_in("/opt").unwrap();
        open_to_all(directory.path());
        // Another one for each stand of each run.
        static STANDS: AtomicU32 = AtomicU32::new(1);
        let number = (std::process::id() * 10 + STANDS.fetch_add(1, Ordering::Relaxed)).to_string();
        let mut process = found_outside(&number)
            .args(["--stand", "--number", &number, "--directory"])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (port, terminal) = line.trim().split_once(' ').expect("the stand says what it made");
        let (port, terminal) = (port.to_owned(), terminal.to_owned());
        Self { process, number, port, terminal, directory }
    }

    /// Where the probes find it all.
    fn arguments(&self, state: &Path) -> Vec<String> {
        let directory = self.directory.path().display().to_string();
        let (victim, state) = (self.process.id().to_string(), state.display().to_string());
        let pairs = [
            ("--number", &self.number),
            ("--directory", &directory),
            ("--port", &self.port),
            ("--terminal", &self.terminal),
            ("--agent", &AGENT.to_owned()),
            ("--victim", &victim),
            ("--state", &state),
        ];
        pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).clone()]).collect()
    }

    /// As root on the host.
    pub fn control(&self, state: &Path) -> Vec<Probed> {
        let output =
            found_outside(&self.number).arg("--control").args(self.arguments(state)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        probed(&output.stdout)
    }

    /// As a payload of `agent`, a command for `patchbay-agent try` with all its own options.
    pub fn inside(&self, mut agent: Command, workspace: &Path, state: &Path) -> Vec<Probed> {
        let output = agent
            .arg("--toolchain")
            .arg(self.directory.path())
            .arg("--workspace")
            .arg(workspace)
            .args(["--", "/workspace/sandbox-probes"])
            .args(self.arguments(state))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        probed(&output.stdout)
    }

    /// `patchbay-agent try` with the secret in its environment and the victim's name in its arguments.
    pub fn agent(&self) -> Command {
        self.agent_at(AGENT.as_ref())
    }

    /// The same of a copy, where another user can start it.
    pub fn agent_at(&self, program: &Path) -> Command {
        let mut agent = Command::new(program);
        agent.args(["try", "--name", &victim(&self.number)]);
        agent.env("PATCHBAY_TOKEN", secret(&self.number));
        agent
    }

    /// A script that the neighbour shows in its arguments.
    pub fn neighbour_script(&self) -> String {
        format!(": {} {}; echo ready; exec sleep 600", victim(&self.number), secret(&self.number))
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn found_outside(number: &str) -> Command {
    let mut command = Command::new(program());
    command.arg0(victim(number)).env("PATCHBAY_SECRET", secret(number));
    command
}

fn victim(number: &str) -> String {
    format!("patchbay-victim-{number}")
}

fn secret(number: &str) -> String {
    format!("patchbay-secret-{number}")
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
}
