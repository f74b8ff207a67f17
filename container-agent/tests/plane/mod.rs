//! A scripted plane: it speaks the wire contract as the Worker does, keeps what it is sent, and can misbehave on
//! request. A fake server, never a fake client: the agent under test is the real binary.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses its part; a fault in a fake server is a failed test"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared_contracts::containers::ContainerCommand;
use shared_contracts::dispatch::{Lease, LeasedExecution, ToContainerAgent};
use shared_contracts::executions::{CodingAgent, ExecutionSpec, Limits};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ContainerAgentId, ExecutionId, ProjectId, TaskId};
use shared_contracts::sandboxes::SandboxTier;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    /// By execution.
    pub events: BTreeMap<String, Vec<Value>>,
    pub artifacts: Vec<(String, Vec<u8>)>,
    pub patches: Vec<Value>,
    pub said: Vec<Value>,
    pub blob_requests: usize,
    pub messages: usize,
    /// Acknowledgements to hold back: the hub reads, and does not answer.
    pub mute: bool,
    /// Drop each hub connection after this many messages.
    pub drop_after: Option<usize>,
    /// Take this hub message for lost: answer that there is a gap.
    pub lose: Option<usize>,
    /// Answer every hub message with this.
    pub answer: Option<Value>,
    /// Answer every hello with this.
    pub refuse: Option<ToContainerAgent>,
    /// Refuse this many artifact and patch requests with 503 first.
    pub busy: usize,
    pub gone: Vec<Lease>,
    to_agent: Option<mpsc::UnboundedSender<ToContainerAgent>>,
}

#[derive(Clone)]
pub struct Plane {
    pub address: SocketAddr,
    pub state: Arc<Mutex<State>>,
}

pub const PROJECT: u128 = 7;

pub fn project() -> ProjectId {
    ProjectId::new(1, PROJECT)
}

pub fn leased(number: u64, generation: u32, command: &[&str]) -> LeasedExecution {
    LeasedExecution {
        lease: Lease { execution_id: ExecutionId::new(number, 1), generation },
        project_id: project(),
        task_id: TaskId::new(1, 1),
        task_title: "A task".into(),
        prompt: "Do it".into(),
        spec: ExecutionSpec {
            coding_agent: CodingAgent::Command,
            command: command.iter().map(|text| (*text).to_owned()).collect(),
            environment: BTreeMap::new(),
            limits: Limits { memory_mb: 256, disk_mb: 64, wall_seconds: 60, ..Limits::default() },
            artifacts: Vec::new(),
            archive_artifacts: false,
            sandbox_tier: SandboxTier::Strong,
            sandbox_provider: None,
            image: None,
            terminal: None,
            secrets: Vec::new(),
            base_revision: 1,
        },
        denied_paths: Vec::new(),
        egress: Vec::new(),
        secrets: Vec::new(),
        next_sequence: 1,
        execution_token: "execution-token".into(),
    }
}

