//! Ways out of the sandbox, tried from inside through the real binary (`try`): see `stand`. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]
#![allow(clippy::expect_used, reason = "what is not there is a failed test")]

mod probe_program;
mod stand;

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;

use stand::Stand;

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
    // What the agent works on and in; its own, if it is not root's.
    let (state, workspace) = (tempfile::tempdir().unwrap(), probe_program::workspace());
    for path in [state.path(), workspace.path(), &workspace.path().join("sandbox-probes")] {
        chown(path, sandbox.user, sandbox.user).unwrap();
    }
    let stand = Stand::new();
    let copy = state.path().join("patchbay-agent");
    if sandbox.user.is_some() {
        std::fs::copy(probe_program::AGENT, &copy).unwrap();
    }
    let agent = || {
        let mut agent = match sandbox.user {
            None => stand.agent(),
            Some(user) => {
                let mut agent = stand.agent_at(&copy);
                agent.uid(user).gid(user);
                agent
            }
        };
        agent.args(sandbox.options).arg("--toolchain").arg(stand.directory()).env("TMPDIR", state.path());
        agent
    };
    stand.assert_closed(agent, stand.directory(), workspace.path(), &state.path().join("patchbay-try"));
}

#[test]
fn every_probe_works_outside() {
    println!("{}", Stand::new().assert_open_outside());
}

#[test]
fn probes_are_many_and_have_names_of_their_own() {
    let listed = stand::listed();
    assert!(listed.len() >= PROBES_MIN, "{} probes", listed.len());
    assert_eq!(stand::ids(&listed).len(), listed.len(), "two have the same id");
    assert!(listed.iter().all(|probe| !probe.means.is_empty() && !probe.id.contains(char::is_whitespace)));
}
