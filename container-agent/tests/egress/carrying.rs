//! What is carried, and what is told about it.

use container_agent::egress::{Limits, Moment, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{PUBLIC, Roads, Running, read_all, soon};

/// A host that the test itself plays.
async fn host() -> (TcpListener, std::sync::Arc<Roads>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let roads = Roads::new(listener.local_addr().unwrap());
    (listener, roads)
}

async fn visitor(listener: &TcpListener) -> TcpStream {
    soon("a visitor", listener.accept()).await.unwrap().0
}

/// Up to the end of a head.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a head", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_tunnel_carries_both_directions_until_both_have_ended() {
    const BYTES: usize = 3 << 20;
    let (listener, roads) = host().await;
    let mut proxy = Running::start(&["allowed.test:443"], roads, &[], Limits::default());
    let mut inside = proxy.tunnel("allowed.test:443").await;
    let mut outside = visitor(&listener).await;
    // More than any buffer holds: it arrives only if the other side is read on.
    let up = tokio::spawn(async move {
        inside.write_all(&vec![b'u'; BYTES]).await.unwrap();
        inside.shutdown().await.unwrap();
        inside
    });
    assert_eq!(read_all(&mut outside).await.len(), BYTES);
    // One direction has ended; the other has not begun.
    let mut inside = soon("the way up", up).await.unwrap();
    let down = tokio::spawn(async move {
        outside.write_all(&vec![b'd'; 2 * BYTES]).await.unwrap();
    });
    assert_eq!(read_all(&mut inside).await.len(), 2 * BYTES);
    down.await.unwrap();

    let (decided, ended) = (proxy.decision().await, proxy.decision().await);
    assert_eq!((decided.moment, decided.allowed, decided.reason), (Moment::Decided, true, Reason::Listed));
    assert_eq!((decided.host.as_str(), decided.port), ("allowed.test", Some(443)));
    assert_eq!(decided.address, Some(format!("{PUBLIC}:443").parse().unwrap()));
    assert_eq!((decided.bytes_up, decided.bytes_down), (0, 0));
    assert_eq!(
        (ended.moment, ended.reason, ended.connection),
        (Moment::Ended, Reason::Closed, decided.connection)
    );
    assert_eq!((ended.bytes_up, ended.bytes_down), (BYTES as u64, 2 * BYTES as u64));
    assert!(decided.at_ms > 0 && ended.at_ms >= decided.at_ms);
    let json = serde_json::to_value(&ended).unwrap();
    assert_eq!(
        (&json["moment"], &json["reason"], &json["bytes_up"]),
        (&"ended".into(), &"closed".into(), &BYTES.into())
    );
}

#[tokio::test]
async fn what_is_sent_before_the_answer_arrives_after_it() {
    let (listener, roads) = host().await;
    let proxy = Running::start(&["allowed.test:443"], roads, &[], Limits::default());
    let mut inside = proxy.connect().await;
    inside.write_all(b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test\r\n\r\nearly").await.unwrap();
    let mut outside = visitor(&listener).await;
    let mut early = [0; 5];
    soon("early data", outside.read_exact(&mut early)).await.unwrap();
    assert_eq!(&early, b"early");
}

#[tokio::test]
async fn a_plain_request_is_written_anew() {
    let (listener, roads) = host().await;
    let mut proxy = Running::start(&["allowed.test:8080"], roads, &[], Limits::default());
    let mut inside = proxy.connect().await;
    let request = "POST http://Allowed.test:8080/a%20b?c=d HTTP/1.1\r\nHost: allowed.test:8080\r\nProxy-Authorization: Basic c2VjcmV0\r\n\
        Connection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n0\r\n\r\n\
        GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    inside.write_all(request.as_bytes()).await.unwrap();
    let mut outside = visitor(&listener).await;
    let head = read_head(&mut outside).await.to_ascii_lowercase();
    assert!(head.starts_with("post /a%20b?c=d http/1.1\r\n"), "{head}");
    for line in [
        "\r\nhost: allowed.test:8080\r\n",
        "\r\nx-end: 2\r\n",
        "\r\nvia: 1.1 patchbay\r\n",
        "\r\ntransfer-encoding: chunked\r\n",
    ] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    for word in ["proxy-", "connection", "x-hop", "upgrade", "expect"] {
        assert!(!head.contains(word), "{word} is in {head}");
    }
    let mut body = [0; 13];
    soon("the body", outside.read_exact(&mut body)).await.unwrap();
    assert_eq!(&body, b"3\r\nabc\r\n0\r\n\r\n");
    let answer = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nX-Yours: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    outside.write_all(answer.as_bytes()).await.unwrap();
    let answer = read_all(&mut inside).await.to_ascii_lowercase();
    let (head, body) = answer.rsplit_once("\r\n\r\n2").unwrap();
    assert!(
        head.contains("http/1.1 201 created") && head.contains("\r\nx-yours: 2") && !head.contains("x-mine"),
        "{head}"
    );
    assert!(head.contains("\r\nconnection: close"), "{head}");
    assert_eq!(body, "\r\nok\r\n0\r\n\r\n");
    // The request behind it was neither sent to this host nor read as one.
    assert_eq!(read_all(&mut outside).await, "");
    let decisions = [proxy.decision().await, proxy.decision().await];
    assert_eq!(
        decisions.map(|decision| (decision.moment, decision.port)),
        [(Moment::Decided, Some(8080)), (Moment::Ended, Some(8080))]
    );
    assert!(proxy.decisions.try_recv().is_err());
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_said() {
    let (listener, roads) = host().await;
    let mut proxy = Running::start(&["allowed.test:80", "unknown.test:443"], roads, &[], Limits::default());
    let get = b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n";
    let asking = proxy.ask(get);
    let (answer, ()) = tokio::join!(asking, async { drop(visitor(&listener).await) });
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("without a whole answer"), "{answer}");
    let unknown = b"CONNECT unknown.test:443 HTTP/1.1\r\nHost: unknown.test\r\n\r\n";
    let answer = proxy.ask(unknown).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("has no address"), "{answer}");
    drop(listener);
    let answer = proxy.ask(get).await;
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("cannot be reached"), "{answer}");
    let mut reasons = Vec::new();
    while let Ok(decision) = proxy.decisions.try_recv() {
        reasons.push((decision.moment, decision.allowed, decision.reason));
    }
    assert_eq!(
        reasons,
        [
            (Moment::Decided, true, Reason::Listed),
            (Moment::Ended, true, Reason::Closed),
            (Moment::Decided, false, Reason::NotResolved),
            (Moment::Decided, true, Reason::Listed),
            (Moment::Ended, true, Reason::NotReached),
        ]
    );
}
