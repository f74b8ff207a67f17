//! Watching an execution to its end, over server-sent events or a WebSocket; what breaks off is opened again where it
//! was.

use std::collections::VecDeque;
use std::time::Duration;

use shared_contracts::events::Event;
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::STREAM_HEARTBEAT_SECONDS;
use tokio_tungstenite::tungstenite;

use super::events::{Arrived, Position};
use super::socket::AcknowledgedSocket;
use super::sse_stream::SseStream;
use super::{Client, ClientError};

/// Three heartbeats missed: the connection is dead even if no one said so.
const SILENCE_SECONDS_MAX: u64 = 3 * STREAM_HEARTBEAT_SECONDS;
const RECONNECT_WAIT: Duration = Duration::from_millis(200);
/// A minute of tries, the time of a slow restart.
const RECONNECT_TRIES_MAX: u32 = 300;

/// See [`Client::watch`] and [`Client::watch_socket`].
#[derive(Debug)]
pub struct Watcher {
    client: Client,
    execution: ExecutionId,
    over: Over,
    connection: Option<Connection>,
    position: Position,
    /// Read, and not handed out yet.
    ready: VecDeque<Event>,
    connections: u32,
}

#[derive(Debug, Clone, Copy)]
enum Over {
    Sse,
    Socket,
}

#[derive(Debug)]
enum Connection {
    Sse(Box<SseStream>),
    Socket(Box<AcknowledgedSocket>),
}

impl Client {
    /// Every event after this sequence, as it comes, until the terminal one; over server-sent events.
    pub fn watch(&self, execution: ExecutionId, after: u64) -> Watcher {
        Watcher::new(self, execution, after, Over::Sse)
    }

    /// The same over a WebSocket.
    pub fn watch_socket(&self, execution: ExecutionId, after: u64) -> Watcher {
        Watcher::new(self, execution, after, Over::Socket)
    }
}

impl Watcher {
    fn new(client: &Client, execution: ExecutionId, after: u64, over: Over) -> Self {
        Self {
            client: client.clone(),
            execution,
            over,
            connection: None,
            position: Position::after(after),
            ready: VecDeque::new(),
            connections: 0,
        }
    }

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
            match Box::pin(self.read_on()).await {
                Ok(()) => tries = 0,
                Err(error) if is_worth_a_retry(&error) && tries < RECONNECT_TRIES_MAX => {
                    tries += 1;
                    self.connection = None;
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
        self.connection = None;
        self.ready.clear();
    }

    /// Of the event handed out last.
    pub fn last_sequence(&self) -> u64 {
        self.position.last
    }

    /// How often it connected.
    pub fn connections(&self) -> u32 {
        self.connections
    }

    async fn read_on(&mut self) -> Result<(), ClientError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let opened = Connection::open(&self.client, self.execution, self.position.last, self.over);
                let opened = opened.await?;
                self.connections += 1;
                none.insert(opened)
            }
        };
        let silence = Duration::from_secs(SILENCE_SECONDS_MAX);
        let read = tokio::time::timeout(silence, connection.read()).await;
        let Some(arrived) = read.map_err(|_| ClientError::Silent { seconds: SILENCE_SECONDS_MAX })?? else {
            // Closed in good order.
            self.connection = None;
            tokio::time::sleep(RECONNECT_WAIT).await;
            return Ok(());
        };
        self.ready.extend(arrived.events);
        let last = self.ready.back().map_or(self.position.last, |event| event.sequence);
        match connection {
            Connection::Socket(socket) => socket.took(last, arrived.is_told_to_resume).await,
            // The stream has no way back: another one resumes, once all that was read is handed out.
            Connection::Sse(_) => {
                if arrived.is_told_to_resume {
                    self.connection = None;
                }
                Ok(())
            }
        }
    }
}

impl Connection {
    async fn open(
        client: &Client,
        execution: ExecutionId,
        after: u64,
        over: Over,
    ) -> Result<Self, ClientError> {
        Ok(match over {
            Over::Sse => Self::Sse(Box::new(SseStream::open(client, execution, after).await?)),
            Over::Socket => Self::Socket(Box::new(AcknowledgedSocket::open(client, execution, after).await?)),
        })
    }

    /// What comes next; none where it was closed in good order.
    async fn read(&mut self) -> Result<Option<Arrived>, ClientError> {
        match self {
            Self::Sse(stream) => stream.read().await,
            Self::Socket(socket) => socket.read().await,
        }
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
