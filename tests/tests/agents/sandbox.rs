//! The real sandbox through the API: an image, secrets and listed hosts on their way in and what comes of them; one that
//! runs steered from outside; what the machine's doctor found, and what a project may therefore have.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use acceptance::agents::{Job, Log, Machine, SOON, Tenant, eventually, lab, shell, soon, unique};
use acceptance::{Archive, Project, refused};
use reqwest::Method;
use serde_json::Value;
use shared_contracts::containers::{ContainerId, ContainerQuery, ContainerState};
use shared_contracts::events::{EgressEvent, EgressMoment, Event, EventBody, LogStream, SecretPlace};
use shared_contracts::executions::{CreateExecution, ExecutionState, Outcome};
use shared_contracts::page::PageQuery;
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::UpdateProject;
use shared_contracts::sandboxes::{OfferedSandbox, SandboxProvider, SandboxTier};
use shared_contracts::secrets::{SecretForm, SecretUse};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use xtask::plane::AgentOptions;

/// Of a length that base64 needs no padding for.
const TOKEN: &str = "tok_9f27c1e4b8d06a352";
const TOKEN_IN_BASE64: &str = "dG9rXzlmMjdjMWU0YjhkMDZhMzUy";
const KEY: &str = "key-of-the-workshop-4711";

/// A host on this machine that says the same to everyone, and keeps what it was asked.
struct Host {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// Lives as long as the test's runtime. Not at 127.0.0.1: programs go there without a proxy.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let kept = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut stream, mut head) = (BufReader::new(stream), String::new());
                while !head.ends_with("\r\n\r\n")
                    && stream.read_line(&mut head).await.is_ok_and(|count| count > 0)
                {}
                kept.lock().unwrap().push(head);
                let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\nthe answer\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, heads }
    }
}

/// The least of a system, as a tarball: a shell and a few programs with their libraries, and an `/etc` of its own.
fn image(folder: &Path) -> PathBuf {
    let programs = ["sh", "cat", "mkdir", "base64", "curl"].map(|name| format!("/usr/bin/{name}"));
    let needed = Command::new("ldd").args(&programs).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let libraries = needed.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    let files: BTreeSet<&str> = programs.iter().map(String::as_str).chain(libraries).collect();
    let system = files.into_iter().fold(Archive::default(), |system, path| {
        system.executable(path.trim_start_matches('/'), &std::fs::read(path).unwrap())
    });
    let system = system.link("bin", "usr/bin").file("etc/issue", b"of the image\n");
    let tarball = folder.join("system.tar.gz");
    std::fs::write(&tarball, system.gzipped()).unwrap();
    tarball
}

async fn machine(tenant: &Tenant, environment: &[(&str, &str)]) -> Machine {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options =
        AgentOptions { environment: environment.collect(), ..AgentOptions::named(&unique("machine")) };
    Machine::with(lab(), tenant, options).await
}

/// The agent's own sandbox on this machine.
fn namespaces(machine: &Machine) -> &OfferedSandbox {
    let mut offered = machine.record.sandboxes.iter();
    offered.find(|sandbox| sandbox.provider == SandboxProvider::Namespaces).unwrap()
}

async fn update(project: &Project, change: UpdateProject) {
    project.client.update_project(project.id, &change).await.unwrap();
}

fn egress(log: &Log, wanted: EgressMoment) -> Vec<&EgressEvent> {
    let egress = log.0.iter().filter_map(|event| match &event.body {
        EventBody::Egress(egress) => Some(egress),
        _ => None,
    });
    egress.filter(|egress| egress.moment == wanted).collect()
}

