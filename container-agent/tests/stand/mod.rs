//! What there is to find outside a sandbox, and the probes that look for it: see `sandbox-probes`. None may work inside; each
//! is first seen to work without the sandbox, unless the machine has nothing of the kind, so that each can fail.

mod needs;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use crate::probe_program::{self, AGENT, INSIDE, program};

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

fn probed(output: &[u8]) -> Vec<Probed> {
    let text = String::from_utf8_lossy(output);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

pub fn listed() -> Vec<Probed> {
    probed(&Command::new(program()).arg("--list").output().unwrap().stdout)
}

/// Each probe's, once.
fn answers(command: &mut Command) -> Vec<Probed> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = probed(&output.stdout);
    assert_eq!(ids(&found), ids(&listed()), "each probe answers");
    assert_eq!(ids(&found).len(), found.len(), "each probe answers once");
    found
}

pub fn ids(probes: &[Probed]) -> BTreeSet<&str> {
    probes.iter().map(|probe| probe.id.as_str()).collect()
}

fn told(probe: &Probed) -> String {
    format!("{}, {}: {} ({})", probe.id, probe.verdict, probe.why, probe.means)
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

    /// Show it to the sandbox, read-only.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where the probes find it all; what [`Self::directory`] has is in `directory`.
    fn arguments(&self, directory: &Path, state: &Path) -> Vec<String> {
        let directory = directory.display().to_string();
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

    /// As root on the host every probe works, or has nothing to work on. Says what was seen.
    pub fn assert_open_outside(&self) -> String {
        let state = tempfile::tempdir().unwrap();
        // As the directory of an execution would be.
        std::fs::create_dir(state.path().join("execution")).unwrap();
        let mut control = found_outside(&self.number);
        control.arg("--control").args(self.arguments(self.directory(), state.path()));
        let found = answers(&mut control);
        let options = needs::kernel_options();
        let (mut absent, mut failed) = (Vec::new(), Vec::new());
        for probe in found.iter().filter(|probe| probe.verdict != "open") {
            match probe.precondition.iter().find(|need| !needs::is_met(need, &options)) {
                Some(need) => absent.push(format!("{} (no {need})", probe.id)),
                None => failed.push(told(probe)),
            }
        }
        assert!(
            failed.is_empty(),
            "these do not work outside, so that a closed one says nothing: {failed:#?}"
        );
        let works = found.len() - absent.len();
        format!("{works} of {} probes work outside; absent here: {}", found.len(), absent.join(", "))
    }

    /// As a payload beside another one no probe works. `agent` gives [`Self::agent`] with what makes the sandbox; `shown` is
    /// where that has what [`Self::directory`] has, and `state` is where the agent keeps its runs.
    pub fn assert_closed(&self, agent: impl Fn() -> Command, shown: &Path, workspace: &Path, state: &Path) {
        let neighbour = Neighbour::start(agent(), &self.neighbour_script(shown));
        let mut payload = agent();
        payload.arg("--workspace").arg(workspace).args(["--", INSIDE]).args(self.arguments(shown, state));
        let found = answers(&mut payload);
        drop(neighbour);
        let open: Vec<_> = found.iter().filter(|probe| probe.verdict != "closed").map(told).collect();
        assert!(open.is_empty(), "{} of {} work in the sandbox: {open:#?}", open.len(), found.len());
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

    /// A script that the neighbour shows in its arguments. It is ready only where there is something to find in `shown`.
    fn neighbour_script(&self, shown: &Path) -> String {
        let (victim, secret, shown) = (victim(&self.number), secret(&self.number), shown.display());
        format!(
            ": {victim} {secret}; test -u {shown}/setuid && test -f {shown}/writable.txt || exit 1; echo ready; \
             exec sleep 600"
        )
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// An execution that only waits.
struct Neighbour(Child);

impl Neighbour {
    fn start(mut agent: Command, script: &str) -> Self {
        let mut process = agent.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the neighbour finds what the probes look for");
        Self(process)
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        probe_program::interrupt(&mut self.0);
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
