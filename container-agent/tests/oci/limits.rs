//! Every limit, reached by a payload: it holds, and the outcome says which it was.

use std::time::{Duration, Instant};

use container_agent::sandbox::outcome::{Interference, Outcome};
use container_agent::sandbox::{Exit, SandboxError, Signal};
use shared_contracts::executions::Limits;

use crate::engines::Engine;
use crate::world::{Ran, World, finish};

fn outcome(ran: &Ran) -> Outcome {
    Outcome::of(ran.exit, Interference::None, &ran.usage)
}

pub async fn each_limit_holds_and_is_named(engine: &Engine) {
    let world = World::new(engine).await;
    // Memory: the one that takes it all is killed.
    let mut spec = world.spec("head -c 300m /dev/zero | tail -c 299m | wc -c; exit 1");
    spec.limits.memory_mb = 64;
    let ran = world.run(spec).await;
    assert_eq!(outcome(&ran), Outcome::OutOfMemory, "{:?} {}", ran.exit, ran.stderr);
    assert!(ran.usage.memory_peak_bytes > 32 << 20, "{:?}", ran.usage);
    // Processes.
    let mut spec = world.spec("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; echo all");
    spec.limits.processes = 16;
    let ran = world.run(spec).await;
    assert_eq!(outcome(&ran), Outcome::TooManyProcesses, "{} {}", ran.stdout, ran.stderr);
    // What can be written, wherever.
    for place in ["/workspace", "/tmp", "/home/agent"] {
        let mut spec = world.spec(&format!("head -c 20m /dev/zero > {place}/big"));
        spec.limits.disk_mb = 8;
        let ran = world.run(spec).await;
        assert_eq!(outcome(&ran), Outcome::DiskFull, "{place}: {}", ran.stderr);
        assert!(ran.stderr.contains("No space left"), "{place}: {}", ran.stderr);
    }
    // Open files.
    let mut spec = world.spec("ulimit -Hn; ulimit -Sn; ulimit -c");
    spec.limits.open_files = 64;
    assert_eq!(world.run(spec).await.stdout, "64\n64\n0\n");
    // CPU time and wall time: killed after a second, it had a fifth of one.
    let mut spec = world.spec("while :; do :; done");
    spec.limits.cpu_cores = 0.2;
    let mut sandbox = world.prepare(spec).await.unwrap();
    let control = sandbox.control();
    let started = Instant::now();
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        control.signal(Signal::Kill).await.unwrap();
    };
    let (ran, ()) = tokio::join!(finish(sandbox.as_mut()), kill);
    assert_eq!(ran.exit, Exit::Signal(9));
    assert!((50_000..500_000).contains(&ran.usage.cpu_us), "{:?}", ran.usage);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    sandbox.remove().await;
    world.assert_clean(engine).await;
}

pub async fn what_was_used_is_known_after_the_end(engine: &Engine) {
    let world = World::new(engine).await;
    let mut spec = world.spec("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done");
    spec.limits.cpu_cores = 0.5;
    let started = Instant::now();
    let ran = world.run(spec).await;
    let wall = u64::try_from(started.elapsed().as_micros()).unwrap();
    assert_eq!(ran.exit, Exit::Code(0));
    assert!(ran.usage.cpu_us > 50_000 && ran.usage.cpu_us < wall * 3 / 4, "{:?} in {wall} µs", ran.usage);
    assert!(ran.usage.memory_peak_bytes > 0 && ran.usage.out_of_memory_kills == 0, "{:?}", ran.usage);
}

pub async fn a_limit_that_cannot_be_had_is_refused(engine: &Engine) {
    let world = World::new(engine).await;
    let mut spec = world.spec("true");
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(1 << 20);
    spec.limits = Limits { open_files: u32::try_from(hard + 1).unwrap(), ..spec.limits };
    let Err(SandboxError::Setup(text)) = world.prepare(spec).await.map(drop) else { panic!("it was made") };
    assert!(text.contains("resource limits") && text.contains("ulimit -n"), "{text}");
}
