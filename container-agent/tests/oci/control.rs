//! Steering from outside: terminate, kill, freeze, thaw.

use std::io::Read;
use std::time::{Duration, Instant};

use container_agent::sandbox::{Exit, Sandbox, Signal};

use crate::engines::Engine;
use crate::world::{World, finish, read};

/// Reads one line from the payload, and goes on reading the rest.
fn first_line(stdout: &mut std::fs::File) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

async fn end_of(sandbox: &mut dyn Sandbox) -> Exit {
    tokio::time::timeout(Duration::from_secs(20), sandbox.wait()).await.unwrap().unwrap()
}

pub async fn terminate_lets_it_clean_up_and_kill_does_not(engine: &Engine) {
    let world = World::new(engine).await;
    for (signal, exit, last) in
        [(Signal::Terminate, Exit::Code(7), "cleaned up\n"), (Signal::Kill, Exit::Signal(9), "")]
    {
        let script = "trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
        let mut sandbox = world.prepare(world.spec(script)).await.unwrap();
        // Both stay open: a shell that cannot say that it was told to end dies of that.
        let output = sandbox.start().await.unwrap().output;
        let mut stdout = std::fs::File::from(output.stdout);
        assert_eq!(first_line(&mut stdout), "ready");
        sandbox.control().signal(signal).await.unwrap();
        assert_eq!(end_of(sandbox.as_mut()).await, exit);
        assert_eq!(read(stdout.into()).await.unwrap(), last);
        sandbox.remove().await;
    }
    world.assert_clean(engine).await;
}

pub async fn frozen_it_uses_nothing_and_can_be_killed(engine: &Engine) {
    let world = World::new(engine).await;
    let mut sandbox = world.prepare(world.spec("echo ready; while :; do :; done")).await.unwrap();
    let mut stdout = std::fs::File::from(sandbox.start().await.unwrap().output.stdout);
    first_line(&mut stdout);
    let control = sandbox.control();
    control.freeze().await.unwrap();
    let before = control.usage().await.cpu_us;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(control.usage().await.cpu_us, before, "it goes on");
    control.thaw().await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while control.usage().await.cpu_us == before {
        assert!(Instant::now() < deadline, "it does not go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    control.freeze().await.unwrap();
    control.signal(Signal::Kill).await.unwrap();
    assert_eq!(end_of(sandbox.as_mut()).await, Exit::Signal(9));
    sandbox.remove().await;
    // Standing still, it hears that it is to end as well.
    let mut sandbox = world.prepare(world.spec("exec sleep 600")).await.unwrap();
    let _output = sandbox.start().await.unwrap().output;
    sandbox.control().freeze().await.unwrap();
    sandbox.control().signal(Signal::Terminate).await.unwrap();
    assert_eq!(end_of(sandbox.as_mut()).await, Exit::Signal(15));
    sandbox.remove().await;
    world.assert_clean(engine).await;
}

pub async fn nothing_outlives_the_payload(engine: &Engine) {
    let world = World::new(engine).await;
    // It holds the pipe open, and would for long.
    let started = Instant::now();
    let ran = world.sh("(trap '' HUP TERM; sleep 600) & echo over").await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Code(0), "over\n"));
    assert!(started.elapsed() < Duration::from_secs(30));
    // Dropped in the middle, by whom it may be.
    let mut sandbox = world.prepare(world.spec("sleep 600")).await.unwrap();
    let output = sandbox.start().await.unwrap().output;
    drop(sandbox);
    assert_eq!(read(output.stdout).await.unwrap(), "");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.containers(engine).await.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", world.containers(engine).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.assert_clean(engine).await;
    // Never started.
    let sandbox = world.prepare(world.spec("true")).await.unwrap();
    sandbox.remove().await;
    world.assert_clean(engine).await;
    let mut sandbox = world.prepare(world.spec("exit 3")).await.unwrap();
    assert_eq!(finish(sandbox.as_mut()).await.exit, Exit::Code(3));
    sandbox.remove().await;
}
