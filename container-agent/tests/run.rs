//! The agent against a scripted plane: the whole path of an execution, and what happens when parts of it fail.
//! These tests run the real sandbox and need root.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;

use std::path::Path;
use std::time::Duration;

use plane::{Plane, leased};
use serde_json::Value;
use shared_contracts::containers::ContainerCommand;
use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::problem::{Problem, ProblemKind};

fn lines(events: &[Value], stream: &str) -> Vec<String> {
    let of = |event: &&Value| event["type"] == "log" && event["stream"] == stream;
    events.iter().filter(of).map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

fn contiguous(events: &[Value]) {
    for (event, sequence) in events.iter().zip(1_u64..) {
        assert_eq!(event["sequence"], sequence);
    }
}

async fn prints_here(plane: &Plane, id: &str) {
    let here = |event: &Value| event["text"] == "here";
    plane.until("its line", |state| state.events.get(id)?.iter().any(here).then_some(())).await;
}

async fn its_directory_goes(plane: &Plane, state_folder: &Path) {
    let executions = state_folder.join("executions");
    plane
        .until("the directory to go", |_| {
            (std::fs::read_dir(&executions).unwrap().count() == 0).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_from_lease_to_terminal_event() {
    let plane = Plane::start().await;
    plane.file("a.txt", "one\ntwo\n");
    plane.file("dir/gone.txt", "gone\n");
    plane.file("run.sh", "#!/bin/sh\necho from script\n");
    plane.file(".gitignore", "target/\n");
    plane.with(|state| state.busy = 2);
    let directory = tempfile::tempdir().unwrap();
    let mut agent = plane.agent(directory.path());
    let script = "./run.sh; echo err >&2; sed -i s/two/2/ a.txt; rm dir/gone.txt; mkdir -p new target/x; echo n > new/f; \
                  echo o > target/x/o; echo report > report.log; cat $PATCHBAY_PROMPT_FILE; echo; env | grep -c TOKEN; true";
    let mut work = leased(1, 1, &["sh", "-c", script]);
    work.spec.artifacts = vec!["*.log".into()];
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    contiguous(&events);
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    assert_eq!(ended["exit_code"], 0);
    assert_eq!(lines(&events, "stdout"), ["from script", "Do it", "0"]);
    assert_eq!(lines(&events, "stderr"), ["err"]);
    plane.with(|state| {
        assert_eq!(state.artifacts.len(), 1);
        assert!(state.artifacts[0].0.contains("path=report.log"));
        assert_eq!(state.artifacts[0].1, b"report\n");
        let operations = state.patches[0]["batch"]["operations"].as_array().unwrap();
        let mut said: Vec<_> =
            operations.iter().map(|o| format!("{} {}", o["operation"], o["path"])).collect();
        said.sort();
        let wanted = [
            "\"create\" \"new/f\"",
            "\"create\" \"report.log\"",
            "\"delete\" \"dir/gone.txt\"",
            "\"edit\" \"a.txt\"",
        ];
        assert_eq!(said, wanted);
    });
    // SIGTERM drains, and nothing stays behind.
    agent.signal("-TERM");
    assert_eq!(agent.exit_code(), 0);
    assert_eq!(std::fs::read_dir(directory.path().join("executions")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_timeout_failure_and_unknown_commands() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let cancelled = leased(1, 1, &["sh", "-c", "echo started; sleep 60"]);
    let mut slow = leased(2, 1, &["sleep", "60"]);
    slow.spec.limits.wall_seconds = 1;
    let failing = leased(3, 1, &["sh", "-c", "exit 7"]);
    let unknown = leased(4, 1, &["no-such-program"]);
    for work in [&cancelled, &slow, &failing, &unknown] {
        plane.lease(work.clone()).await;
    }
    let id = cancelled.lease.execution_id.to_string();
    plane
        .until("its first line", |state| {
            state.events.get(&id)?.iter().any(|e| e["text"] == "started").then_some(())
        })
        .await;
    plane.send(ToContainerAgent::Cancel { lease: cancelled.lease, reason: "stop asked for".into() }).await;
    let (ended, _) = plane.ended(cancelled.lease.execution_id).await;
    assert_eq!((&ended["outcome"], &ended["reason"]), (&"cancelled".into(), &"stop asked for".into()));
    let (ended, _) = plane.ended(slow.lease.execution_id).await;
    assert_eq!(ended["outcome"], "timed_out", "{ended}");
    let (ended, _) = plane.ended(failing.lease.execution_id).await;
    assert_eq!((&ended["outcome"], &ended["exit_code"]), (&"failed".into(), &7.into()));
    let (ended, _) = plane.ended(unknown.lease.execution_id).await;
    assert!(ended["reason"].as_str().unwrap().contains("no-such-program"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_whole_over_lost_connections() {
    let plane = Plane::start().await;
    plane.with(|state| state.drop_after = Some(3));
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let work = leased(
        1,
        1,
        &[
            "sh",
            "-c",
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); [ $((i%500)) = 0 ] && sleep 0.1; done; true",
        ],
    );
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (_, events) = plane.ended(id).await;
    contiguous(&events);
    let wanted: Vec<_> = (0..3000).map(|n| format!("line {n}")).collect();
    assert_eq!(lines(&events, "stdout"), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_flushed_and_given_back_by_the_next() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let work = leased(1, 1, &["sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 60"]);
    let id = work.lease.execution_id;
    {
        let agent = plane.agent(directory.path());
        plane.lease(work).await;
        let id = id.to_string();
        plane
            .until("three lines", |state| {
                (state.events.get(&id)?.iter().filter(|e| e["stream"] == "stdout").count() == 3).then_some(())
            })
            .await;
        agent.signal("-KILL");
        // Its lock is free once it is gone.
    }
    let _agent = plane.agent(directory.path());
    let abandon = plane.said("abandon", id).await;
    assert!(abandon["reason"].as_str().unwrap().contains("restarted"));
    plane.with(|state| contiguous(&state.events[&id.to_string()]));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(std::fs::read_dir(directory.path().join("executions")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_producer_is_slowed_and_nothing_is_lost() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let work = leased(1, 1, &["sh", "-c", "seq 1 300000"]);
    let id = work.lease.execution_id;
    let started = std::time::Instant::now();
    plane.lease(work).await;
    let (_, events) = plane.ended(id).await;
    let seconds = started.elapsed().as_secs_f64();
    contiguous(&events);
    assert_eq!(lines(&events, "stdout").len(), 300_000);
    let messages = plane.with(|state| state.messages);
    println!("300,000 lines in {seconds:.2} s ({:.0} lines/s), {messages} messages", 300_000.0 / seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_gone_stops_the_sandbox_silently() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let work = leased(1, 1, &["sh", "-c", "echo here; sleep 60"]);
    let lease = work.lease;
    plane.lease(work).await;
    let id = lease.execution_id.to_string();
    prints_here(&plane, &id).await;
    plane.with(|state| state.gone.push(lease));
    its_directory_goes(&plane, directory.path()).await;
    plane.with(|state| assert!(state.events[&id].iter().all(|event| event["type"] != "ended")));
}

fn bytes_below(directory: &std::path::Path) -> u64 {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_acknowledging_stops_the_payload() {
    use shared_contracts::limits::{APPEND_BYTES_MAX, APPEND_WINDOW_BYTES, SPOOL_WINDOW_BYTES};
    // As events they fill the spool's window three times.
    const LINES: u64 = 24_000;
    let plane = Plane::start().await;
    plane.with(|state| state.mute = true);
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let script =
        format!("yes $(head -c 1000 /dev/zero | tr '\\0' x) | head -n {LINES} | cat -n; echo written >&2");
    let work = leased(1, 1, &["sh", "-c", &script]);
    let id = work.lease.execution_id;
    plane.lease(work).await;
    // 1. What arrives comes to rest, with the window on the way and no more.
    let arrived = |state: &mut plane::State| {
        state
            .events
            .get(&id.to_string())
            .map_or(0, |events| events.iter().map(|event| event.to_string().len() + 1).sum::<usize>())
    };
    plane.until("the window to fill", |state| (arrived(state) >= APPEND_WINDOW_BYTES).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (before, spooled) = (plane.with(arrived), bytes_below(&directory.path().join("executions")));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (after, spooled_after) = (plane.with(arrived), bytes_below(&directory.path().join("executions")));
    assert_eq!(before, after);
    assert!(after <= APPEND_WINDOW_BYTES + APPEND_BYTES_MAX, "{after}");
    // 2. Nothing more is read either, and the payload is not at its end: 24 MB do not fit pipe and windows.
    // Only the second's usage is still written.
    assert!(spooled_after - spooled < 2_048, "{spooled} {spooled_after}");
    assert!((SPOOL_WINDOW_BYTES..SPOOL_WINDOW_BYTES + 1024 * 1024).contains(&spooled), "{spooled}");
    // 3. Acknowledged again, all of it arrives, once.
    plane.with(|state| state.mute = false);
    let (ended, events) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    contiguous(&events);
    let numbers = lines(&events, "stdout");
    assert_eq!(numbers.len() as u64, LINES);
    for (line, number) in numbers.iter().zip(1_u64..) {
        assert_eq!(line.split_whitespace().next().unwrap(), number.to_string());
    }
    assert_eq!(lines(&events, "stderr"), ["written"]);
    // 4. The payload was held all that time: it could not have said this before.
    let at = |wanted: &str| {
        events.iter().find(|event| event["text"] == wanted).and_then(|event| event["at_ms"].as_u64())
    };
    let first = events.iter().find(|event| event["stream"] == "stdout").unwrap()["at_ms"].as_u64().unwrap();
    assert!(at("written").unwrap() >= first + 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_hub_lost_is_sent_again() {
    let plane = Plane::start().await;
    plane.with(|state| state.lose = Some(4));
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let work = leased(1, 1, &["sh", "-c", "for i in $(seq 1 40); do seq 1 50; sleep 0.01; done"]);
    let id = work.lease.execution_id;
    let started = std::time::Instant::now();
    plane.lease(work).await;
    let (_, events) = plane.ended(id).await;
    contiguous(&events);
    assert_eq!(lines(&events, "stdout").len(), 2_000);
    assert!(plane.with(|state| state.lose.is_none()), "the message was never lost");
    // Over the same connection: no answer had to be missed first.
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_log_stops_the_sandbox_silently() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let work = leased(1, 1, &["sh", "-c", "echo here; while sleep 0.1; do echo more; done"]);
    let lease = work.lease;
    plane.lease(work).await;
    let id = lease.execution_id.to_string();
    prints_here(&plane, &id).await;
    let fenced = serde_json::json!({"answer": "fenced", "generation": 2, "reason": "another run"});
    plane.with(|state| state.answer = Some(fenced));
    its_directory_goes(&plane, directory.path()).await;
    plane.with(|state| {
        assert!(state.events[&id].iter().all(|event| event["type"] != "ended"));
        assert!(state.said.iter().all(|said| said["message"] != "abandon"));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_waits_until_the_last_place_is_cleared() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent_with(directory.path(), &["--capacity", "1"]);
    let first = leased(1, 1, &["sh", "-c", "echo here; sleep 60"]);
    let lease = first.lease;
    plane.lease(first).await;
    prints_here(&plane, &lease.execution_id.to_string()).await;
    // The plane knows of an end before the agent has cleared up after it. Answers come in order: this one is heard.
    let second = leased(2, 1, &["true"]);
    let id = second.lease.execution_id;
    plane.send(ToContainerAgent::Offer { execution_id: id }).await;
    plane.ask(1, ContainerCommand::List).await;
    plane.send(ToContainerAgent::Cancel { lease, reason: "stopped".into() }).await;
    plane.said("accept", id).await;
    plane.with(|state| {
        assert!(state.said.iter().all(|said| said["message"] != "decline"), "{:?}", state.said)
    });
    plane.send(ToContainerAgent::Leased(Box::new(second))).await;
    assert_eq!(plane.ended(id).await.0["outcome"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_agent_ends_with_3_and_says_what_is_needed() {
    let plane = Plane::start().await;
    let problem = Problem::new(ProblemKind::OutdatedProtocol, "protocol 999 is the oldest");
    plane.with(|state| state.refuse = Some(ToContainerAgent::Refused { problem, protocol_min: 999 }));
    let directory = tempfile::tempdir().unwrap();
    let mut agent = plane.agent(directory.path());
    assert_eq!(tokio::task::block_in_place(|| agent.exit_code()), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_gives_up_what_runs() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    // Also below a directory that is closed to others, as root's own often are.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let state = directory.path().join("state");
    let mut agent = plane.agent(&state);
    let work = leased(1, 1, &["sh", "-c", "echo here; sleep 60"]);
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let hello = plane.with(|state| state.said.iter().find(|said| said["message"] == "hello").cloned());
    assert_eq!(hello.unwrap()["sandbox_tier"], "strong");
    prints_here(&plane, &id.to_string()).await;
    // The first lets it run on.
    agent.signal("-TERM");
    plane
        .until("draining", |state| state.said.iter().any(|said| said["message"] == "draining").then_some(()))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(agent.0.try_wait().unwrap().is_none());
    agent.signal("-TERM");
    let abandon = plane.said("abandon", id).await;
    assert!(abandon["reason"].as_str().unwrap().contains("was stopped"), "{abandon}");
    assert_eq!(tokio::task::block_in_place(|| agent.exit_code()), 0);
    plane.with(|state| assert!(state.events[&id.to_string()].iter().all(|event| event["type"] != "ended")));
    assert_eq!(std::fs::read_dir(state.join("executions")).unwrap().count(), 0);
}
