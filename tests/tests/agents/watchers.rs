//! Watchers that come and go, and watchers that do not keep up.

use acceptance::agents::{Job, Log, Machine, SOON, Tenant, lab, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::events::{Event, EventBody, LogStream, WatchMessage, WatcherMessage};
use shared_contracts::limits::{WATCHER_LAG_BYTES_MAX, WATCHER_WINDOW_BYTES};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use xtask::client::sse_parser::{SseEvent, SseParser};
use xtask::client::{Watched, Watcher, event_json};

/// A random number below this one.
fn below(bound: u128) -> usize {
    (xtask::random::id_bits().unwrap() % bound) as usize
}

/// Every event, and how often it connected: it loses its connection twenty times.
async fn disconnecting(mut watcher: Watcher) -> (Vec<Event>, u32) {
    let mut events = Vec::new();
    for _ in 0..20 {
        for _ in 0..1 + below(120) {
            events.push(watcher.next().await.unwrap().expect("it goes on"));
        }
        watcher.disconnect();
    }
    while let Some(event) = watcher.next().await.unwrap() {
        events.push(event);
    }
    (events, watcher.connections())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnecting_twenty_times_shows_every_event_once() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo \"line $i\"; [ $((i % 25)) -gt 0 ] || sleep 0.05; done";
    let job = Job::script(&project, script).await;
    let watchers = [job.client.watch(job.id, 0), job.client.watch_socket(job.id, 0)];
    let watching = watchers.map(|watcher| tokio::spawn(disconnecting(watcher)));
    let log = job.log().await;
    Log::assert_numbered(&log.lines(LogStream::Stdout), 3000);
    for watching in watching {
        let (events, connections) = watching.await.unwrap();
        assert!(connections > 20, "{connections} connections");
        assert!(Log::whole(events) == log, "a watcher saw another log");
    }
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_watches_nothing_more() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let job = Job::script(&project, "for i in $(seq 60); do echo $i; sleep 0.05; done").await;
    let input =
        CreateAccessToken { name: "leaked".into(), scopes: vec![Scope::Read], lifetime_seconds: None };
    let token = tenant.client.create_access_token(&input).await.unwrap();
    let leaked = tenant.client.with_token(&token.token);
    let watchers = [leaked.watch(job.id, 0), leaked.watch_socket(job.id, 0)];
    let mut watching = Vec::new();
    for mut watcher in watchers {
        let first = watcher.next().await.unwrap().expect("it is queued");
        assert_eq!(first.sequence, 1);
        watching.push(tokio::spawn(watcher.collect()));
    }
    tenant.client.revoke_access_token(token.record.id).await.unwrap();
    let machine = Machine::start(lab(), &tenant, 1).await;
    assert_eq!(job.log().await.lines(LogStream::Stdout).len(), 60);
    for watching in watching {
        let told = watching.await.unwrap().expect_err("it watches on");
        assert!(format!("{told:?}").contains("status: 401"), "{told:?}");
    }
    machine.stop().await;
}

/// Text of 1,023 characters and a line feed, numbered, this many times.
fn kilobytes(count: u32) -> String {
    format!("seq -f '%01023.0f' {count}")
}

#[track_caller]
fn assert_kilobytes(lines: &[String], count: usize) {
    assert_eq!(lines.len(), count);
    for (line, number) in lines.iter().zip(1u32..) {
        assert!(line.len() == 1023 && line.parse() == Ok(number), "line {number} is {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_acknowledges_nothing_is_told_and_resumes() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    let job = Job::script(&project, &kilobytes(5_000)).await;
    let path = format!("/api/sandbox/executions/{}/logs/socket", job.id);
    let mut socket = job.client.open_socket(&path).await.unwrap();
    let (mut events, mut bytes) = (Vec::<Event>::new(), 0);
    // 1. Nothing is acknowledged: the window is sent, then `sync`.
    let (after, head) = soon("a sync", SOON, async {
        loop {
            let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
            bytes += text.len() as u64;
            for line in text.lines() {
                match event_json(line).unwrap() {
                    Watched::Event(event) => events.push(event),
                    Watched::Control(WatchMessage::Sync { after, head }) => return (after, head),
                    Watched::Control(WatchMessage::Heartbeat { .. }) => {}
                }
            }
        }
    })
    .await;
    assert!(bytes <= WATCHER_WINDOW_BYTES + 200, "{bytes} bytes were sent without an acknowledgement");
    assert_eq!(after, events.last().unwrap().sequence);
    assert!(head > after);
    // 2. Then nothing more, however much is written.
    job.ends().await;
    socket.send(Message::text("ping")).await.unwrap();
    let next = soon("a pong", SOON, socket.next()).await.unwrap().unwrap();
    assert_eq!(next, Message::text("pong"), "the next message is the answer to a ping");
    // 3. Acknowledging makes room: everything else, once.
    soon("the rest", SOON, async {
        loop {
            let through = events.last().unwrap().sequence;
            let acknowledge = serde_json::to_string(&WatcherMessage::Acknowledge { through }).unwrap();
            socket.send(Message::text(acknowledge)).await.unwrap();
            let text = match socket.next().await.unwrap().unwrap() {
                Message::Text(text) => text,
                Message::Close(_) => return,
                _ => continue,
            };
            for line in text.lines() {
                if let Watched::Event(event) = event_json(line).unwrap() {
                    events.push(event);
                }
            }
            if matches!(events.last().unwrap().body, EventBody::Ended { .. }) {
                return;
            }
        }
    })
    .await;
    let log = Log::whole(events);
    assert!(log == job.log().await, "the watcher saw another log");
    assert_kilobytes(&log.lines(LogStream::Stdout), 5_000);
    machine.stop().await;
}

/// A stream of server-sent events on a bare connection, read only when asked to.
struct BareStream {
    socket: tokio::net::TcpStream,
    parser: SseParser,
    chunked: Unchunk,
}

/// Just enough of HTTP/1.1's chunked coding (RFC 9112 §7.1).
#[derive(Default)]
struct Unchunk {
    raw: Vec<u8>,
    is_past_head: bool,
    left: usize,
}

impl Unchunk {
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.raw.extend_from_slice(bytes);
        if !self.is_past_head {
            let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
                return Vec::new();
            };
            let head = String::from_utf8_lossy(&self.raw[..end]).to_lowercase();
            assert!(head.starts_with("http/1.1 200") && head.contains("chunked"), "{head}");
            self.raw.drain(..end + 4);
            self.is_past_head = true;
        }
        let (mut out, mut at) = (Vec::new(), 0);
        loop {
            if self.left > 0 {
                let take = self.left.min(self.raw.len() - at);
                out.extend_from_slice(&self.raw[at..at + take]);
                (at, self.left) = (at + take, self.left - take);
                if self.left > 0 {
                    break;
                }
            }
            // The line feed behind the last chunk, then the next chunk's size.
            let rest = &self.raw[at..];
            let skip = if rest.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(end) = rest[skip..].windows(2).position(|two| two == b"\r\n") else { break };
            let size = std::str::from_utf8(&rest[skip..skip + end]).unwrap();
            self.left = usize::from_str_radix(size, 16).unwrap();
            at += skip + end + 2;
            if self.left == 0 {
                break;
            }
        }
        self.raw.drain(..at);
        out
    }
}

impl BareStream {
    async fn open(job: &Job) -> Self {
        let address = job.client.base_url().trim_start_matches("http://").parse().unwrap();
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Little is on its way to someone who does not read.
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        let mut socket = socket.connect(address).await.unwrap();
        let request = format!(
            "GET /api/sandbox/executions/{}/logs/stream HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
             Accept: text/event-stream\r\n\r\n",
            job.id,
            job.client.token().unwrap()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, parser: SseParser::new(), chunked: Unchunk::default() }
    }

    /// None at the end of the connection.
    async fn read(&mut self) -> Option<Vec<SseEvent>> {
        let mut bytes = vec![0; 64 * 1024];
        let count = soon("more of the stream", SOON, self.socket.read(&mut bytes)).await.unwrap_or(0);
        (count > 0).then(|| self.parser.push(&self.chunked.push(&bytes[..count])))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_read_is_told_where_to_resume() {
    let tenant = Tenant::new();
    let project = tenant.project().await;
    let machine = Machine::start(lab(), &tenant, 1).await;
    // Far more than the hub keeps for a watcher and all buffers on the way hold together.
    const COUNT: usize = 48 * 1024;
    const { assert!(COUNT * 1024 > 8 * WATCHER_LAG_BYTES_MAX) };
    let script = format!("echo ready; sleep 2; {}", kilobytes(COUNT as u32));
    let job = Job::script(&project, &script).await;
    let mut stream = BareStream::open(&job).await;
    let mut events = Vec::<Event>::new();
    let take = |events: &mut Vec<Event>, found: SseEvent| {
        let is_event = !matches!(found.name.as_str(), "sync" | "heartbeat");
        if is_event {
            events.push(serde_json::from_str(&found.data).unwrap());
            assert_eq!(found.id, Some(events.last().unwrap().sequence.to_string()));
        }
        found
    };
    // 1. It reads until it is at the head, then it stops reading while all is written.
    let is_ready = |event: &Event| matches!(&event.body, EventBody::Log { text, .. } if text == "ready");
    while !events.iter().any(is_ready) {
        for found in stream.read().await.expect("the stream goes on") {
            take(&mut events, found);
        }
    }
    job.ends().await;
    // 2. It reads again: what was on its way, then it is told where to resume, or the connection ends.
    let mut sync = None;
    while let Some(found) = stream.read().await {
        for found in found {
            if take(&mut events, found.clone()).name == "sync" {
                sync = Some(found);
            }
        }
        if sync.is_some() {
            break;
        }
    }
    let last = events.last().unwrap().sequence;
    assert!(
        !matches!(events.last().unwrap().body, EventBody::Ended { .. }),
        "all {last} events were kept for it"
    );
    let sync = sync.expect("a slow watcher is told so");
    assert_eq!(sync.id, Some(last.to_string()), "a browser resumes from there");
    // 3. It resumes there and misses nothing.
    let mut resumed = job.client.watch(job.id, last);
    while let Some(event) = resumed.next().await.unwrap() {
        events.push(event);
    }
    let log = Log::whole(events);
    assert_kilobytes(&log.lines(LogStream::Stdout)[1..], COUNT);
    machine.stop().await;
}
