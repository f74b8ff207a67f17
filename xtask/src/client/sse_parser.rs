//! Server-sent events out of bytes as they come, in whatever pieces
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).
//!
//! Depends on nothing but std, so that `rustc --test` runs its tests on any machine without a network: the demo
//! does that inside the sandbox.

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// `message` unless the stream named another.
    pub name: String,
    pub data: String,
    /// The last id the stream has given so far.
    pub id: Option<String>,
}

/// What has come and is not an event yet.
#[derive(Debug, Default)]
pub struct SseParser {
    line: Vec<u8>,
    /// The line before ended in a carriage return: a line feed that follows belongs to it.
    after_carriage_return: bool,
    is_past_start: bool,
    name: String,
    data: Vec<String>,
    id: Option<String>,
}

impl SseParser {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            let follows_carriage_return = std::mem::take(&mut self.after_carriage_return);
            match byte {
                b'\n' if follows_carriage_return => {}
                b'\n' => events.extend(self.end_line()),
                b'\r' => {
                    self.after_carriage_return = true;
                    events.extend(self.end_line());
                }
                other => self.line.push(other),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let bytes = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&bytes);
        let mut line = line.as_ref();
        if !std::mem::replace(&mut self.is_past_start, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.name = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            // A comment (an empty name), `retry`, or what a later version may add.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<SseEvent> {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return None;
        }
        let name = if name.is_empty() { "message".to_owned() } else { name };
        Some(SseEvent { name, data: data.join("\n"), id: self.id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<SseEvent> {
        SseParser::new().push(text.as_bytes())
    }

    fn event(name: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent { name: name.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn fields_make_an_event() {
        let events = parsed("id: 7\nevent: log\ndata: {\"a\":1}\n\n");
        assert_eq!(events, [event("log", "{\"a\":1}", Some("7"))]);
    }

    #[test]
    fn data_lines_join_and_one_space_goes() {
        assert_eq!(parsed("data:one\ndata:  two\ndata\n\n"), [event("message", "one\n two\n", None)]);
    }

    #[test]
    fn comments_and_events_without_data_are_nothing() {
        assert_eq!(parsed(": heartbeat\n\nevent: log\n\nretry: 5\n\n"), []);
    }

    #[test]
    fn an_id_stays_until_the_next() {
        let ids: Vec<_> =
            parsed("id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n").into_iter().map(|e| e.id).collect();
        assert_eq!(ids, [Some("1".into()), Some("1".into()), Some("2".into())]);
    }

    #[test]
    fn every_line_terminator_counts_once() {
        assert_eq!(parsed("data: a\r\n\r\ndata: b\r\rdata: c\n\n").len(), 3);
        assert_eq!(parsed("\u{feff}data: a\n\n").len(), 1);
    }

    #[test]
    fn pieces_of_any_size_give_the_same() {
        let text = "id: 1\r\nevent: log\r\ndata: grüße 🌍\r\n\r\n: c\n\nid: 2\ndata: x\ndata: y\n\n";
        let whole = parsed(text);
        assert_eq!(whole.len(), 2);
        for size in 1..text.len() {
            let mut parser = SseParser::new();
            let pieces: Vec<_> = text.as_bytes().chunks(size).flat_map(|piece| parser.push(piece)).collect();
            assert_eq!(pieces, whole, "pieces of {size}");
        }
    }
}
