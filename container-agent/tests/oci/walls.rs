//! What a hostile payload finds: nothing of the machine, nothing of the agent, no way to more.

use container_agent::sandbox::{Exit, PlacedFile};

use crate::engines::Engine;
use crate::world::{World, exists};

/// Prints BROKEN where a wall does not hold.
async fn holds(world: &World, script: &str) {
    let ran = world.sh(script).await;
    let text = format!("{}{}", ran.stdout, ran.stderr);
    assert!(ran.exit == Exit::Code(0) && !text.contains("BROKEN"), "{script}: {:?} {text}", ran.exit);
}

pub async fn the_payload_is_nobody_alone_on_an_empty_machine(engine: &Engine) {
    let world = World::new(engine).await;
    let ran = world
        .sh("[ $(id -u) -ge 200000 ] && [ $(id -u) = $(id -g) ] && [ \"$(id -G)\" = $(id -g) ] && pwd && \
             cat /proc/sys/kernel/hostname && grep -E '^(Cap|NoNew|Seccomp)' /proc/self/status && ls /proc/self/fd && \
             env | sed 's/=.*//'; echo /proc/[0-9]*")
        .await;
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(&lines[..2], ["/workspace", "sandbox"], "{} {}", ran.stdout, ran.stderr);
    for line in &lines[2..7] {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    // The engine's filter, then our two.
    let filters = ["NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t2"];
    assert_eq!(&lines[7..10], filters, "{}", ran.stdout);
    // Three streams, and the listing's own directory.
    assert_eq!(&lines[10..14], ["0", "1", "2", "3"], "{}", ran.stdout);
    assert_eq!(&lines[14..17], ["HOME", "PATH", "PWD"], "{}", ran.stdout);
    // The first process and the shell.
    assert_eq!(lines[17].split(' ').count(), 2, "{}", ran.stdout);
}

pub async fn the_machine_and_the_agent_are_out_of_reach(engine: &Engine) {
    let world = World::new(engine).await;
    std::fs::write(world.state.path().join("secret"), "of the machine").unwrap();
    for path in [
        world.state.path().to_str().unwrap(),
        "/etc/shadow",
        "/root/.cargo",
        "/work",
        "/run/docker.sock",
        "/dev/vda",
    ] {
        holds(
            &world,
            &format!("cat {path} 2>/dev/null && echo BROKEN; ls {path}/* 2>/dev/null && echo BROKEN; true"),
        )
        .await;
    }
    for path in [
        "/",
        "/usr",
        "/usr/bin",
        "/etc",
        "/run/patchbay",
        "/run/patchbay/bin",
        "/run/secrets",
        "/proc/sys/kernel",
    ] {
        holds(&world, &format!("touch {path}/x 2>/dev/null && echo BROKEN; true")).await;
    }
    holds(
        &world,
        "cat /proc/1/environ 2>/dev/null && echo BROKEN; ls /proc/1/fd/ 2>/dev/null && echo BROKEN; true",
    )
    .await;
    holds(&world, "kill -9 1; kill -STOP 1; echo x > /run/patchbay/bin/patchbay-agent && echo BROKEN; true")
        .await;
    for node in ["b 8 0", "c 1 1"] {
        holds(&world, &format!("mknod /tmp/node {node} 2>/dev/null && echo BROKEN; true")).await;
    }
    holds(&world, "echo 1 > /proc/sys/kernel/hostname && echo BROKEN; echo c > /proc/sysrq-trigger && echo BROKEN; true").await;
    // No network: the loopback is its own.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    holds(&world, &format!("bash -c 'echo > /dev/tcp/127.0.0.1/{port}' 2>/dev/null && echo BROKEN; true"))
        .await;
    holds(&world, "bash -c 'echo > /dev/tcp/1.1.1.1/80' 2>/dev/null && echo BROKEN; true").await;
    assert!(!exists(&world.tree("x")));
}

pub async fn the_socket_takes_one_connection_and_is_gone(engine: &Engine) {
    let world = World::new(engine).await;
    let sandbox = world.prepare(world.spec("true")).await.unwrap();
    let inside = world.state.path().join("execution/inside");
    assert!(exists(&inside.join("tools/bin")) && !exists(&inside.join("tools/agent")));
    sandbox.remove().await;
    holds(&world, "ls -A /run/patchbay | grep -v -e bin -e mcp.json && echo BROKEN; true").await;
    holds(&world, "/run/patchbay/bin/patchbay-agent __container-init && echo BROKEN; true").await;
    // Neither do the sockets that it has already.
    holds(&world, "ls -l /proc/self/fd /proc/$$/fd | grep socket && echo BROKEN; true").await;
}

pub async fn secrets_and_files_are_placed_for_the_payload_alone(engine: &Engine) {
    let world = World::new(engine).await;
    let mut spec = world.spec(
        "cat /run/secrets/TOKEN /tmp/prompt.txt; stat -c %a /run/secrets/TOKEN; echo more >> /run/secrets/TOKEN; \
         rm /run/secrets/TOKEN; rm /tmp/prompt.txt && echo removed; patchbay-agent --version",
    );
    let file = |path: &str, text: &str| PlacedFile { path: path.into(), text: text.into() };
    spec.mounts.files = vec![file("/run/secrets/TOKEN", "s3cret\n"), file("/tmp/prompt.txt", "do it\n")];
    let mut sandbox = world.prepare(spec).await.unwrap();
    // It is in memory, and in no place of the machine any more.
    let shown = world.state.path().join("execution/inside/secrets");
    assert_eq!(std::fs::read_dir(shown).unwrap().count(), 0);
    let ran = crate::world::finish(sandbox.as_mut()).await;
    sandbox.remove().await;
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(&lines[..4], ["s3cret", "do it", "400", "removed"], "{} {}", ran.stdout, ran.stderr);
    assert!(lines[4].starts_with("patchbay-agent "), "{}", ran.stdout);
    world.assert_clean(engine).await;
}
