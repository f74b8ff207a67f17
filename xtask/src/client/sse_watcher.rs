//! Watching an execution over server-sent events; a closed stream is opened again where it broke off.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Response;
use shared_contracts::events::Event;
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::STREAM_HEARTBEAT_SECONDS;

use super::events::Position;
use super::sse_parser::{SseEvent, SseParser};
use super::{Client, ClientError};

/// Three heartbeats missed: the connection is dead even if no one said so.
const SILENCE_SECONDS_MAX: u64 = 3 * STREAM_HEARTBEAT_SECONDS;
const RECONNECT_WAIT: Duration = Duration::from_millis(200);
/// A minute of tries, the time of a slow restart.
const RECONNECT_TRIES_MAX: u32 = 300;

/// See [`Client::watch`].
#[derive(Debug)]
pub struct SseWatcher {
    client: Client,
    execution: ExecutionId,
    position: Position,
    stream: Option<Stream>,
    ready: VecDeque<Event>,
    connections: u32,
    heartbeats: u64,
    syncs: u64,
}

#[derive(Debug)]
struct Stream {
    response: Response,
    parser: SseParser,
}

impl Client {
    /// Every event after this sequence, as it comes, until the terminal one.
    pub fn watch(&self, execution: ExecutionId, after: u64) -> SseWatcher {
        SseWatcher {
            client: self.clone(),
            execution,
            position: Position::after(after),
            stream: None,
            ready: VecDeque::new(),
            connections: 0,
            heartbeats: 0,
            syncs: 0,
        }
    }
}

impl SseWatcher {
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
                Err(error) if error.is_transient() && tries < RECONNECT_TRIES_MAX => {
                    tries += 1;
                    self.stream = None;
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
        self.stream = None;
        self.ready.clear();
    }

    pub fn last_sequence(&self) -> u64 {
        self.position.last
    }

    /// How often it connected.
    pub fn connections(&self) -> u32 {
        self.connections
    }

    /// How often it was told that it is too slow.
    pub fn syncs(&self) -> u64 {
        self.syncs
    }

    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    async fn read_on(&mut self) -> Result<(), ClientError> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let silence = Duration::from_secs(SILENCE_SECONDS_MAX);
        let chunk = tokio::time::timeout(silence, stream.response.chunk()).await;
        let bytes = match chunk {
            Err(_) => return Err(ClientError::Silent { seconds: SILENCE_SECONDS_MAX }),
            Ok(Err(source)) => {
                let path = self.path();
                return Err(ClientError::Transport { method: reqwest::Method::GET, path, source });
            }
            // Closed in good order: connect again on the next call.
            Ok(Ok(None)) => {
                tokio::time::sleep(RECONNECT_WAIT).await;
                return Ok(());
            }
            Ok(Ok(Some(bytes))) => bytes,
        };
        let mut is_told_to_resume = false;
        for found in stream.parser.push(&bytes) {
            match found.name.as_str() {
                "heartbeat" => self.heartbeats += 1,
                "sync" => {
                    self.syncs += 1;
                    is_told_to_resume = true;
                }
                name => self.ready.push_back(named_event(name, &found)?),
            }
        }
        if !is_told_to_resume {
            self.stream = Some(stream);
        }
        Ok(())
    }

    fn path(&self) -> String {
        format!("/api/sandbox/executions/{}/logs/stream", self.execution)
    }

    async fn connect(&mut self) -> Result<Stream, ClientError> {
        // What was read and not handed out yet counts as seen.
        let last = self.ready.back().map_or(self.position.last, |event| event.sequence);
        let mut call = self.client.get(self.path()).endless().header("Accept", "text/event-stream");
        if last > 0 {
            call = call.header("Last-Event-ID", &last.to_string());
        }
        let response = call.response().await?;
        self.connections += 1;
        Ok(Stream { response, parser: SseParser::new() })
    }
}

/// The event, if its `event:` and `id:` fields say what its JSON says.
fn named_event(name: &str, found: &SseEvent) -> Result<Event, ClientError> {
    let event: Event = serde_json::from_str(&found.data)
        .map_err(|source| ClientError::contract("a server-sent event", &found.data, Some(source)))?;
    let is_labelled = found.id.as_deref() == Some(event.sequence.to_string().as_str());
    if event.body.stream_name() != name || !is_labelled {
        let what = format!("a server-sent event labelled `{name}`, id {:?}", found.id);
        return Err(ClientError::contract(what, &found.data, None));
    }
    Ok(event)
}