impl Plane {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plane = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = plane.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let plane = serving.clone();
                tokio::spawn(async move { plane.serve(stream).await });
            }
        });
        plane
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    pub fn file(&self, path: &str, content: &str) {
        self.with(|state| state.files.insert(path.into(), content.into()));
    }

    /// The real binary, connected here.
    pub fn agent(&self, state_directory: &Path) -> Agent {
        self.agent_with(state_directory, &[])
    }

    pub fn agent_with(&self, state_directory: &Path, arguments: &[&str]) -> Agent {
        let child = Command::new(env!("CARGO_BIN_EXE_patchbay-agent"))
            .arg("run")
            .args(arguments)
            .env("PATCHBAY_URL", format!("http://{}", self.address))
            .env("PATCHBAY_TOKEN", "agent-token")
            .env("PATCHBAY_NAME", "test")
            .env("PATCHBAY_STATE_DIR", state_directory)
            .env("PATCHBAY_CAPACITY", "4")
            // A server of a test is on this machine's own loopback, which no project can list otherwise.
            .env("PATCHBAY_EGRESS_VOUCHED", self.address.to_string())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Agent(child)
    }

    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(found) = self.with(&mut look) {
                return found;
            }
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn send(&self, message: ToContainerAgent) {
        let sender = self.until("a connection", |state| state.to_agent.clone()).await;
        sender.send(message).unwrap();
    }

    /// Offers it, waits for the acceptance, leases it.
    pub async fn lease(&self, leased: LeasedExecution) {
        let id = leased.lease.execution_id;
        self.send(ToContainerAgent::Offer { execution_id: id }).await;
        self.said("accept", id).await;
        self.send(ToContainerAgent::Leased(Box::new(leased))).await;
    }

    pub async fn said(&self, message: &str, id: ExecutionId) -> Value {
        let id = id.to_string();
        self.until(&format!("{message} {id}"), |state| {
            let about = |said: &&Value| {
                said["message"] == message
                    && (said["execution_id"] == id || said["lease"]["execution_id"] == id)
            };
            state.said.iter().find(about).cloned()
        })
        .await
    }

    /// Asks about a container, and what the agent answers.
    pub async fn ask(&self, request: u64, command: ContainerCommand) -> Value {
        self.send(ToContainerAgent::Container { request, command }).await;
        self.until(&format!("the answer to {request}"), |state| {
            let answers = |said: &&Value| said["message"] == "container" && said["request"] == request;
            state.said.iter().find(answers).map(|said| said["answer"].clone())
        })
        .await
    }

    /// The terminal event and all that came before.
    pub async fn ended(&self, id: ExecutionId) -> (Value, Vec<Value>) {
        self.until("the terminal event", |state| {
            let events = state.events.get(&id.to_string())?;
            let last = events.last()?.clone();
            (last["type"] == "ended").then(|| (last, events.clone()))
        })
        .await
    }

    async fn serve(&self, stream: TcpStream) {
        let mut peeked = [0; 2048];
        let count = stream.peek(&mut peeked).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&peeked[..count]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
            if path.contains("/connect") {
                self.dispatcher(socket).await;
            } else {
                self.hub(socket, path.split('/').nth(4).unwrap_or_default()).await;
            }
        } else {
            self.http(stream).await;
        }
    }

    async fn dispatcher(&self, mut socket: tokio_tungstenite::WebSocketStream<TcpStream>) {
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return };
                    let said: Value = serde_json::from_str(&text).unwrap();
                    let answer = match said["message"].as_str().unwrap() {
                        "hello" => {
                            let (gone, refuse) = self.with(|state| {
                                state.to_agent = Some(sender.clone());
                                (state.gone.clone(), state.refuse.clone())
                            });
                            Some(refuse.unwrap_or(ToContainerAgent::Welcome {
                                container_agent_id: ContainerAgentId::new(1, 1), heartbeat_seconds: 1, lease_seconds: 4, gone,
                            }))
                        }
                        "heartbeat" => {
                            let gone = self.with(|state| state.gone.clone());
                            Some(ToContainerAgent::HeartbeatAnswer { gone, renewed: Vec::new() })
                        }
                        _ => None,
                    };
                    self.with(|state| state.said.push(said));
                    if let Some(answer) = answer {
                        let _ = socket.send(Message::text(serde_json::to_string(&answer).unwrap())).await;
                    }
                }
                Some(message) = outgoing.recv() => {
                    let _ = socket.send(Message::text(serde_json::to_string(&message).unwrap())).await;
                }
            }
        }
    }

    async fn hub(&self, mut socket: tokio_tungstenite::WebSocketStream<TcpStream>, id: &str) {
        let next = |state: &mut State| state.events.entry(id.to_owned()).or_default().len() as u64 + 1;
        let ready = json!({"answer": "ready", "next_sequence": self.with(next)});
        let _ = socket.send(Message::text(ready.to_string())).await;
        let mut taken = 0;
        let mut owed = None;
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                () = tokio::time::sleep(Duration::from_millis(10)), if owed.is_some() => {
                    if let Some(answer) = owed.take_if(|_| !self.with(|state| state.mute)) {
                        let _ = socket.send(Message::text(answer)).await;
                    }
                    continue;
                }
            };
            let Some(Ok(message)) = message else { return };
            let Message::Text(text) = message else { continue };
            assert!(text.len() <= shared_contracts::limits::APPEND_BYTES_MAX, "{} bytes", text.len());
            taken += 1;
            let answer = self.with(|state| {
                state.messages += 1;
                let mut lines = text.lines();
                let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
                let first = head["first_sequence"].as_u64().unwrap();
                if let Some(answer) = &state.answer {
                    return answer.clone();
                }
                let lost = state.lose.take_if(|number| *number == taken).is_some();
                let events = state.events.entry(id.to_owned()).or_default();
                if lost || first > events.len() as u64 + 1 {
                    return json!({"answer": "gap", "wanted": events.len() + 1});
                }
                let mut count = 0;
                for (line, sequence) in lines.zip(first..) {
                    count += 1;
                    if sequence == events.len() as u64 + 1 {
                        let event: Value = serde_json::from_str(line).unwrap();
                        assert_eq!(event["sequence"], sequence);
                        events.push(event);
                    }
                }
                assert_eq!(head["count"], count);
                json!({"answer": "acknowledged", "through": events.len()})
            });
            let (mute, drop_after) = self.with(|state| (state.mute, state.drop_after));
            if drop_after.is_some_and(|limit| taken >= limit) {
                return;
            }
            if mute {
                owed = Some(answer.to_string());
            } else {
                let _ = socket.send(Message::text(answer.to_string())).await;
            }
        }
    }

    async fn http(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, mut body) = loop {
            let mut buffer = vec![0; 64 * 1024];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            bytes.extend_from_slice(&buffer[..count]);
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end + 4..].to_vec());
            }
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
            })
            .unwrap_or(0_usize);
        while body.len() < length {
            let mut buffer = vec![0; 64 * 1024];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            body.extend_from_slice(&buffer[..count]);
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let (status, answer) = self.with(|state| answer(state, &target, &body));
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nretry-after: 0\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&answer).await;
    }
}