/// An execution that uses everything it is given, and tries for more.
fn everything(image: &str, listed: SocketAddr) -> CreateExecution {
    let script = format!(
        r#"
        set -e
        cat /etc/issue
        echo "token $TOKEN, key $(cat "$KEY_FILE")"
        printf %s "$TOKEN" | base64
        curl -sSf -H "Authorization: Bearer $TOKEN" -H "x-key: $(cat "$KEY_FILE")" http://{listed}/ > answer.txt
        code() {{ curl -sS -o /dev/null -w '%{{http_code}}\n' "$1"; }}
        code http://example.com/
        code http://169.254.169.254/
        curl -s --noproxy '*' http://{listed}/ || echo 'no other way'
        mkdir out; cat answer.txt > out/report.txt
        echo "$TOKEN" > leaked.txt
        "#
    );
    let secret = |name: &str, form| SecretUse { name: name.into(), form };
    CreateExecution {
        image: Some(image.to_owned()),
        secrets: vec![secret("TOKEN", SecretForm::Environment), secret("KEY", SecretForm::File)],
        artifacts: vec!["out/**".into()],
        ..shell(&script)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_secrets_and_listed_hosts_reach_the_payload_and_no_secret_comes_back() {
    let (tenant, host, folder) = (Tenant::new(), Host::start().await, tempfile::tempdir().unwrap());
    let image = format!("tar:{}", image(folder.path()).display());
    let vouched = host.address.to_string();
    let offered = format!("host,{image}");
    let machine =
        machine(&tenant, &[("PATCHBAY_IMAGES", &offered), ("PATCHBAY_EGRESS_VOUCHED", &vouched)]).await;
    let tier = namespaces(&machine).tier;

    // What people can choose from is what this machine has.
    let kinds = tenant.client.list_sandboxes().await.unwrap().items;
    let kind = kinds.iter().find(|kind| kind.id == SandboxProvider::Namespaces).unwrap();
    assert!(kind.is_available && kind.tier == tier && kind.reason.contains(&machine.record.name), "{kind:?}");
    assert_eq!(kind.supported_images, ["host", &image]);
    assert_eq!(kind.default_image.as_deref(), Some("host"));

    // The metadata address is listed too: vouched for by nobody, it stays closed.
    let project = tenant.project().await;
    let listed = vec![vouched, "169.254.169.254:80".into()];
    update(
        &project,
        UpdateProject { egress: Some(listed), sandbox_tier_min: Some(tier), ..Default::default() },
    )
    .await;
    for (name, value) in [("TOKEN", TOKEN), ("KEY", KEY)] {
        tenant.client.set_secret(project.id, name, value).await.unwrap();
    }
    let job = Job::submit(&project, &everything(&image, host.address)).await;
    assert_eq!(job.record().await.spec.sandbox_tier, tier);
    let stream = format!("/api/sandbox/executions/{}/logs/stream", job.id);
    let stream = job.client.call(Method::GET, stream).endless().response().await.unwrap();
    let streamed = soon("the stream ends", SOON, stream.text()).await.unwrap();
    let log = job.log().await;

    // It ran in the image, had both secrets, and said neither, in no form and to no reader.
    let printed = log.lines(LogStream::Stdout);
    assert_eq!(log.end().outcome, Outcome::Succeeded, "{:?} {printed:?}", log.end());
    assert_eq!(
        printed,
        [
            "of the image",
            "token [redacted:TOKEN], key [redacted:KEY]",
            "[redacted:TOKEN]",
            "403",
            "403",
            "no other way"
        ]
    );
    let paged = serde_json::to_string(&log.0).unwrap();
    for (reader, text) in [("the stream", &streamed), ("the pages", &paged)] {
        assert!(text.contains("[redacted:TOKEN], key [redacted:KEY]"), "{reader}: {text}");
        for hidden in [TOKEN, TOKEN_IN_BASE64, KEY] {
            assert!(!text.contains(hidden), "{hidden} in {reader}: {text}");
        }
    }

    // One host was reached, once, by way of the proxy and with the values; what was asked for beside it is in the log.
    let heads = host.heads.lock().unwrap().clone();
    let [head] = heads.as_slice() else { panic!("one request arrives: {heads:?}") };
    let (token, key) = (format!(": Bearer {TOKEN}\r\n"), format!("x-key: {KEY}\r\n"));
    assert!(head.contains(&token) && head.contains(&key), "{head}");
    let decided = egress(&log, EgressMoment::Decided);
    let decided: Vec<_> = decided
        .iter()
        .map(|egress| (egress.host.as_str(), egress.port, egress.allowed, egress.reason.as_str()))
        .collect();
    assert_eq!(
        decided,
        [
            ("127.0.0.2", Some(host.address.port()), true, "listed"),
            ("example.com", Some(80), false, "not_listed"),
            ("169.254.169.254", Some(80), false, "forbidden_address"),
        ]
    );
    let ended = egress(&log, EgressMoment::Ended);
    assert!(ended.len() == 1 && ended[0].bytes_up > 0 && ended[0].bytes_down > 0, "{ended:?}");

    // What it made is delivered as it is, and where a secret stands in it is said.
    let artifacts = tenant.client.list_artifacts(job.id, &PageQuery::default()).await.unwrap().items;
    let [report] = artifacts.as_slice() else { panic!("{artifacts:?}") };
    assert_eq!(tenant.client.download_artifact(report.id).await.unwrap(), b"the answer\n");
    let bodies = log.0.iter().map(|event| &event.body);
    let found: Vec<_> = bodies.filter(|body| matches!(body, EventBody::SecretFound { .. })).collect();
    let leaked = EventBody::SecretFound {
        name: "TOKEN".into(),
        place: SecretPlace::Patch,
        path: "leaked.txt".into(),
        offset_bytes: 0,
    };
    assert_eq!(found, [&leaked]);
    tenant.client.apply_patches(log.end().patch_batch_id.unwrap()).await.unwrap();
    assert_eq!(project.text("answer.txt").await, "the answer\n");
    assert_eq!(project.text("leaked.txt").await, format!("{TOKEN}\n"));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_listed_measured_frozen_started_again_and_stopped() {
    let tenant = Tenant::new();
    let (project, machine, client) = (tenant.project().await, machine(&tenant, &[]).await, &tenant.client);
    let job = Job::script(&project, "ls; touch made; echo here; while :; do :; done").await;
    let first = job.prints("here").await;
    let id = ContainerId { execution_id: job.id, generation: 1 };

    let list = client.list_containers(&ContainerQuery::default()).await.unwrap();
    let [listed] = list.items.as_slice() else { panic!("{list:?}") };
    let facts = &listed.facts;
    assert_eq!((facts.id, facts.project_id, facts.task_id), (id, project.id, job.task));
    assert_eq!((facts.provider, facts.image.as_str()), (SandboxProvider::Namespaces, "host"));
    assert_eq!((facts.state, facts.restarts), (ContainerState::Running, 0));
    assert_eq!(
        (listed.container_agent_id, &listed.container_agent),
        (machine.record.id, &machine.record.name)
    );
    assert!(list.silent.is_empty(), "{list:?}");

    let limits = job.record().await.spec.limits;
    let stats = async || client.get_container_stats(id).await.unwrap();
    let busy = stats().await;
    assert!(busy.cpu_percent > 1.0 && busy.memory_bytes > 0 && busy.processes >= 1, "{busy:?}");
    assert_eq!(busy.memory_limit_bytes, u64::from(limits.memory_mb) << 20);
    assert_eq!(busy.processes_limit, limits.processes);

    // Frozen it uses nothing; thawed it goes on.
    assert_eq!(client.freeze_container(id).await.unwrap().facts.state, ContainerState::Frozen);
    assert_eq!(client.get_container(id).await.unwrap().facts.state, ContainerState::Frozen);
    let (still, stiller) = (stats().await, stats().await);
    // A tick that was under way is still counted.
    assert!(stiller.cpu_ms - still.cpu_ms < 10, "{still:?} {stiller:?}");
    assert_eq!(client.thaw_container(id).await.unwrap().facts.state, ContainerState::Running);
    assert!(stats().await.cpu_ms > stiller.cpu_ms + 10);
    let problem = refused(client.remove_container(id).await, ProblemKind::WrongState);
    assert!(problem.detail.contains("stop it"), "{problem}");

    // Again, in a new workspace and under the same lease.
    client.restart_container(id).await.unwrap();
    let is_here = |event: &Event| matches!(&event.body, EventBody::Log { text, .. } if text == "here");
    job.event_after(first.sequence, "it says so again", is_here).await;
    let again = client.get_container(id).await.unwrap().facts;
    assert_eq!((again.state, again.restarts), (ContainerState::Running, 1));
    assert!(again.started_at_ms > facts.started_at_ms, "{again:?}");

    client.stop_container(id).await.unwrap();
    let record = job.ends().await;
    assert_eq!((record.state, record.generation), (ExecutionState::Cancelled, 1));
    assert_eq!(record.reason.as_deref(), Some("its container was stopped"));
    assert_eq!(job.log().await.lines(LogStream::Stdout), ["README.md", "here", "README.md", "here"]);
    eventually("it is gone", SOON, async || {
        let list = client.list_containers(&ContainerQuery::default()).await.unwrap();
        list.items.is_empty().then_some(())
    })
    .await;
    refused(client.get_container_stats(id).await, ProblemKind::NotFound);
    machine.stop().await;
}

/// What `patchbay-agent doctor` says of its own sandbox, started like the machine.
fn doctor(environment: &[(&str, &str)]) -> OfferedSandbox {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = Command::new(xtask::build::agent_path());
    doctor.args(["doctor", "--json", "--state-dir"]).arg(folder.path()).envs(environment.iter().copied());
    let output = doctor.output().unwrap();
    let said: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let sandboxes: Vec<OfferedSandbox> = serde_json::from_value(said["sandboxes"].clone()).unwrap();
    sandboxes.into_iter().find(|sandbox| sandbox.provider == SandboxProvider::Namespaces).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_projects_floor_nothing_runs_and_the_doctors_words_say_why() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    update(&project, UpdateProject { sandbox_tier_min: Some(SandboxTier::Strong), ..Default::default() })
        .await;
    let task = project.task().await;
    let execute = async || tenant.client.create_execution(project.id, task.id, &shell("true")).await;

    // No machine is strong where limits are not enforced.
    let without_limits = [("PATCHBAY_LIMITS", "none")];
    let weak = machine(&tenant, &without_limits).await;
    let found = doctor(&without_limits);
    assert_eq!(found.tier, SandboxTier::Limited, "{found:?}");
    assert_eq!((namespaces(&weak).tier, &namespaces(&weak).reason), (found.tier, &found.reason));
    let said = |machine: &Machine, found: &OfferedSandbox| {
        format!("`{}` has `namespaces` of tier `limited` ({})", machine.record.name, found.reason)
    };
    let problem = refused(execute().await, ProblemKind::NoFittingSandbox);
    assert!(problem.detail.contains(&said(&weak, &found)), "{problem}\n{found:?}");

    // The same machine as it is.
    let whole = machine(&tenant, &[]).await;
    let found = doctor(&[]);
    assert_eq!((namespaces(&whole).tier, &namespaces(&whole).reason), (found.tier, &found.reason));
    if found.tier == SandboxTier::Strong {
        let execution = execute().await.unwrap();
        let ended = tenant.client.poll_until_ended(execution.id, SOON).await.unwrap();
        assert_eq!(ended.state, ExecutionState::Succeeded, "{ended:?}");
        assert_eq!(ended.container_agent_id, Some(whole.record.id), "not on the weak one");
    } else {
        let problem = refused(execute().await, ProblemKind::NoFittingSandbox);
        for part in [said(&weak, &doctor(&without_limits)), said(&whole, &found)] {
            assert!(problem.detail.contains(&part), "{part}: {problem}");
        }
    }
    weak.stop().await;
    whole.stop().await;
}
