//! What an agent that died leaves, and what a later one makes of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::CreateContainerOptions;
use container_agent::sandbox::Owner;
use shared_contracts::containers::ContainerId;
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ExecutionId, ProjectId, TaskId};

use crate::engines::{Engine, IMAGE};
use crate::world::World;

fn attempt(engine: &Engine, scratch: &Path, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"));
    command
        .arg("try")
        .args(engine.options())
        .args(options)
        .args(["--", "sh", "-c", script])
        .env("TMPDIR", scratch);
    command
}

async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn changes_are_collected_as_the_payload_left_them(engine: &Engine) {
    let (directory, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    for folder in ["old", "opaque"] {
        std::fs::create_dir(directory.path().join(folder)).unwrap();
    }
    write("edit.txt", "one\ntwo\n");
    write("gone.txt", "gone\n");
    write("old/moved.txt", "a file that moves\nwith its directory\n");
    write("opaque/lost.txt", "lost\n");
    let script = "sed -i s/two/2/ edit.txt; rm gone.txt; mv old new; chmod +x edit.txt; ln -s edit.txt link; \
                  ln -s /etc/passwd outside; mkdir .git made; echo x > .git/config; echo new > made/new.txt; \
                  rm -r opaque; mkdir opaque; echo kept > opaque/kept.txt; exit 3";
    let workspace = ["--workspace", directory.path().to_str().unwrap()];
    let mut command = attempt(engine, scratch.path(), &workspace, script);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (diff, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{errors}");
    for part in [
        "+2",
        "new mode 100755",
        "rename from old/moved.txt",
        "rename to new/moved.txt",
        "b/link",
        "b/made/new.txt",
        "b/opaque/kept.txt",
        "a/opaque/lost.txt",
        "a/gone.txt",
    ] {
        assert!(diff.contains(part), "{part}: {diff}{errors}");
    }
    assert!(!diff.contains("passwd") && !diff.contains(".git"), "{diff}");
    // The tree itself is as before, and nothing of the run is left.
    assert_eq!(std::fs::read_to_string(directory.path().join("edit.txt")).unwrap(), "one\ntwo\n");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

pub async fn a_killed_agent_takes_its_container_along(engine: &Engine) {
    let scratch = tempfile::tempdir().unwrap();
    let mut agent =
        attempt(engine, scratch.path(), &[], "echo ready; sleep 600").stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = agent.stdout.take().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut word = [0; 6];
        std::io::Read::read_exact(&mut stdout, &mut word).map(|()| word)
    });
    assert_eq!(&read.await.unwrap().unwrap(), b"ready\n");
    let world = World::new(engine).await;
    let client = engine.client().await;
    let ours = async || {
        let all = client.list_containers(None).await.unwrap();
        let name = |found: bollard::models::ContainerSummary| found.names?.into_iter().next();
        all.into_iter().filter_map(name).filter(|name| name.ends_with("-try")).count()
    };
    assert_eq!(ours().await, 1);
    agent.kill().unwrap();
    agent.wait().unwrap();
    eventually("the container is gone", async || ours().await == 0).await;
    // The next run takes the dead one's folder away.
    let mut next = attempt(engine, scratch.path(), &[], "true");
    let next = tokio::task::spawn_blocking(move || next.output().unwrap()).await.unwrap();
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    world.assert_clean(engine).await;
}

fn owner(number: u128) -> Owner {
    let lease = Lease { execution_id: ExecutionId::new(1, number), generation: 3 };
    Owner { project_id: ProjectId::new(1, 1), task_id: TaskId::new(1, 1), lease }
}

pub async fn a_sweep_removes_what_nobody_holds_and_tells(engine: &Engine) {
    let world = World::new(engine).await;
    // 1. One that runs and is held, one that hangs: frozen, so that it does not even see its agent go.
    let mut sandboxes = Vec::new();
    for number in [1, 2] {
        let mut spec = world.spec("sleep 600");
        (spec.name, spec.owner) = (format!("case-{number}"), Some(owner(number)));
        spec.directory = world.state.path().join(format!("execution-{number}"));
        spec.slot = u32::try_from(number).unwrap();
        let mut sandbox = world.prepare(spec).await.unwrap();
        sandbox.start().await.unwrap();
        sandboxes.push(sandbox);
    }
    sandboxes[1].control().freeze().await.unwrap();
    // 2. One that was made and never started.
    let lease = owner(3).lease;
    let labels = [
        ("patchbay.instance", world.instance.clone()),
        ("patchbay.execution", lease.execution_id.to_string()),
        ("patchbay.generation", lease.generation.to_string()),
    ];
    let body = ContainerCreateBody {
        image: Some(IMAGE.into()),
        cmd: Some(vec!["true".into()]),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
        ..ContainerCreateBody::default()
    };
    engine.client().await.create_container(None::<CreateContainerOptions>, body).await.unwrap();
    assert_eq!(world.containers(engine).await.len(), 3);
    // 3. Another instance's sweep leaves them alone.
    let stranger = World::new(engine).await;
    assert!(stranger.oci.sweep(&|_| false).await.unwrap().is_empty());
    // 4. Its own takes what nobody holds.
    let held = ContainerId::from(owner(1).lease);
    let mut removed = world.oci.sweep(&move |id| id == held).await.unwrap();
    removed.sort_by_key(|cleanup| cleanup.id);
    let told: Vec<_> = removed.iter().map(|cleanup| (cleanup.id, cleanup.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (owner(2).lease.into(), "it ran on although nobody holds its lease any more"),
            (owner(3).lease.into(), "it was made and never started"),
        ]
    );
    assert_eq!(world.containers(engine).await.len(), 1);
    // 5. After a restart nobody holds anything.
    assert_eq!(world.oci.sweep(&|_| false).await.unwrap().len(), 1);
    for sandbox in sandboxes {
        sandbox.remove().await;
    }
    world.assert_clean(engine).await;
}