fn answer(state: &mut State, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    if target.contains("/manifest") {
        let lines = state.files.iter().map(|(path, bytes)| {
            let (sha256, size_bytes) = (Sha256::of(bytes), bytes.len());
            let mode = if path.ends_with(".sh") { "executable" } else { "regular" };
            format!("{}\n", json!({"path": path, "sha256": sha256, "size_bytes": size_bytes, "mode": mode}))
        });
        return (200, lines.collect::<String>().into_bytes());
    }
    if target.contains("/blobs/fetch") {
        state.blob_requests += 1;
        let asked: Value = serde_json::from_slice(body).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        for name in asked["sha256"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let bytes = state.files.values().find(|bytes| Sha256::of(bytes).to_string() == name).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        return (200, tar.into_inner().unwrap());
    }
    if state.busy > 0 {
        state.busy -= 1;
        return (503, Vec::new());
    }
    if target.contains("/artifacts/") {
        state.artifacts.push((target.to_owned(), body.to_vec()));
        return (201, b"{}".to_vec());
    }
    if target.contains("/patches") {
        state.patches.push(serde_json::from_slice(body).unwrap());
        return (201, b"{}".to_vec());
    }
    (404, Vec::new())
}

/// Made to give up what it runs when dropped; killed if it does not.
pub struct Agent(pub Child);

impl Agent {
    pub fn signal(&self, signal: &str) {
        // It may have ended by itself meanwhile.
        let _ = Command::new("kill").args([signal, &self.0.id().to_string()]).stderr(Stdio::null()).status();
    }

    pub fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "the agent does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(8);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            self.signal("-TERM");
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
