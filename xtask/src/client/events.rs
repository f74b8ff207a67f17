//! What both kinds of watchers hand on, and the rule that both keep: sequences without gap or repetition.

use serde_json::Value;
use shared_contracts::events::{Event, EventBody, WatchMessage};

use super::ClientError;

/// What a watcher saw.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    Event(Event),
    Control(WatchMessage),
}

/// A piece of a stream as the contract reads it.
pub fn event_json(text: &str) -> Result<Watched, ClientError> {
    let wrong = |source| ClientError::contract("a watcher's message", text, Some(source));
    let value: Value = serde_json::from_str(text).map_err(wrong)?;
    if value.get("watch").is_some() {
        serde_json::from_value(value).map(Watched::Control).map_err(wrong)
    } else {
        serde_json::from_value(value).map(Watched::Event).map_err(wrong)
    }
}

/// What one reading of a connection gave.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    pub events: Vec<Event>,
    /// The watcher was too slow; the plane sends no more until it resumes.
    pub is_told_to_resume: bool,
}

/// Where a watcher is in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub last: u64,
    pub is_ended: bool,
}

impl Position {
    pub fn after(sequence: u64) -> Self {
        Self { last: sequence, is_ended: false }
    }

    /// Takes the next event; anything but the next sequence is the plane's fault and is reported.
    pub fn take(&mut self, event: &Event) -> Result<(), ClientError> {
        let wanted = self.last + 1;
        if event.sequence != wanted {
            return Err(ClientError::OutOfOrder { wanted, got: event.sequence });
        }
        self.last = event.sequence;
        self.is_ended = matches!(event.body, EventBody::Ended { .. });
        Ok(())
    }
}
