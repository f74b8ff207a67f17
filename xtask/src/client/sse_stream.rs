//! One connection of server-sent events.

use reqwest::{Method, Response};
use shared_contracts::events::Event;
use shared_contracts::ids::ExecutionId;

use super::events::Arrived;
use super::sse_parser::{SseEvent, SseParser};
use super::{Client, ClientError};

#[derive(Debug)]
pub(super) struct SseStream {
    path: String,
    response: Response,
    parser: SseParser,
}

impl SseStream {
    pub async fn open(client: &Client, execution: ExecutionId, after: u64) -> Result<Self, ClientError> {
        let path = format!("/api/sandbox/executions/{execution}/logs/stream");
        let mut call = client.get(path.clone()).endless().header("Accept", "text/event-stream");
        if after > 0 {
            call = call.header("Last-Event-ID", &after.to_string());
        }
        Ok(Self { path, response: call.response().await?, parser: SseParser::new() })
    }

    /// None where it was closed in good order.
    pub async fn read(&mut self) -> Result<Option<Arrived>, ClientError> {
        let chunk = self.response.chunk().await.map_err(|source| {
            let path = self.path.clone();
            ClientError::Transport { method: Method::GET, path, source }
        })?;
        let Some(bytes) = chunk else { return Ok(None) };
        let mut arrived = Arrived::default();
        for found in self.parser.push(&bytes) {
            match found.name.as_str() {
                "heartbeat" => {}
                "sync" => arrived.is_told_to_resume = true,
                name => arrived.events.push(named_event(name, &found)?),
            }
        }
        Ok(Some(arrived))
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
