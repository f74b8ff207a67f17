//! A container agent that says exactly what a test wants it to say, on the wire that real ones use.

use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::containers::{ContainerAnswer, ContainerCommand};
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, Lease, LeasedExecution, PROTOCOL_VERSION, ToContainerAgent,
};
use shared_contracts::events::{Event, EventBody, EventSource, LogLevel, LogStream, Usage};
use shared_contracts::executions::Outcome;
use shared_contracts::ids::{ContainerAgentId, ExecutionId};
use shared_contracts::sandboxes::SandboxTier;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use xtask::client::Client;

use super::{SOON, Tenant, soon};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What the plane did on the connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Message(ToContainerAgent),
    Closed { code: u16, reason: String },
}

pub struct ScriptedAgent {
    socket: Socket,
}

impl ScriptedAgent {
    /// Connected, and silent so far.
    pub async fn dial(tenant: &Tenant) -> Self {
        let client = tenant.client.with_token(&tenant.agent_token);
        let socket = client.open_socket("/api/container-agents/connect").await;
        Self { socket: socket.expect("the plane takes the connection") }
    }

    /// Welcomed under this name.
    pub async fn connect(tenant: &Tenant, name: &str, capacity: u32) -> Self {
        Self::reconnect(tenant, name, capacity, Vec::new()).await.0
    }

    /// Welcomed, and told which of these leases are gone.
    pub async fn reconnect(
        tenant: &Tenant,
        name: &str,
        capacity: u32,
        leases: Vec<Lease>,
    ) -> (Self, Vec<Lease>) {
        let mut agent = Self::dial(tenant).await;
        let (_, gone) = agent.is_welcome(Hello { capacity, leases, ..hello(name) }).await;
        (agent, gone)
    }

    /// Welcomed with this hello; its id.
    pub async fn connect_as(tenant: &Tenant, hello: Hello) -> (Self, ContainerAgentId) {
        let mut agent = Self::dial(tenant).await;
        let (id, _) = agent.is_welcome(hello).await;
        (agent, id)
    }

    async fn is_welcome(&mut self, hello: Hello) -> (ContainerAgentId, Vec<Lease>) {
        self.say(&FromContainerAgent::Hello(hello)).await;
        match self.hears().await {
            Said::Message(ToContainerAgent::Welcome { container_agent_id, gone, .. }) => {
                (container_agent_id, gone)
            }
            other => panic!("wanted a welcome, got {other:?}"),
        }
    }

    pub async fn say(&mut self, message: &FromContainerAgent) {
        let text = serde_json::to_string(message).expect("a message is JSON");
        self.socket.send(Message::text(text)).await.expect("the connection takes a message");
    }

    pub async fn hears(&mut self) -> Said {
        match next_text(&mut self.socket, "a message of the plane's").await {
            Ok(text) => {
                Said::Message(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
            }
            Err((code, reason)) => Said::Closed { code, reason },
        }
    }

    /// The next message must be an offer.
    pub async fn is_offered(&mut self) -> ExecutionId {
        match self.hears().await {
            Said::Message(ToContainerAgent::Offer { execution_id }) => execution_id,
            other => panic!("wanted an offer, got {other:?}"),
        }
    }

    /// The next message must be a question about containers.
    pub async fn is_asked(&mut self) -> (u64, ContainerCommand) {
        match self.hears().await {
            Said::Message(ToContainerAgent::Container { request, command }) => (request, command),
            other => panic!("wanted a question about containers, got {other:?}"),
        }
    }

    pub async fn answers(&mut self, request: u64, answer: ContainerAnswer) {
        self.say(&FromContainerAgent::Container { request, answer }).await;
    }

    /// Accepts the next offer and gets its lease.
    pub async fn takes_work(&mut self) -> LeasedExecution {
        let execution_id = self.is_offered().await;
        self.say(&FromContainerAgent::Accept { execution_id }).await;
        match self.hears().await {
            Said::Message(ToContainerAgent::Leased(leased)) => *leased,
            other => panic!("wanted a lease, got {other:?}"),
        }
    }
}

/// As this version says it.
pub fn hello(name: &str) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        version: "scripted".into(),
        name: name.to_owned(),
        capacity: 1,
        sandbox_tier: SandboxTier::Strong,
        sandboxes: Vec::new(),
        memory_mb_max: 4_096,
        cpu_cores_max: 4.0,
        leases: Vec::new(),
    }
}

/// The next text, or how the connection was closed.
async fn next_text(socket: &mut Socket, what: &str) -> Result<String, (u16, String)> {
    soon(what, SOON, async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or((1005, String::new()), |frame| {
                        (frame.code.into(), frame.reason.as_str().to_owned())
                    }));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{what}: the connection broke: {error}"),
                None => panic!("{what}: the connection ended without a close"),
            }
        }
    })
    .await
}

/// The writer of one execution's log.
pub struct Writer {
    socket: Socket,
}

impl Writer {
    /// Connected; what the hub said first.
    pub async fn open(client: &Client, execution: ExecutionId, token: &str) -> (Self, AppendAnswer) {
        let path = format!("/api/sandbox/executions/{execution}/logs/append");
        let socket = client.with_token(token).open_socket(&path).await.expect("the hub takes the connection");
        let mut writer = Self { socket };
        let first = writer.answer().await;
        (writer, first)
    }

    /// Events under this generation from this sequence on, as one message.
    pub async fn send(&mut self, generation: u32, first_sequence: u64, bodies: &[EventBody]) -> AppendAnswer {
        self.send_text(batch(generation, first_sequence, bodies)).await
    }

    pub async fn send_text(&mut self, text: String) -> AppendAnswer {
        self.post(text).await;
        self.answer().await
    }

    /// Without waiting for the answer.
    pub async fn post(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.expect("the hub takes a message");
    }

    pub async fn answer(&mut self) -> AppendAnswer {
        match next_text(&mut self.socket, "the hub's answer").await {
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
            Err(closed) => panic!("the hub closed the connection: {closed:?}"),
        }
    }
}

/// An append message, correct in every part.
pub fn batch(generation: u32, first_sequence: u64, bodies: &[EventBody]) -> String {
    let count = u32::try_from(bodies.len()).expect("a batch is small");
    let head = AppendHead { generation, first_sequence, count };
    let mut text = serde_json::to_string(&head).expect("a head is JSON");
    for (body, sequence) in bodies.iter().zip(first_sequence..) {
        let at_ms = crate::now_ms();
        let event = Event { sequence, generation, at_ms, source: EventSource::Agent, body: body.clone() };
        text.push('\n');
        text.push_str(&serde_json::to_string(&event).expect("an event is JSON"));
    }
    text
}

pub fn line(text: &str) -> EventBody {
    EventBody::Log {
        level: LogLevel::Info,
        stream: LogStream::Stdout,
        text: text.to_owned(),
        continues: false,
    }
}

pub fn ended(outcome: Outcome) -> EventBody {
    EventBody::Ended {
        outcome,
        exit_code: None,
        exit_signal: None,
        reason: "as the test says".into(),
        usage: Usage::default(),
        patch_batch_id: None,
    }
}
