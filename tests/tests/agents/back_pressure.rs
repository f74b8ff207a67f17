//! A producer that is faster than the hub is slowed down, and loses nothing.

use std::time::{Duration, Instant};

use acceptance::agents::{Job, Machine, Proxy, SOON, Tenant, eventually, lab, shell, unique};
use shared_contracts::events::LogStream;
use shared_contracts::limits::{MIB, SPOOL_WINDOW_BYTES};
use xtask::plane::AgentOptions;

/// What one read may bring beyond the window, as events; and a segment whose last events are not acknowledged yet.
const SLACK_BYTES: u64 = 5 * MIB;
const RESIDENT_BYTES_MAX: u64 = 150 * MIB;
/// 64 MiB of lines of 1 KiB.
const LINES: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_arrive_whole_through_a_small_window() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let network = Proxy::before(&lab().url()).await;
    let options = AgentOptions { url: Some(network.url.clone()), ..AgentOptions::named(&unique("machine")) };
    let machine = Machine::with(lab(), &tenant, options).await;
    // 1. Nothing gets through to the hub: the spool fills to its window, and the producer stands still.
    network.hold("/logs/append");
    let mut input = shell(&format!("seq -f '%01023.0f' {LINES}; echo all written >&2"));
    input.limits.memory_mb = Some(256);
    let job = Job::submit(&project, &input).await;
    eventually("the spool is full", SOON, async || {
        (machine.spool_bytes() > SPOOL_WINDOW_BYTES).then_some(())
    })
    .await;
    let (watched, mut spool_max, mut resident_max) = (Instant::now(), 0, 0);
    let mut look = || {
        spool_max = machine.spool_bytes().max(spool_max);
        resident_max = machine.resident_bytes().max(resident_max);
    };
    while watched.elapsed() < Duration::from_secs(2) {
        look();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!machine.spool_text().contains("all written"), "the producer was not held back");
    // 2. It does: everything arrives.
    network.release();
    while !job.record().await.state.is_ended() {
        look();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(spool_max <= SPOOL_WINDOW_BYTES + SLACK_BYTES, "the spool held {spool_max} bytes");
    assert!(resident_max < RESIDENT_BYTES_MAX, "the container agent took {resident_max} bytes");
    let log = job.log().await;
    assert_eq!(log.end().exit_code, Some(0));
    assert_eq!(log.lines(LogStream::Stderr), ["all written"]);
    let lines = log.lines(LogStream::Stdout);
    assert_eq!(lines.len(), LINES);
    for (line, number) in lines.iter().zip(1u32..) {
        assert!(line.len() == 1023 && line.parse() == Ok(number), "line {number} is {line}");
    }
    machine.stop().await;
}
