//! How a payload ends, and what it prints until then.

use std::time::{Duration, Instant};

use container_agent::sandbox::{Exit, SandboxError};
use shared_contracts::executions::Terminal;

use crate::engines::Engine;
use crate::world::{World, read};

pub async fn exit_codes_and_signals_are_told_apart(engine: &Engine) {
    let world = World::new(engine).await;
    assert_eq!(world.sh("true").await.exit, Exit::Code(0));
    assert_eq!(world.sh("exit 137").await.exit, Exit::Code(137));
    assert_eq!(world.sh("kill -9 $$").await.exit, Exit::Signal(9));
    assert_eq!(world.sh("kill -TERM $$").await.exit, Exit::Signal(15));
    let mut spec = world.spec("");
    spec.command = vec!["nothing-like-it".into()];
    let mut sandbox = world.prepare(spec).await.unwrap();
    let Err(SandboxError::Command(text)) = sandbox.start().await else { panic!("it was started") };
    assert!(text.contains("not found in the sandbox's PATH"), "{text}");
    sandbox.remove().await;
    world.assert_clean(engine).await;
}

pub async fn both_streams_come_whole_and_apart(engine: &Engine) {
    let world = World::new(engine).await;
    // More than pipes hold, and the last word at the very end, from an orphan.
    let ran = world.sh("seq 1 400000; seq 1 200000 >&2; (sleep 0.1; echo late) & echo last; wait").await;
    assert_eq!(ran.exit, Exit::Code(0));
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        (lines.len(), lines[399_999], lines[400_000], lines[400_001]),
        (400_002, "400000", "last", "late")
    );
    assert_eq!(ran.stderr.lines().count(), 200_000);
    assert_eq!(ran.stderr.lines().next_back(), Some("200000"));
    let mut spec = world.spec("test -t 0 && test -t 1 && stat -c %F /proc/self/fd/2 -L; ls nowhere");
    spec.terminal = Some(Terminal { rows: 24, columns: 80 });
    let ran = world.run(spec).await;
    assert_eq!(ran.exit, Exit::Code(2), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("character special file\r\n") && ran.stdout.contains("nowhere"),
        "{}",
        ran.stdout
    );
    world.assert_clean(engine).await;
}

pub async fn one_that_prints_fast_is_held_back(engine: &Engine) {
    let world = World::new(engine).await;
    let mut sandbox = world.prepare(world.spec("head -c 64m /dev/zero; echo over >&2")).await.unwrap();
    let output = sandbox.start().await.unwrap().output;
    let control = sandbox.control();
    // It fills the pipe and stands: whoever reads nothing keeps nothing.
    let mut before = u64::MAX;
    let deadline = Instant::now() + Duration::from_secs(10);
    while control.usage().await.cpu_us != before {
        assert!(Instant::now() < deadline, "it goes on printing");
        before = control.usage().await.cpu_us;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (stdout, stderr) = (read(output.stdout), read(output.stderr.unwrap()));
    assert_eq!(sandbox.wait().await.unwrap(), Exit::Code(0));
    assert_eq!((stdout.await.unwrap().len(), stderr.await.unwrap().as_str()), (64 << 20, "over\n"));
    sandbox.remove().await;
}
