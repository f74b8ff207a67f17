//! What a machine leaves behind: nothing, however it goes.

use std::fs;
use std::path::Path;

use acceptance::agents::{
    Job, Machine, SOON, Tenant, eventually, lab, own_plane, shared_control_groups, shell,
};
use shared_contracts::executions::{ExecutionState, Outcome};

/// Deaf to everything but SIGKILL, in a session of its own.
const STUBBORN: &str =
    "trap '' TERM INT HUP; (trap '' TERM INT HUP; setsid sleep 1000) & echo up; while :; do sleep 100; done";

fn holds_folders(path: &Path) -> bool {
    fs::read_dir(path)
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().is_dir())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_kill_minus_nine_and_a_restart() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let mut machine = Machine::start(lab(), &tenant, 3).await;
    let mut jobs = Vec::new();
    for _ in 0..3 {
        jobs.push(Job::script(&project, STUBBORN).await);
    }
    for job in &jobs {
        job.prints("up").await;
    }
    assert!(machine.processes().len() >= 3);
    assert_eq!(machine.execution_folders().len(), 3);
    machine.kill();
    // Processes and mounts go with the container agent itself; nobody has to sweep them.
    eventually("every process is gone", SOON, async || machine.processes().is_empty().then_some(())).await;
    for job in &jobs {
        job.stop().await;
    }
    machine.restart().await;
    for job in &jobs {
        assert_eq!(job.ends().await.state, ExecutionState::Cancelled);
    }
    eventually("every directory is gone", SOON, async || {
        machine.execution_folders().is_empty().then_some(())
    })
    .await;
    // It works as before.
    let job = Job::script(&project, "echo fine").await;
    assert_eq!(job.log().await.end().outcome, Outcome::Succeeded);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_way_to_end() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 5).await;
    let well = Job::script(&project, "(setsid sleep 1000) & echo left one behind").await;
    let badly = Job::script(&project, "(setsid sleep 1000) & exit 1").await;
    let mut late = shell(STUBBORN);
    late.limits.wall_seconds = Some(1);
    let late = Job::submit(&project, &late).await;
    let stopped = Job::script(&project, STUBBORN).await;
    stopped.prints("up").await;
    stopped.stop().await;
    for (job, outcome) in [
        (&well, Outcome::Succeeded),
        (&badly, Outcome::Failed),
        (&late, Outcome::TimedOut),
        (&stopped, Outcome::Cancelled),
    ] {
        assert_eq!(job.log().await.end().outcome, outcome);
    }
    // While it still runs: nothing of what has ended.
    eventually("nothing is left", SOON, async || {
        let left = machine.left_behind();
        // Its own directory for control groups stays for the next execution.
        left.iter().all(|left| left.starts_with("control group")).then_some(())
    })
    .await;
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_last_machine_not_even_what_they_shared() {
    // A plane of its own, so that it has an end.
    let plane = own_plane("nothing-left").await;
    let tenant = Tenant::of(&plane, 0);
    let project = tenant.project().await;
    let machine = Machine::start(&plane, &tenant, 1).await;
    let job = Job::script(&project, "true").await;
    assert_eq!(job.log().await.end().outcome, Outcome::Succeeded);
    assert!(!shared_control_groups().is_empty(), "it had one below");
    machine.stop().await;
    // Other tests have machines too: what they share is there as long as one of theirs is in it.
    eventually("no empty control group is left", SOON, async || {
        shared_control_groups().iter().all(|path| holds_folders(path)).then_some(())
    })
    .await;
    let folder = plane.state_folder().to_owned();
    plane.stop().await.unwrap();
    assert!(!folder.exists(), "{}", folder.display());
    eventually("no empty state folder is left", SOON, async || {
        let shared = folder.parent().expect("it is in a folder");
        (!shared.exists() || fs::read_dir(shared).is_ok_and(|mut entries| entries.next().is_some()))
            .then_some(())
    })
    .await;
}
