//! What people may ask of a sandbox that runs, its secrets, and its way to the network, through the real agent against
//! a scripted plane. Needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what is not there is a failed test")]

mod plane;

use plane::{Plane, leased, logged};
use serde_json::Value;
use shared_contracts::containers::{ContainerCommand, ContainerId};
use shared_contracts::hash::Sha256;
use shared_contracts::secrets::{LeasedSecret, SecretForm};

const SECRET: &str = "hunter2/hunter2+hunter2";

async fn prints(plane: &Plane, id: &str, text: &str, times: usize) {
    let here = |event: &&Value| event["text"] == text;
    plane
        .until(text, |state| (state.events.get(id)?.iter().filter(here).count() >= times).then_some(()))
        .await;
}

fn of_type<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_seen_measured_frozen_restarted_and_stopped() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    // The workspace of a second run is new.
    let script = "ls; touch made; echo here; while :; do :; done";
    let work = leased(1, 1, &["sh", "-c", script]);
    let id = ContainerId::from(work.lease);
    let execution = work.lease.execution_id.to_string();
    plane.lease(work).await;
    prints(&plane, &execution, "here", 1).await;
    // 1. Seen.
    let list = plane.ask(1, ContainerCommand::List).await;
    assert_eq!(list["containers"][0]["id"], id.to_string(), "{list}");
    assert_eq!(list["containers"][0]["state"], "running");
    assert_eq!(list["containers"][0]["provider"], "namespaces");
    let stranger = ContainerId { generation: 2, ..id };
    let answer = plane.ask(2, ContainerCommand::Get { id: stranger }).await;
    assert_eq!(answer["problem"]["kind"], "not_found", "{answer}");
    // 2. Measured.
    let busy = plane.ask(3, ContainerCommand::Stats { id }).await;
    assert!(busy["stats"]["cpu_percent"].as_f64().unwrap() > 1.0, "{busy}");
    assert!(busy["stats"]["memory_bytes"].as_u64().unwrap() > 0 && busy["stats"]["processes"] == 2, "{busy}");
    // 3. Frozen, it uses nothing; thawed, it goes on.
    let frozen = plane.ask(4, ContainerCommand::Freeze { id }).await;
    assert_eq!(frozen["container"]["state"], "frozen", "{frozen}");
    let cpu_ms = |answer: &Value| answer["stats"]["cpu_ms"].as_u64().unwrap();
    let still = plane.ask(5, ContainerCommand::Stats { id }).await;
    let stiller = plane.ask(15, ContainerCommand::Stats { id }).await;
    // A tick that was under way is still counted.
    assert!(cpu_ms(&stiller) - cpu_ms(&still) < 10, "{still} {stiller}");
    assert_eq!(plane.ask(6, ContainerCommand::Thaw { id }).await["container"]["state"], "running");
    let busy = plane.ask(7, ContainerCommand::Stats { id }).await;
    assert!(busy["stats"]["cpu_percent"].as_f64().unwrap() > 1.0, "{busy}");
    // 4. What runs is not removed.
    let refused = plane.ask(8, ContainerCommand::Remove { id }).await;
    assert_eq!(refused["problem"]["kind"], "wrong_state", "{refused}");
    // 5. Started again under the same lease, frozen or not.
    plane.ask(9, ContainerCommand::Freeze { id }).await;
    plane.ask(10, ContainerCommand::Restart { id }).await;
    prints(&plane, &execution, "here", 2).await;
    let again = plane.ask(11, ContainerCommand::Get { id }).await;
    assert_eq!(again["container"]["restarts"], 1, "{again}");
    // 6. Stopped at once.
    plane.ask(12, ContainerCommand::Stop { id }).await;
    let (ended, events) = plane.ended(id.execution_id).await;
    assert_eq!(ended["outcome"], "cancelled", "{ended}");
    assert_eq!(ended["reason"], "its container was stopped");
    let logged = logged(&events);
    assert!(!logged.contains(&"made"), "the second run saw what the first one wrote: {logged:?}");
    let running = of_type(&events, "status").iter().filter(|event| event["state"] == "running").count();
    assert_eq!(running, 1, "it is one execution");
    plane
        .until("it is gone", |_| {
            (std::fs::read_dir(directory.path().join("executions")).unwrap().count() == 0).then_some(())
        })
        .await;
    let list = plane.ask(13, ContainerCommand::List).await;
    assert_eq!(list["containers"].as_array().unwrap().len(), 0, "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_used_and_never_said() {
    let plane = Plane::start().await;
    plane.file("a.txt", "one\n");
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let script = r#"
        test "$TOKEN" = "$(cat "$KEY_FILE")" && echo same
        echo "$TOKEN"; echo "$TOKEN" >&2; printf '%s' "$TOKEN" | base64; printf '%s' "$TOKEN" | od -An -tx1
        printf '%s' "$TOKEN" | head -c 9; sleep 0.3; printf '%s' "$TOKEN" | tail -c +10; echo
        echo "$TOKEN" > leaked.txt; printf 'padding %s' "$TOKEN" > report.log
        cat /proc/self/mounts | grep -c '/run/secrets tmpfs ro'; touch /run/secrets/x 2>/dev/null || echo read-only
        exec "./$TOKEN""#;
    let mut work = leased(1, 1, &["sh", "-c", script]);
    work.spec.artifacts = vec!["*.log".into()];
    let secret = |name: &str, form| LeasedSecret { name: name.into(), form, value: SECRET.into() };
    work.secrets = vec![secret("TOKEN", SecretForm::Environment), secret("KEY", SecretForm::File)];
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    let said = serde_json::to_string(&events).unwrap();
    for form in [SECRET, "hunter2", "aHVudGVyMi9odW50ZXIy", "68 75 6e 74 65 72 32 2f"] {
        assert!(!said.contains(form), "{form}: {said}");
    }
    let logged = logged(&events);
    for line in ["same", "[redacted:TOKEN]", "read-only"] {
        assert!(logged.contains(&line), "{line}: {logged:?}");
    }
    assert!(ended["reason"].as_str().unwrap().contains("exit code"), "{ended}");
    // What is delivered is delivered as it is, and said.
    plane.with(|state| {
        assert_eq!(state.artifacts[0].1, format!("padding {SECRET}").as_bytes());
        assert!(state.patches[0].to_string().contains(SECRET));
    });
    let found = of_type(&events, "secret_found");
    let at = |place: &str, path: &str, offset: u64| {
        found.iter().any(|found| {
            found["place"] == place
                && found["path"] == path
                && found["offset_bytes"] == offset
                && found["name"] == "TOKEN"
        })
    };
    assert!(at("patch", "leaked.txt", 0) && at("artifact", "report.log", 8), "{found:?}");
    // One that could not be kept out of the log is a reason not to run.
    let mut short = leased(2, 1, &["true"]);
    short.secrets = vec![LeasedSecret { value: "abc".into(), ..secret("TOKEN", SecretForm::Environment) }];
    let id = short.lease.execution_id;
    plane.lease(short).await;
    let (ended, _) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "failed");
    assert!(ended["reason"].as_str().unwrap().contains("too short to be redacted"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_project_lists_is_reached_and_every_decision_is_told() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let listed = plane.address.to_string();
    let script = format!(
        "ask() {{ curl -sS -o /dev/null -w '%{{http_code}}\\n' -x \"$HTTPS_PROXY\" --noproxy '' \"$1\" 2>&1; }}
         ask http://{listed}/nothing; ask http://example.com:80/; ask http://169.254.169.254/latest
         curl -sS --noproxy '*' http://{listed}/ >/dev/null 2>&1 || echo no other way"
    );
    let mut work = leased(1, 1, &["sh", "-c", &script]);
    work.egress = vec![listed.clone(), "169.254.169.254:80".into()];
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    assert_eq!(ended["outcome"], "succeeded", "{ended}");
    assert_eq!(logged(&events), ["404", "403", "403", "no other way"], "{events:#?}");
    let told: Vec<_> = of_type(&events, "egress")
        .iter()
        .filter(|event| event["moment"] == "decided")
        .map(|event| {
            (event["host"].as_str().unwrap(), event["reason"].as_str().unwrap(), event["allowed"] == true)
        })
        .map(|(host, reason, allowed)| (host.to_owned(), reason.to_owned(), allowed))
        .collect();
    let of = |host: &str, reason: &str, allowed| (host.to_owned(), reason.to_owned(), allowed);
    let wanted = [
        of("127.0.0.1", "listed", true),
        of("example.com", "not_listed", false),
        of("169.254.169.254", "forbidden_address", false),
    ];
    assert_eq!(told, wanted);
    let ends = of_type(&events, "egress").into_iter().find(|event| event["moment"] == "ended").unwrap();
    assert!(ends["bytes_down"].as_u64().unwrap() > 0 && ends["connection"] == 1, "{ends}");
    // Without a list there is not even a proxy.
    let alone = leased(
        2,
        1,
        &["sh", "-c", "env | grep -ci proxy; (echo > /dev/tcp/127.0.0.1/3128) 2>/dev/null || echo closed"],
    );
    let id = alone.lease.execution_id;
    plane.lease(alone).await;
    let (_, events) = plane.ended(id).await;
    assert_eq!(logged(&events), ["0", "closed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_one_stream_of_its_size() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let mut work =
        leased(1, 1, &["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && stty size; echo err >&2; exit 3"]);
    work.spec.terminal = Some(shared_contracts::executions::Terminal { rows: 30, columns: 100 });
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (ended, events) = plane.ended(id).await;
    assert_eq!(ended["exit_code"], 3, "{ended}");
    assert_eq!(logged(&events), ["30 100", "err"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_waited_is_like_any_other_and_is_used_once() {
    let plane = Plane::start().await;
    plane.file("a.txt", "one\n");
    let directory = tempfile::tempdir().unwrap();
    let mut agent = plane.agent_with(directory.path(), &["--warm-slots", "2"]);
    let waiting = directory.path().join("warm");
    let count = || warm_groups(directory.path());
    // Whether it waits or not shows only in its uid on this machine and in where it was built.
    let script = "id -u; cat a.txt; echo changed > b; touch /tmp/used; ls /tmp; df -k /tmp | tail -1 | tr -s ' ' | cut -d' ' -f2; \
                  ulimit -n; cat $PATCHBAY_PROMPT_FILE; echo";
    for number in 1..=4 {
        plane.until("two wait", |_| (count() == 2).then_some(())).await;
        let mut work = leased(number, 1, &["sh", "-c", script]);
        work.spec.limits.disk_mb = 8 + u32::try_from(number).unwrap();
        work.spec.limits.open_files = 100;
        let disk_kb = (work.spec.limits.disk_mb * 1024).to_string();
        let id = work.lease.execution_id;
        plane.lease(work).await;
        let (ended, events) = plane.ended(id).await;
        assert_eq!(ended["outcome"], "succeeded", "{ended}");
        assert_eq!(
            logged(&events),
            ["1000", "one", "prompt.txt", "used", &disk_kb, "100", "Do it"],
            "{events:#?}"
        );
    }
    plane.with(|state| assert_eq!(state.patches.len(), 4));
    // A limit holds in one that was built before it was known.
    let mut hungry = leased(9, 1, &["sh", "-c", "head -c 300m /dev/zero | tail"]);
    hungry.spec.limits.memory_mb = 64;
    let id = hungry.lease.execution_id;
    plane.lease(hungry).await;
    let (ended, _) = plane.ended(id).await;
    assert!(ended["reason"].as_str().unwrap().contains("limit of 64 MB"), "{ended}");
    // Those that still wait go with the agent.
    agent.signal("-TERM");
    assert_eq!(agent.exit_code(), 0);
    assert!(!waiting.exists() && count() == 0);
}

/// How many sandboxes have control groups of those that wait.
fn warm_groups(state: &std::path::Path) -> usize {
    let mut instance = Sha256::of(state.canonicalize().unwrap().as_os_str().as_encoded_bytes()).to_string();
    instance.truncate(12);
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points =
        table.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let groups = points.map(|point| std::path::Path::new(point).join("patchbay").join(&instance));
    let entries = groups.flat_map(|group| std::fs::read_dir(group).into_iter().flatten().flatten());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("warm-")).collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_files_come_as_one_archive_where_that_is_asked_for() {
    let plane = Plane::start().await;
    let directory = tempfile::tempdir().unwrap();
    let _agent = plane.agent(directory.path());
    let script = "mkdir -p out/deep; for n in $(seq 1 80); do echo $n > out/deep/$n.txt; done; ln -s /etc/passwd out/link";
    let mut work = leased(1, 1, &["sh", "-c", script]);
    work.spec.artifacts = vec!["out/**".into()];
    work.spec.archive_artifacts = true;
    let id = work.lease.execution_id;
    plane.lease(work).await;
    let (_, events) = plane.ended(id).await;
    let told = of_type(&events, "artifact");
    assert_eq!((told.len(), &told[0]["path"]), (1, &"artifacts.tar.gz".into()), "{events:#?}");
    let archive = plane.with(|state| state.artifacts[0].1.clone());
    let file = directory.path().join("a.tar.gz");
    std::fs::write(&file, archive).unwrap();
    let listed = std::process::Command::new("tar").arg("-tzf").arg(&file).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 80, "{listed}");
    assert!(listed.contains("out/deep/80.txt"), "{listed}");
}
