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

pub mod agent;
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use shared_contracts::containers::ContainerCommand;
use shared_contracts::dispatch::{Lease, LeasedExecution, ToContainerAgent};
use shared_contracts::executions::{CodingAgent, ExecutionSpec, Limits};
use shared_contracts::ids::{ExecutionId, ProjectId, TaskId};
use shared_contracts::sandboxes::SandboxTier;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

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
}

/// The texts of its log.
pub fn logged(events: &[Value]) -> Vec<&str> {
    events.iter().filter(|event| event["type"] == "log").filter_map(|event| event["text"].as_str()).collect()
}
