//! Ways out of the sandbox, tried from inside through the real binary (`try`): none may work. Each is first seen to work
//! without the sandbox, unless the machine has nothing of the kind, so that each can fail. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]
#![allow(clippy::expect_used, reason = "what is not there is a failed test")]

mod probe_program;
mod stand;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stand::{Probed, Stand};

const PROBES_MIN: usize = 80;

/// One way to make a sandbox.
struct Sandbox {
    /// Who runs the agent; root unless given.
    user: Option<u32>,
    /// Options of `try`.
    options: &'static [&'static str],
}

#[test]
fn no_probe_works_in_namespaces() {
    no_probe_works(&Sandbox { user: None, options: &[] });
}

#[test]
fn no_probe_works_in_a_users_namespaces() {
    no_probe_works(&Sandbox { user: Some(61_235), options: &["--limits", "none"] });
}

fn no_probe_works(sandbox: &Sandbox) {
    // 1. What the agent works on and in; its own, if it is not root's.
    let (state, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::copy(probe_program::program(), workspace.path().join("sandbox-probes")).unwrap();
    for path in [state.path(), workspace.path(), &workspace.path().join("sandbox-probes")] {
        std::os::unix::fs::chown(path, sandbox.user, sandbox.user).unwrap();
    }
    let stand = Stand::new();
    let copy = state.path().join("patchbay-agent");
    if sandbox.user.is_some() {
        std::fs::copy(env!("CARGO_BIN_EXE_patchbay-agent"), &copy).unwrap();
    }
    let agent = || match sandbox.user {
        None => with_options(stand.agent(), sandbox, state.path()),
        Some(user) => {
            let mut agent = with_options(stand.agent_at(&copy), sandbox, state.path());
            agent.uid(user).gid(user);
            agent
        }
    };
    // 2. Another execution beside it.
    let neighbour = Neighbour::start(agent(), &stand.neighbour_script());
    // 3. Every probe answers, and none with a success.
    let found = stand.inside(agent(), workspace.path(), &state.path().join("patchbay-try"));
    drop(neighbour);
    assert_eq!(ids(&found), ids(&stand::listed()), "each probe answers once");
    let open: Vec<_> = found.iter().filter(|probe| probe.verdict != "closed").map(told).collect();
    assert!(open.is_empty(), "{} of {} work in the sandbox: {open:#?}", open.len(), found.len());
}

fn with_options(mut agent: Command, sandbox: &Sandbox, state: &Path) -> Command {
    agent.args(sandbox.options).env("TMPDIR", state);
    agent
}

#[test]
fn every_probe_works_outside() {
    let state = tempfile::tempdir().unwrap();
    // As the directory of an execution would be.
    std::fs::create_dir(state.path().join("execution")).unwrap();
    let found = Stand::new().control(state.path());
    assert_eq!(ids(&found), ids(&stand::listed()), "each probe answers once");
    let options = kernel_options();
    let (mut absent, mut failed) = (Vec::new(), Vec::new());
    for probe in found.iter().filter(|probe| probe.verdict != "open") {
        match probe.precondition.iter().find(|need| !is_met(need, &options)) {
            Some(need) => absent.push(format!("{} (no {need})", probe.id)),
            None => failed.push(told(probe)),
        }
    }
    println!(
        "{} of {} probes work outside; absent here: {}",
        found.len() - absent.len(),
        found.len(),
        absent.join(", ")
    );
    assert!(failed.is_empty(), "these do not work outside, so that a closed one says nothing: {failed:#?}");
}

#[test]
fn probes_are_many_and_have_names_of_their_own() {
    let listed = stand::listed();
    assert!(listed.len() >= PROBES_MIN, "{} probes", listed.len());
    assert_eq!(ids(&listed).len(), listed.len(), "two have the same id");
    assert!(listed.iter().all(|probe| !probe.means.is_empty() && !probe.id.contains(char::is_whitespace)));
}

fn told(probe: &Probed) -> String {
    format!("{}, {}: {} ({})", probe.id, probe.verdict, probe.why, probe.means)
}

fn ids(probes: &[Probed]) -> BTreeSet<&str> {
    probes.iter().map(|probe| probe.id.as_str()).collect()
}

/// Whether this machine has it, by other means than the probe's own.
fn is_met(need: &str, options: &str) -> bool {
    match need {
        path if path.starts_with('/') => Path::new(path).exists(),
        option if option.starts_with("CONFIG_") => {
            options.lines().any(|line| line == format!("{option}=y") || line == format!("{option}=m"))
        }
        capability if capability.starts_with("CAP_") => has_capability(capability),
        "a default route" => {
            let routes = std::fs::read_to_string("/proc/self/net/route").unwrap();
            routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
        }
        "cgroup v1" => std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup "),
        other => panic!("this test cannot tell whether the machine has `{other}`"),
    }
}

fn has_capability(name: &str) -> bool {
    const NUMBERS: [(&str, u32); 7] = [
        ("CAP_CHOWN", 0),
        ("CAP_SETPCAP", 8),
        ("CAP_SYS_CHROOT", 18),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_SYS_NICE", 23),
        ("CAP_SYS_RESOURCE", 24),
        ("CAP_MKNOD", 27),
    ];
    let (_, number) = NUMBERS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(held, 16).unwrap() >> number & 1 == 1
}

fn kernel_options() -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if let Ok(text) = std::fs::read_to_string(format!("/boot/config-{release}")) {
        return text;
    }
    let output = Command::new("gzip").args(["-dc", "/proc/config.gz"]).output().unwrap();
    assert!(output.status.success(), "the kernel's configuration is neither in /boot nor in /proc");
    String::from_utf8(output.stdout).unwrap()
}

/// An execution that only waits.
struct Neighbour(Child);

impl Neighbour {
    fn start(mut agent: Command, script: &str) -> Self {
        let mut process = agent.args(["--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(process)
    }
}

impl Drop for Neighbour {
    /// By a signal that lets it clean up.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.0.wait();
    }
}
