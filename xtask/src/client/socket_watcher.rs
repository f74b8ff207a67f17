//! Watching an execution over a WebSocket: the same log, with acknowledgements that make room for more.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::events::{Event, WatchMessage, WatcherMessage};
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::{STREAM_HEARTBEAT_SECONDS, WATCHER_WINDOW_BYTES};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::events::Position;
use super::{Client, ClientError, Watched, event_json};

/// Acknowledging in quarters keeps the window open without a message for each event.
const ACKNOWLEDGE_BYTES: u64 = WATCHER_WINDOW_BYTES / 4;
const SILENCE_SECONDS_MAX: u64 = 3 * STREAM_HEARTBEAT_SECONDS;
const RECONNECT_WAIT: Duration = Duration::from_millis(200);
const RECONNECT_TRIES_MAX: u32 = 300;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// See [`Client::watch_socket`].
#[derive(Debug)]
pub struct SocketWatcher {
    client: Client,
    execution: ExecutionId,
    position: Position,
    socket: Option<Socket>,
    ready: VecDeque<Event>,
    unacknowledged_bytes: u64,
    connections: u32,
    syncs: u64,
}

impl Client {
    /// Every event after this sequence, as it comes, until the terminal one.
    pub fn watch_socket(&self, execution: ExecutionId, after: u64) -> SocketWatcher {
        SocketWatcher {
            client: self.clone(),
            execution,
            position: Position::after(after),
            socket: None,
            ready: VecDeque::new(),
            unacknowledged_bytes: 0,
            connections: 0,
            syncs: 0,
        }
    }

    /// A WebSocket of the plane's, with this caller's token. `path` may hold a query.
    pub async fn open_socket(&self, path: &str) -> Result<Socket, ClientError> {
        let url = format!("{}{path}", self.base_url().replacen("http", "ws", 1));
        let failed = |source| ClientError::Socket { url: url.clone(), source: Box::new(source) };
        let mut request = url.as_str().into_client_request().map_err(failed)?;
        if let Some(token) = self.token() {
            let value = format!("Bearer {token}").parse().map_err(|error| {
                failed(tungstenite::Error::Io(std::io::Error::other(format!("the token: {error}"))))
            })?;
            request.headers_mut().insert("Authorization", value);
        }
        let connected = tokio_tungstenite::connect_async(request).await;
        connected.map(|(socket, _)| socket).map_err(failed)
    }
}

impl SocketWatcher {
    /// The next event; none after the terminal one.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        let mut tries = 0;
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.position.take(&event)?;
                return Ok(Some(event));
            }
            if self.position.is_ended {
                return Ok(None);
            }
            match self.read_on().await {
                Ok(()) => tries = 0,
                Err(error) if is_worth_a_retry(&error) && tries < RECONNECT_TRIES_MAX => {
                    tries += 1;
                    self.socket = None;
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Every event to the end.
    pub async fn collect(mut self) -> Result<Vec<Event>, ClientError> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Drops the connection as a bad network would; the next call opens another.
    pub fn disconnect(&mut self) {
        self.socket = None;
        self.ready.clear();
    }

    pub fn last_sequence(&self) -> u64 {
        self.position.last
    }

    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// How often it was told that it is too slow.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    async fn read_on(&mut self) -> Result<(), ClientError> {
        if self.socket.is_none() {
            let last = self.last_read();
            let path = format!("/api/sandbox/executions/{}/logs/socket?after={last}", self.execution);
            self.socket = Some(self.client.open_socket(&path).await?);
            self.unacknowledged_bytes = 0;
            self.connections += 1;
        }
        let Some(socket) = self.socket.as_mut() else { return Ok(()) };
        let silence = Duration::from_secs(SILENCE_SECONDS_MAX);
        match tokio::time::timeout(silence, socket.next()).await {
            Err(_) => Err(ClientError::Silent { seconds: SILENCE_SECONDS_MAX }),
            Ok(None | Some(Ok(Message::Close(_)))) => {
                self.socket = None;
                tokio::time::sleep(RECONNECT_WAIT).await;
                Ok(())
            }
            Ok(Some(Err(source))) => Err(self.failed(source)),
            Ok(Some(Ok(Message::Text(text)))) => self.take(text.as_str()).await,
            // Pings are answered by the library.
            Ok(Some(Ok(_))) => Ok(()),
        }
    }

    /// A message is one or more lines: what came within one moment comes together.
    async fn take(&mut self, text: &str) -> Result<(), ClientError> {
        self.unacknowledged_bytes += text.len() as u64;
        let mut is_told_to_resume = false;
        for line in text.lines().filter(|line| !line.is_empty()) {
            match event_json(line)? {
                Watched::Event(event) => self.ready.push_back(event),
                Watched::Control(WatchMessage::Heartbeat { .. }) => {}
                Watched::Control(WatchMessage::Sync { .. }) => {
                    self.syncs += 1;
                    is_told_to_resume = true;
                }
            }
        }
        if is_told_to_resume || self.unacknowledged_bytes >= ACKNOWLEDGE_BYTES {
            self.acknowledge().await?;
        }
        Ok(())
    }

    fn last_read(&self) -> u64 {
        self.ready.back().map_or(self.position.last, |event| event.sequence)
    }

    async fn acknowledge(&mut self) -> Result<(), ClientError> {
        let message = WatcherMessage::Acknowledge { through: self.last_read() };
        let text = serde_json::to_string(&message)
            .map_err(|source| ClientError::contract("an acknowledgement", "", Some(source)))?;
        let Some(socket) = self.socket.as_mut() else { return Ok(()) };
        if let Err(source) = socket.send(Message::text(text)).await {
            return Err(self.failed(source));
        }
        self.unacknowledged_bytes = 0;
        Ok(())
    }

    fn failed(&self, source: tungstenite::Error) -> ClientError {
        ClientError::Socket { url: self.client.base_url().to_owned(), source: Box::new(source) }
    }
}

/// An answer that refuses the upgrade says so each time, unless it is the plane that is away.
fn is_worth_a_retry(error: &ClientError) -> bool {
    match error {
        ClientError::Socket { source, .. } => match source.as_ref() {
            tungstenite::Error::Http(response) => response.status().is_server_error(),
            _ => true,
        },
        other => other.is_transient(),
    }
}
