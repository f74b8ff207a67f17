//! Bytes of one stream as lines. Pure.

use std::borrow::Cow;

use shared_contracts::limits::LOG_LINE_BYTES_MAX;

/// Holds what has no line end yet.
#[derive(Debug, Default)]
pub struct LineSplitter {
    partial: Vec<u8>,
}

impl LineSplitter {
    /// Calls `line(text, continues)` for every whole line in `bytes`, and for every piece of one that is too long.
    pub fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str, bool)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (head, rest) = bytes.split_at(end);
            bytes = rest.get(1..).unwrap_or_default();
            if self.partial.is_empty() {
                emit(head, true, &mut line);
            } else {
                self.partial.extend_from_slice(head);
                emit(&self.partial, true, &mut line);
                self.partial.clear();
            }
        }
        self.partial.extend_from_slice(bytes);
        // A line that has outgrown one event goes out piece by piece, without waiting for its end.
        while self.partial.len() >= 2 * LOG_LINE_BYTES_MAX {
            let cut = boundary(&self.partial, LOG_LINE_BYTES_MAX);
            let rest = self.partial.split_off(cut);
            emit(&self.partial, false, &mut line);
            self.partial = rest;
        }
    }

    /// The last line, if it had no line end.
    pub fn finish(&mut self, mut line: impl FnMut(&str, bool)) {
        if !self.partial.is_empty() {
            emit(&self.partial, true, &mut line);
            self.partial.clear();
        }
    }
}

/// At most `at`, and not inside a UTF-8 sequence.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let continuation = |index: &usize| bytes.get(*index).is_some_and(|byte| byte & 0xc0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|index| !continuation(index)).unwrap_or(at)
}

/// `whole`: the line ends here.
fn emit(bytes: &[u8], whole: bool, line: &mut impl FnMut(&str, bool)) {
    let bytes = if whole { bytes.strip_suffix(b"\r").unwrap_or(bytes) } else { bytes };
    let text: Cow<'_, str> = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    // Replacing what is not UTF-8 may have made it longer.
    while rest.len() > LOG_LINE_BYTES_MAX {
        let (head, tail) = rest.split_at(rest.floor_char_boundary(LOG_LINE_BYTES_MAX));
        line(head, true);
        rest = tail;
    }
    line(rest, !whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut found = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.feed(chunk, |text, continues| found.push((text.to_owned(), continues)));
        }
        splitter.finish(|text, continues| found.push((text.to_owned(), continues)));
        found
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        let whole = |texts: &[&str]| texts.iter().map(|text| ((*text).to_owned(), false)).collect::<Vec<_>>();
        assert_eq!(lines(&[b"a\nb", b"c\r\n\nd"]), whole(&["a", "bc", "", "d"]));
        assert_eq!(lines(&["ä".as_bytes().get(..1).unwrap(), &"ä\n".as_bytes()[1..]]), whole(&["ä"]));
        assert_eq!(lines(&[b"\xff\n"]), whole(&["\u{fffd}"]));
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn long_lines_are_split_marked_and_lose_nothing() {
        for text in ["x".repeat(5 * LOG_LINE_BYTES_MAX + 7), "€".repeat(3 * LOG_LINE_BYTES_MAX)] {
            let pieces = lines(&[text.as_bytes(), b"\nnext\n"]);
            let (last, pieces) = pieces.split_last().unwrap();
            assert_eq!(last.0, "next");
            assert!(pieces.iter().all(|(text, _)| text.len() <= LOG_LINE_BYTES_MAX));
            assert!(pieces.iter().rev().skip(1).all(|(_, continues)| *continues));
            assert!(!pieces.last().unwrap().1);
            assert_eq!(pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(), text);
        }
        let garbage = lines(&[&vec![0xff; LOG_LINE_BYTES_MAX]]);
        assert!(garbage.iter().all(|(text, _)| text.len() <= LOG_LINE_BYTES_MAX));
    }
}
