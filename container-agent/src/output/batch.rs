//! Events that enter the spool together: serialised once, straight into the bytes that are written and sent.

use redaction::Redactor;
use serde::Serialize;
use shared_contracts::events::{Event, EventBody, EventSource, LogLevel, LogStream};

use super::segment::BLOCK_BYTES_MAX;

/// Where a block lies in a batch.
pub struct Cut {
    pub first: u64,
    pub count: u32,
    pub offset: usize,
    pub bytes: usize,
}

/// Events that are written together.
pub struct Batch<'a> {
    pub generation: u32,
    pub at_ms: u64,
    pub next: u64,
    pub buffer: &'a mut Vec<u8>,
    pub cuts: Vec<Cut>,
    pub log_bytes: &'a mut u64,
    /// Of output lines; beyond it they are only counted.
    pub log_bytes_max: u64,
    /// What Patchbay itself says may quote what was said to it.
    pub redactor: Option<&'a Redactor>,
    pub dropped_lines: &'a mut u64,
    pub ended: bool,
}

/// [`Event`] with a log line in it, without owning the text. A test holds the two forms together.
#[derive(Serialize)]
struct LogLine<'a> {
    sequence: u64,
    generation: u32,
    at_ms: u64,
    source: EventSource,
    r#type: &'static str,
    level: LogLevel,
    stream: LogStream,
    text: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    continues: bool,
}

impl Batch<'_> {
    /// A line of the payload's output. Beyond the log's limit it is only counted.
    pub fn line(&mut self, stream: LogStream, text: &str, continues: bool) {
        if *self.log_bytes > self.log_bytes_max {
            *self.dropped_lines += 1;
            return;
        }
        let start = self.buffer.len();
        let level = if stream == LogStream::Stderr { LogLevel::Warn } else { LogLevel::Info };
        self.push(&LogLine {
            sequence: self.next,
            generation: self.generation,
            at_ms: self.at_ms,
            source: EventSource::Agent,
            r#type: "log",
            level,
            stream,
            text,
            continues,
        });
        // As spooled and stored: what an empty line costs is counted too.
        *self.log_bytes += (self.buffer.len() - start) as u64;
        if *self.log_bytes > self.log_bytes_max {
            let text =
                format!("the log has reached {} bytes; from here on it only counts", self.log_bytes_max);
            let (level, stream) = (LogLevel::Warn, LogStream::System);
            self.event(EventSource::System, EventBody::Log { level, stream, text, continues: false });
        }
    }

    pub fn event(&mut self, source: EventSource, mut body: EventBody) {
        if let Some(redactor) = self.redactor {
            body.each_text(|text| {
                if let std::borrow::Cow::Owned(redacted) = redactor.redact_text(text) {
                    *text = redacted;
                }
            });
        }
        self.ended |= matches!(body, EventBody::Ended { .. });
        self.push(&Event {
            sequence: self.next,
            generation: self.generation,
            at_ms: self.at_ms,
            source,
            body,
        });
    }

    fn push(&mut self, event: &impl Serialize) {
        let start = self.buffer.len();
        if serde_json::to_writer(&mut *self.buffer, event).is_err() {
            // Writing to memory fails for nothing that an event holds; a half line must not stay either way.
            self.buffer.truncate(start);
            return;
        }
        self.buffer.push(b'\n');
        let bytes = self.buffer.len() - start;
        match self.cuts.last_mut() {
            Some(cut) if cut.bytes + bytes <= BLOCK_BYTES_MAX => {
                cut.count += 1;
                cut.bytes += bytes;
            }
            _ => self.cuts.push(Cut { first: self.next, count: 1, offset: start, bytes }),
        }
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use shared_contracts::limits::LOG_BYTES_PER_EXECUTION_MAX;

    use super::*;

    #[test]
    fn the_log_is_bounded_by_what_is_stored_even_of_empty_lines() {
        let (mut buffer, mut dropped_lines) = (Vec::new(), 0);
        let mut log_bytes = LOG_BYTES_PER_EXECUTION_MAX - 1_000;
        let mut batch = Batch {
            generation: 1,
            at_ms: 1,
            next: 1,
            buffer: &mut buffer,
            cuts: Vec::new(),
            log_bytes: &mut log_bytes,
            log_bytes_max: LOG_BYTES_PER_EXECUTION_MAX,
            redactor: None,
            dropped_lines: &mut dropped_lines,
            ended: false,
        };
        for _ in 0..100 {
            batch.line(LogStream::Stdout, "", false);
        }
        let text = String::from_utf8(buffer).unwrap();
        let (lines, warnings): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.contains("stdout"));
        let stored: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert_eq!(log_bytes, LOG_BYTES_PER_EXECUTION_MAX - 1_000 + stored as u64);
        assert!((1_000..1_200).contains(&stored), "{stored} bytes were kept");
        assert_eq!(dropped_lines, 100 - lines.len() as u64);
        assert_eq!(warnings.len(), 1, "and it says so once");
    }
}
