//! The process that sandboxes are forked from: it follows what it was made of, and nobody depends on its life. The real
//! agent against a scripted plane. Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;
#[allow(dead_code, reason = "others use the rest of it")]
mod processes;

use plane::agent::Agent;
use plane::{Plane, leased, logged};
use rustix::process::{Pid, Signal, kill_process};
use shared_contracts::containers::{ContainerCommand, ContainerId};

/// Those of this agent's own children that sandboxes are forked from.
fn templates(agent: &Agent) -> Vec<u32> {
    let children = processes::parents().into_iter().filter(|(_, parent)| *parent == agent.0.id());
    let is_one = |pid: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("__sandbox-template")
    };
    children.map(|(pid, _)| pid).filter(is_one).collect()
}

async fn prints(plane: &Plane, number: u64, script: &str) -> Vec<String> {
    let work = leased(number, 1, &["sh", "-c", script]);
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    logged(&events).into_iter().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_toolchain_that_was_replaced_is_seen_by_the_next_execution() {
    let plane = Plane::start().await;
    // Not below `/tmp`, which is the sandbox's own.
    let (state, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/srv").unwrap());
    let toolchain = place.path().join("tools");
    let install = |version: &str| {
        let next = place.path().join("next");
        std::fs::create_dir(&next).unwrap();
        std::fs::write(next.join("version"), version).unwrap();
        let _ = std::fs::remove_dir_all(&toolchain);
        std::fs::rename(next, &toolchain).unwrap();
    };
    install("1\n");
    let agent = plane.agent_with(state.path(), &["--toolchain", toolchain.to_str().unwrap()]);
    let script = format!("cat {}/version", toolchain.display());
    assert_eq!(prints(&plane, 1, &script).await, ["1"]);
    let first = templates(&agent);
    assert_eq!(prints(&plane, 2, &script).await, ["1"]);
    assert_eq!(templates(&agent), first, "nothing changed");
    install("2\n");
    assert_eq!(prints(&plane, 3, &script).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_on_without_it_and_the_next_execution_gets_another() {
    let plane = Plane::start().await;
    let state = tempfile::tempdir().unwrap();
    let agent = plane.agent(state.path());
    let work = leased(1, 1, &["sh", "-c", "while :; do echo here; sleep 0.02; done"]);
    let id = ContainerId::from(work.lease);
    let execution = id.execution_id.to_string();
    plane.lease(work).await;
    // So many more lines than there are now.
    let goes_on = async || {
        let lines =
            |seen: &plane::State| seen.events.get(&execution).map_or(0, |events| logged(events).len());
        let before = plane.with(|seen| lines(seen));
        plane.until("it goes on", |seen| (lines(seen) > before + 2).then_some(())).await;
    };
    goes_on().await;
    let killed = templates(&agent);
    assert_eq!(killed.len(), 1, "{killed:?}");
    for pid in &killed {
        kill_process(Pid::from_raw(*pid as i32).unwrap(), Signal::KILL).unwrap();
    }
    assert_eq!(prints(&plane, 2, "echo also here").await, ["also here"]);
    assert!(templates(&agent).iter().all(|pid| !killed.contains(pid)));
    goes_on().await;
    plane.ask(1, ContainerCommand::Stop { id }).await;
    assert_eq!(plane.ended(id.execution_id).await.0["outcome"], "cancelled");
}
