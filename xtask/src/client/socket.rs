//! One WebSocket: the same log, with acknowledgements that make room for more.

use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::events::{WatchMessage, WatcherMessage};
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::WATCHER_WINDOW_BYTES;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::events::{Arrived, Watched, event_json};
use super::{Client, ClientError};

/// Acknowledging in quarters keeps the window open without a message for each event.
const ACKNOWLEDGE_BYTES: u64 = WATCHER_WINDOW_BYTES / 4;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[derive(Debug)]
pub(super) struct AcknowledgedSocket {
    url: String,
    socket: Socket,
    unacknowledged_bytes: u64,
}

impl Client {
    /// A WebSocket of the plane's, with this caller's token. `path` may hold a query.
    pub async fn open_socket(&self, path: &str) -> Result<Socket, ClientError> {
        let url = self.socket_url(path);
        let failed = |source| failed(&url, source);
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

    fn socket_url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url().replacen("http", "ws", 1))
    }
}

fn failed(url: &str, source: tungstenite::Error) -> ClientError {
    ClientError::Socket { url: url.to_owned(), source: Box::new(source) }
}

impl AcknowledgedSocket {
    pub async fn open(client: &Client, execution: ExecutionId, after: u64) -> Result<Self, ClientError> {
        let path = format!("/api/sandbox/executions/{execution}/logs/socket?after={after}");
        let socket = client.open_socket(&path).await?;
        Ok(Self { url: client.socket_url(&path), socket, unacknowledged_bytes: 0 })
    }

    /// None where it was closed in good order.
    pub async fn read(&mut self) -> Result<Option<Arrived>, ClientError> {
        match self.socket.next().await {
            None | Some(Ok(Message::Close(_))) => Ok(None),
            Some(Err(source)) => Err(failed(&self.url, source)),
            Some(Ok(Message::Text(text))) => {
                self.unacknowledged_bytes += text.len() as u64;
                // A message is one or more lines: what came within one moment comes together.
                let mut arrived = Arrived::default();
                for line in text.lines().filter(|line| !line.is_empty()) {
                    match event_json(line)? {
                        Watched::Event(event) => arrived.events.push(event),
                        Watched::Control(WatchMessage::Heartbeat { .. }) => {}
                        Watched::Control(WatchMessage::Sync { .. }) => arrived.is_told_to_resume = true,
                    }
                }
                Ok(Some(arrived))
            }
            // Pings are answered by the library.
            Some(Ok(_)) => Ok(Some(Arrived::default())),
        }
    }

    /// Everything to this sequence was taken; the plane hears it when it waits for that, or soon will.
    pub async fn took(&mut self, through: u64, is_waited_for: bool) -> Result<(), ClientError> {
        if !is_waited_for && self.unacknowledged_bytes < ACKNOWLEDGE_BYTES {
            return Ok(());
        }
        let text = serde_json::to_string(&WatcherMessage::Acknowledge { through })
            .map_err(|source| ClientError::contract("an acknowledgement", "", Some(source)))?;
        self.socket.send(Message::text(text)).await.map_err(|source| failed(&self.url, source))?;
        self.unacknowledged_bytes = 0;
        Ok(())
    }
}
