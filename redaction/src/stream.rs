//! One stream of bytes, redacted as it comes.

use std::fmt;

use crate::Redactor;
use crate::scan::{MATCH_BYTES_MAX, Scan};
use crate::view::TOKEN_BYTES_MAX;

/// How many symbols of what may become a secret [`Stream::flush`] gives out.
pub const FLUSHED_SYMBOLS_MAX: usize = 3;

/// A chunk is read in parts of this size, so that a stream holds no more than this beside what it must.
const PART_BYTES: usize = 64 * 1024;

/// The most a stream holds back. It is what the longest match could take up if every byte of it were escaped many
/// times over; of plain text no more is held than the longest line of a secret, and no more than 64 characters.
pub const HELD_BYTES_MAX: usize = MATCH_BYTES_MAX + TOKEN_BYTES_MAX;

/// The redaction of one stream. What comes out does not depend on how the stream was cut into chunks.
///
/// Only what may still become a secret is held back: the end of the text, if a form of a secret begins with it. All
/// else is given out at once.
pub struct Stream {
    redactor: Redactor,
    scan: Scan,
    held: Vec<u8>,
    /// How much of what is held was given out already, or left out.
    given: usize,
}

impl Stream {
    pub(crate) fn new(redactor: Redactor) -> Self {
        let scan = Scan::new(redactor.matcher());
        Self { redactor, scan, held: Vec::new(), given: 0 }
    }

    /// Takes the next bytes, and appends to `out` what can be given out of them and of what was held.
    pub fn feed(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        for part in chunk.chunks(PART_BYTES) {
            self.held.extend_from_slice(part);
            self.scan.read(self.redactor.matcher(), &self.held, false);
            let settled = self.scan.settled(self.redactor.matcher(), &self.held);
            self.give(settled, out);
            self.held.drain(..settled);
            self.scan.forget(settled);
            self.given -= settled;
        }
    }

    /// To be called when the producer is quiet, so that a prompt or the last character of a line does not wait for
    /// what comes next: gives out what is held, if it is at most [`FLUSHED_SYMBOLS_MAX`] symbols of a form of a
    /// secret. If the secret does come, its rest is redacted as a whole one is. A longer beginning stays held until the
    /// stream goes on or ends.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.scan.begun(self.redactor.matcher()) <= FLUSHED_SYMBOLS_MAX {
            self.give(self.held.len(), out);
        }
    }

    /// The stream has ended: what is held is no secret, or the beginning of one at most.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.scan.read(self.redactor.matcher(), &self.held, true);
        self.give(self.held.len(), out);
    }

    /// Gives out, or replaces, what is held up to `end`.
    fn give(&mut self, end: usize, out: &mut Vec<u8>) {
        let mut given = self.given;
        for region in self.scan.regions.iter_mut().take_while(|region| region.start < end) {
            if !region.announced {
                // Nothing, if a flush has given out the beginning of the secret.
                out.extend_from_slice(self.held.get(given..region.start).unwrap_or_default());
                out.extend_from_slice(self.redactor.replacement(region.pattern.secret).as_bytes());
                region.announced = true;
            }
            given = given.max(region.end);
        }
        out.extend_from_slice(self.held.get(given..end).unwrap_or_default());
        self.given = given.max(end);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("held_bytes", &self.held.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::Redactor;

    fn redactor() -> Redactor {
        Redactor::new([("TOKEN", "hunter2-hunter2"), ("OTHER", "r2-hunter2-abcdef")]).unwrap()
    }

    #[test]
    fn only_what_may_become_a_secret_waits() {
        let mut stream = redactor().stream();
        let mut out = Vec::new();
        stream.feed(b"password? ", &mut out);
        assert_eq!(out, b"password? ");
        stream.feed(b"hunter2-hunt", &mut out);
        assert_eq!(out, b"password? ");
        stream.feed(b"ing", &mut out);
        assert_eq!(out, b"password? hunter2-hunting");
        stream.feed(b" hunter2-hunter2\n", &mut out);
        stream.feed(b"#", &mut out);
        assert_eq!(out, b"password? hunter2-hunting [redacted:TOKEN]\n#");
    }

    #[test]
    fn a_flush_gives_out_three_symbols_and_no_more() {
        let mut stream = redactor().stream();
        let mut out = Vec::new();
        stream.feed(b"a h\"un", &mut out);
        assert_eq!(out, b"a ");
        stream.flush(&mut out);
        assert_eq!(out, b"a h\"un");
        stream.flush(&mut out);
        stream.feed(b"t", &mut out);
        stream.flush(&mut out);
        assert_eq!(out, b"a h\"un");
        stream.feed(b"er2-hunter2#", &mut out);
        assert_eq!(out, b"a h\"un[redacted:TOKEN]#");
        stream.finish(&mut out);
        assert_eq!(out, b"a h\"un[redacted:TOKEN]#");
    }

    #[test]
    fn secrets_that_overlap_leave_nothing_of_the_second() {
        let mut stream = redactor().stream();
        let mut out = Vec::new();
        for byte in b"<hunter2-hunter2-abcdef>" {
            stream.feed(&[*byte], &mut out);
        }
        stream.finish(&mut out);
        assert_eq!(out, b"<[redacted:TOKEN]>");
    }

    #[test]
    fn the_beginning_of_a_secret_is_given_out_when_the_stream_ends() {
        let mut stream = redactor().stream();
        let mut out = Vec::new();
        stream.feed(br"hunter2-hunte\u00", &mut out);
        assert!(out.is_empty());
        stream.finish(&mut out);
        assert_eq!(out, br"hunter2-hunte\u00");
    }

    #[test]
    fn no_secret_is_in_what_is_shown_of_it() {
        let redactor = redactor();
        let mut stream = redactor.stream();
        stream.feed(b"hunter2-", &mut Vec::new());
        let shown = format!("{redactor:?} {stream:?} {:?}", redactor.find(b"hunter2-hunter2"));
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
