//! The rule of appending: what a message may hold, and what becomes of it. Pure.

use std::borrow::Cow;

use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::events::{Event, EventBody};
use shared_contracts::limits::APPEND_BYTES_MAX;

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The newest sequence as the writer counts; 0 before the first event.
    pub head: u64,
    /// What the plane said in between under this lease: the log's numbers are ahead of the writer's by so much.
    pub told: u64,
    /// The lease that may write.
    pub generation: u32,
    /// Nothing may write any more, under this lease or because the log has ended.
    pub closed: bool,
}

/// New events, in order, with the log's numbers, each as JSON.
#[derive(Debug, PartialEq)]
pub struct Accepted<'a> {
    pub events: Vec<(Event, Cow<'a, str>)>,
}

/// Either what is to be stored, or the answer for what is not.
///
/// `authorised` is the generation whose token opened the connection: what a message says of itself proves nothing.
pub fn judge(message: &str, authorised: u32, position: Position) -> Result<Accepted<'_>, AppendAnswer> {
    if message.len() > APPEND_BYTES_MAX {
        let detail = format!("A message may have at most {APPEND_BYTES_MAX} bytes; send fewer events");
        return Err(AppendAnswer::Refused { detail });
    }
    let mut lines = message.split('\n').filter(|line| !line.is_empty());
    let head: AppendHead = lines
        .next()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| refused("The first line is not an append head".into()))?;
    if head.generation != position.generation || authorised != position.generation || position.closed {
        let reason =
            if authorised == position.generation { "This log is closed" } else { "Another lease writes now" };
        return Err(AppendAnswer::Fenced { generation: position.generation, reason: reason.into() });
    }
    if head.first_sequence > position.head + 1 {
        return Err(AppendAnswer::Gap { wanted: position.head + 1 });
    }
    let mut events = Vec::new();
    let mut wanted = head.first_sequence;
    let mut ended = false;
    for line in lines {
        if ended {
            return Err(refused(format!("Event {wanted} follows the terminal event, which nothing follows")));
        }
        let event: Event = serde_json::from_str(line)
            .map_err(|error| refused(format!("Event {wanted} cannot be read: {error}")))?;
        if event.sequence != wanted || event.generation != head.generation {
            let found = (event.sequence, event.generation);
            return Err(refused(format!(
                "Wanted event {wanted} of generation {}, found {found:?}",
                head.generation
            )));
        }
        wanted += 1;
        ended = matches!(event.body, EventBody::Ended { .. });
        // What was stored before is acknowledged again, not stored again.
        if event.sequence > position.head {
            events.push(numbered(event, line, position.told)?);
        }
    }
    if wanted - head.first_sequence != u64::from(head.count) {
        return Err(refused(format!(
            "The head announces {} events, {} came",
            head.count,
            wanted - head.first_sequence
        )));
    }
    Ok(Accepted { events })
}

/// As it came, unless the log counts otherwise.
fn numbered(mut event: Event, line: &str, told: u64) -> Result<(Event, Cow<'_, str>), AppendAnswer> {
    if told == 0 {
        return Ok((event, Cow::Borrowed(line)));
    }
    event.sequence += told;
    let line = serde_json::to_string(&event);
    let line =
        line.map_err(|error| refused(format!("Event {} cannot be written: {error}", event.sequence)))?;
    Ok((event, Cow::Owned(line)))
}

fn refused(detail: String) -> AppendAnswer {
    AppendAnswer::Refused { detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::events::{EventSource, LogLevel, LogStream};

    const OPEN: Position = Position { head: 4, told: 0, generation: 2, closed: false };

    fn event(sequence: u64) -> String {
        let body = EventBody::Log {
            level: LogLevel::Info,
            stream: LogStream::Stdout,
            text: format!("line {sequence}"),
            continues: false,
        };
        let event = Event { sequence, generation: 2, at_ms: 1, source: EventSource::Agent, body };
        serde_json::to_string(&event).unwrap()
    }

    fn message(generation: u32, sequences: std::ops::RangeInclusive<u64>) -> String {
        let head = AppendHead {
            generation,
            first_sequence: *sequences.start(),
            count: u32::try_from(sequences.clone().count()).unwrap(),
        };
        let mut text = serde_json::to_string(&head).unwrap();
        for sequence in sequences {
            text.push('\n');
            text.push_str(&event(sequence));
        }
        text
    }

    fn stored(message: &str) -> Vec<u64> {
        judge(message, 2, OPEN).unwrap().events.iter().map(|(event, _)| event.sequence).collect()
    }

    #[test]
    fn stores_what_follows_and_nothing_twice() {
        assert_eq!(stored(&message(2, 5..=7)), [5, 6, 7]);
        assert_eq!(stored(&message(2, 3..=6)), [5, 6], "an overlap");
        assert_eq!(stored(&message(2, 1..=4)), [0; 0], "a duplicate");
    }

    #[test]
    fn what_the_plane_said_in_between_moves_the_numbers() {
        let told = Position { told: 3, ..OPEN };
        let message = message(2, 3..=6);
        let events = judge(&message, 2, told).unwrap().events;
        let numbers: Vec<_> = events.iter().map(|(event, _)| event.sequence).collect();
        assert_eq!(numbers, [8, 9], "4 of the writer's and 3 of the plane's stand before");
        for (event, json) in &events {
            assert_eq!(&serde_json::from_str::<Event>(json).unwrap(), event);
        }
    }

    #[test]
    fn answers_gaps_fences_and_broken_messages() {
        assert_eq!(judge(&message(2, 6..=7), 2, OPEN), Err(AppendAnswer::Gap { wanted: 5 }));
        assert!(matches!(
            judge(&message(1, 5..=5), 1, OPEN),
            Err(AppendAnswer::Fenced { generation: 2, .. })
        ));
        let message_of_two = message(2, 5..=5);
        let older = judge(&message_of_two, 1, OPEN);
        assert!(
            matches!(older, Err(AppendAnswer::Fenced { generation: 2, .. })),
            "an older lease's connection"
        );
        let closed = Position { closed: true, ..OPEN };
        assert!(matches!(judge(&message(2, 5..=5), 2, closed), Err(AppendAnswer::Fenced { .. })));
        let short = message(2, 5..=7).replace("\"count\":3", "\"count\":4");
        let skipping = message(2, 5..=7).replace("\"sequence\":6", "\"sequence\":9");
        for broken in ["", "{}", "nonsense", &short, &skipping, &format!("{}\nx", message(2, 5..=5))] {
            assert!(matches!(judge(broken, 2, OPEN), Err(AppendAnswer::Refused { .. })), "{broken}");
        }
    }
}
