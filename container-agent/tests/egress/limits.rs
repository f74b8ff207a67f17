//! What bounds a proxy, each limit seen to end what passes it.

use std::time::Duration;

use container_agent::egress::{Limits, Moment, Reason, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{Host, Roads, Running, read_all, soon};

const CONNECT: &[u8] = b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\n\r\n";

async fn start(limits: Limits) -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let roads = Roads::new(listener.local_addr().unwrap());
    (listener, Running::start(&["allowed.test:443"], roads, &[], limits))
}

/// The end of the connection that was decided on just before.
async fn end(proxy: &mut Running) -> (Reason, u64, u64) {
    let ended = loop {
        let decision = proxy.decision().await;
        if decision.moment == Moment::Ended {
            break decision;
        }
    };
    (ended.reason, ended.bytes_up, ended.bytes_down)
}

#[tokio::test]
async fn an_execution_moves_no_more_bytes_than_it_may() {
    for upwards in [true, false] {
        let (up, down) = if upwards { (1_000, u64::MAX) } else { (u64::MAX, 1_000) };
        let limits = Limits { bytes_up_max: up, bytes_down_max: down, ..Limits::default() };
        let (listener, mut proxy) = start(limits).await;
        // What one connection moved, another cannot move again.
        for (sent, moved, reason) in [(600, 600, Reason::Closed), (50_000, 400, Reason::BytesUsedUp)] {
            let inside = proxy.tunnel("allowed.test:443").await;
            let (outside, _) = soon("a visitor", listener.accept()).await.unwrap();
            let (mut from, mut to) = if upwards { (inside, outside) } else { (outside, inside) };
            to.shutdown().await.unwrap();
            // Cut in the middle, the other side may be gone already.
            let _ = from.write_all(&vec![b'x'; sent]).await;
            let _ = from.shutdown().await;
            read_all(&mut to).await;
            let directions = if upwards { (moved, 0) } else { (0, moved) };
            assert_eq!(end(&mut proxy).await, (reason, directions.0, directions.1));
        }
        let answer = proxy.ask(CONNECT).await;
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("as many bytes as it may"),
            "{answer}"
        );
        let refused = proxy.decision().await;
        assert_eq!((refused.allowed, refused.reason), (false, Reason::BytesUsedUp));
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_one_to_end() {
    let (listener, proxy) = start(Limits { connections_max: 2, ..Limits::default() }).await;
    let first = proxy.tunnel("allowed.test:443").await;
    let (outside, _) = listener.accept().await.unwrap();
    let _second = proxy.tunnel("allowed.test:443").await;
    let mut third = proxy.connect().await;
    third.write_all(CONNECT).await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(200), third.read(&mut byte)).await;
    assert!(early.is_err(), "a third connection was served beside two");
    drop((first, outside));
    assert_eq!(soon("the third's turn", third.read(&mut byte)).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_idle_or_too_long_ends() {
    let short = Duration::from_millis(50);
    let (_listener, mut proxy) = start(Limits { idle_max: short, ..Limits::default() }).await;
    let mut tunnel = proxy.tunnel("allowed.test:443").await;
    assert_eq!(read_all(&mut tunnel).await, "");
    assert_eq!(end(&mut proxy).await, (Reason::Idle, 0, 0));

    let (listener, mut proxy) =
        start(Limits { total_max: short * 4, idle_max: short * 2, ..Limits::default() }).await;
    let mut tunnel = proxy.tunnel("allowed.test:443").await;
    let (mut outside, _) = listener.accept().await.unwrap();
    // Never idle.
    let talking = tokio::spawn(async move {
        while outside.write_all(b"x").await.is_ok() {
            tokio::time::sleep(short / 10).await;
        }
    });
    let heard = read_all(&mut tunnel).await;
    let (reason, _, down) = end(&mut proxy).await;
    assert_eq!((reason, down > 0, heard.is_empty()), (Reason::TooLong, true, false));
    drop(tunnel);
    soon("the talker's end", talking).await.unwrap();
}

#[tokio::test]
async fn a_head_is_short_and_comes_at_once() {
    let limits = Limits { head_bytes_max: 1_000, head_wait: Duration::from_millis(50), ..Limits::default() };
    let host = Host::start().await;
    let roads = Roads::new(host.address);
    let mut proxy = Running::start(&["allowed.test:443"], roads.clone(), &[], limits);
    let head = |filler: usize| {
        format!(
            "CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\nX: {}\r\n\r\n",
            "x".repeat(filler)
        )
    };
    let most = 1_000 - head(0).len();
    assert!(proxy.ask(format!("{}ping", head(most)).as_bytes()).await.contains("x-reached"));
    for filler in [most + 1, 100_000] {
        let answer = proxy.ask(head(filler).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("longer than 1000 bytes"), "{answer}");
    }
    // Never an end of line.
    let answer = proxy.ask(format!("CONNECT {}", "x".repeat(5_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut slow = proxy.connect().await;
    slow.write_all(b"CONNECT allowed.te").await.unwrap();
    let answer = read_all(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut longest = 0;
    for _ in 0..6 {
        let decision = proxy.decision().await;
        longest = longest.max(decision.host.len());
    }
    assert!((300..=303).contains(&longest), "{longest}");
    assert_eq!(host.visitors(), 1);
}

#[tokio::test]
async fn to_stop_is_to_end_what_is_open_and_to_say_so() {
    let (_listener, mut proxy) = start(Limits::default()).await;
    let mut tunnel = proxy.tunnel("allowed.test:443").await;
    assert_eq!(proxy.decision().await.reason, Reason::Listed);
    let (served, decisions) = proxy.stop().await;
    assert_eq!(served, Served { connections: 1, decisions_dropped: 0 });
    assert_eq!(decisions.iter().map(|decision| decision.reason).collect::<Vec<_>>(), [Reason::Stopped]);
    assert_eq!(read_all(&mut tunnel).await, "");
}

#[tokio::test]
async fn decisions_without_room_are_dropped_counted_and_told() {
    let host = Host::start().await;
    let roads = Roads::new(host.address);
    let mut proxy = Running::with_room(&["other.test:443"], roads, &[], Limits::default(), 1);
    for _ in 0..4 {
        assert!(proxy.ask(CONNECT).await.starts_with("HTTP/1.1 403 "));
    }
    assert_eq!(proxy.decision().await.dropped_before, 0);
    proxy.ask(CONNECT).await;
    let told = proxy.decision().await;
    assert_eq!((told.connection, told.dropped_before), (5, 3));
    proxy.ask(CONNECT).await;
    proxy.ask(CONNECT).await;
    assert_eq!(proxy.stop().await.0, Served { connections: 7, decisions_dropped: 1 });
}
