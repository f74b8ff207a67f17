//! What a sandbox may use and what it may see.

use std::time::{Duration, Instant};

use acceptance::agents::{Job, Machine, Tenant, lab, shell};
use shared_contracts::events::{EventBody, LogStream};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::tasks::TaskState;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_time_limit_ends_it_as_timed_out() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let mut input = shell("echo begun; sleep 1000; echo never");
    input.limits.wall_seconds = Some(2);
    let job = Job::submit(&project, &input).await;
    job.prints("begun").await;
    let begun = Instant::now();
    let log = job.log().await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(log.end().outcome, Outcome::TimedOut);
    assert!(log.end().reason.contains("2 s"), "{}", log.end().reason);
    assert!((2_000..20_000).contains(&log.end().usage.wall_ms), "{:?}", log.end().usage);
    assert_eq!(log.lines(LogStream::Stdout), ["begun"]);
    assert_eq!(job.record().await.state, ExecutionState::TimedOut);
    let task = job.task().await;
    assert_eq!((task.state, task.error.as_deref()), (TaskState::Todo, Some(log.end().reason)));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_is_killed_and_the_reason_says_so() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let mut input = shell("echo begun; tail /dev/zero; exit $?");
    input.limits.memory_mb = Some(64);
    input.limits.wall_seconds = Some(60);
    let job = Job::submit(&project, &input).await;
    let log = job.log().await;
    assert_eq!(log.end().outcome, Outcome::Failed);
    assert!(log.end().reason.contains("out of memory"), "{}", log.end().reason);
    assert!(log.end().reason.contains("64 MB"), "{}", log.end().reason);
    assert!(log.end().usage.memory_peak_bytes <= 65 * 1024 * 1024, "{:?}", log.end().usage);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_bomb_stays_within_its_processes() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    // The bomb, and behind it more processes than there may be: a fork that the shell itself is refused ends it.
    let script = "f() { f | f & }; f; i=0; while [ $i -lt 500 ]; do sleep 100 & i=$((i+1)); done";
    let mut input = shell(script);
    input.limits.processes = Some(40);
    input.limits.wall_seconds = Some(60);
    let bomb = Job::submit(&project, &input).await;
    let neighbour = Job::script(&project, "echo not disturbed").await;
    let log = bomb.log().await;
    assert_eq!(log.end().outcome, Outcome::Failed);
    assert!(log.end().reason.contains("too many processes: the limit of 40"), "{}", log.end().reason);
    for event in &log.0 {
        if let EventBody::ResourceUsage { processes, .. } = event.body {
            assert!(processes <= 40, "{processes} processes");
        }
    }
    assert_eq!(neighbour.log().await.lines(LogStream::Stdout), ["not disturbed"]);
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_and_the_host_are_not_there() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "the host's secret\n").unwrap();
    let url = lab().url();
    let port = url.rsplit(':').next().unwrap();
    let script = format!(
        r#"
        exec 2>/dev/null
        tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sed 's/^/interface /'
        (exec 3<>/dev/tcp/127.0.0.1/{port}) && echo 'plane reached' || echo 'no plane'
        (exec 3<>/dev/tcp/1.1.1.1/53) && echo 'internet reached' || echo 'no internet'
        for path in {secret} {state} {repository} /root/.ssh /etc/shadow /sys/fs/cgroup /home/agent/../../boot; do
          if [ -r "$path" ] && cat "$path" "$path"/* | grep -q .; then echo "sees $path"; fi
        done
        for path in /usr/mark /etc/mark /mark /proc/sys/kernel/hostname; do
          if echo mark > "$path"; then echo "wrote $path"; fi
        done
        echo "processes $(ls -d /proc/[0-9]* | wc -l)"
        echo "user $(id -u)"
        echo "host $(hostname)"
        env | grep -c PATCHBAY_TOKEN
        "#,
        secret = secret.path().display(),
        state = machine.agent.state_folder().display(),
        repository = xtask::layout::repository().display(),
    );
    let job = Job::submit(&project, &acceptance::command(&["/bin/bash", "-c", &script])).await;
    let log = job.log().await;
    let lines = log.lines(LogStream::Stdout);
    let (processes, lines): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| line.starts_with("processes "));
    assert_eq!(lines, ["interface lo", "no plane", "no internet", "user 1000", "host sandbox", "0"]);
    let processes: u32 = processes[0].trim_start_matches("processes ").parse().unwrap();
    assert!(processes < 8, "it sees {processes} processes");
    assert_eq!(std::fs::read_to_string(secret.path()).unwrap(), "the host's secret\n");
    machine.stop().await;
}
