//! The programs that tests of the sandbox start: the agent, and the payload of `sandbox-probes`, built once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

pub const AGENT: &str = env!("CARGO_BIN_EXE_patchbay-agent");
/// Where a sandbox shows the payload of [`workspace`].
pub const INSIDE: &str = "/workspace/sandbox-probes";

/// Built as `cargo native` builds: linked statically, so that it runs in any image.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(AGENT).ancestors().nth(2).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["native", "--quiet", "--locked", "--package", "sandbox-probes", "--message-format", "json"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "sandbox-probes was not built");
    let lines = String::from_utf8(output.stdout).unwrap();
    let artifacts = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut programs = artifacts.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    programs.next().expect("cargo names the program that it built")
});

pub fn program() -> &'static Path {
    &PROGRAM
}

/// With the payload in it, which the sandbox shows as [`INSIDE`].
pub fn workspace() -> tempfile::TempDir {
    let workspace = tempfile::tempdir().unwrap();
    std::fs::copy(program(), workspace.path().join("sandbox-probes")).unwrap();
    workspace
}

/// Ends an agent by a signal that lets it clean up.
pub fn interrupt(agent: &mut Child) {
    let pid = rustix::process::Pid::from_child(agent);
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    let _ = agent.wait();
}
