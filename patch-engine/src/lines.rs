//! A text as lines, without a copy of any: where each begins.

use std::ops::Range;

#[derive(Clone)]
pub(crate) struct Lines<'text> {
    text: &'text str,
    /// The byte at which each line begins, and the end of the text.
    starts: Vec<u32>,
}

impl<'text> Lines<'text> {
    /// Each line holds its terminator; only the last may lack its own.
    pub(crate) fn new(text: &'text str) -> Self {
        let mut starts = Vec::with_capacity(text.len() / 32 + 2);
        starts.push(0);
        starts.extend(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at as u32 + 1));
        if starts.last().is_some_and(|last| (*last as usize) < text.len()) {
            starts.push(text.len() as u32);
        }
        Self { text, starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn text(&self) -> &'text str {
        self.text
    }

    /// The byte at which a line begins; past the last line the end of the text.
    pub(crate) fn offset(&self, line: usize) -> usize {
        self.starts.get(line).map_or(self.text.len(), |start| *start as usize)
    }

    /// A line with its terminator; empty where there is none.
    pub(crate) fn get(&self, line: usize) -> &'text str {
        self.slice(line..line.saturating_add(1))
    }

    /// The text of some lines; empty where they are not all there.
    pub(crate) fn slice(&self, lines: Range<usize>) -> &'text str {
        match (self.starts.get(lines.start), self.starts.get(lines.end)) {
            (Some(start), Some(end)) => self.text.get(*start as usize..*end as usize).unwrap_or_default(),
            _ => "",
        }
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &'text str> + ExactSizeIterator + '_ {
        (0..self.len()).map(|line| self.get(line))
    }

    /// The same as bytes; quicker, because no line is looked up.
    pub(crate) fn byte_lines(&self) -> impl Iterator<Item = &'text [u8]> + '_ {
        let mut rest = self.text.as_bytes();
        self.starts.iter().zip(self.starts.iter().skip(1)).map(move |(start, end)| {
            let (line, below) = rest.split_at_checked((end - start) as usize).unwrap_or_default();
            rest = below;
            line
        })
    }

    /// Whether the last line lacks its terminator.
    pub(crate) fn is_open(&self) -> bool {
        !self.text.is_empty() && !self.text.ends_with('\n')
    }
}

/// How many lines a text has, the last with its terminator or without.
pub(crate) fn count_lines(text: &str) -> usize {
    let is_open = !text.is_empty() && !text.ends_with('\n');
    memchr::memchr_iter(b'\n', text.as_bytes()).count() + usize::from(is_open)
}

/// A line without its terminator.
pub(crate) fn content(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// A line's terminator, if it has one.
pub(crate) fn terminator(line: &str) -> &str {
    line.get(content(line).len()..).unwrap_or_default()
}

/// Blanks at a line's beginning.
pub(crate) fn indentation(line: &str) -> &str {
    let rest = line.trim_start_matches([' ', '\t', '\u{a0}']);
    line.get(..line.len() - rest.len()).unwrap_or_default()
}

pub(crate) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// Whether a line says something that few others say: not blank, not only brackets and punctuation.
pub(crate) fn is_telling(line: &str) -> bool {
    line.chars().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_hold_their_terminators() {
        for text in ["", "a", "a\n", "a\n\nb", "\r\nä\r\n", "\n"] {
            let lines = Lines::new(text);
            assert_eq!(lines.iter().collect::<Vec<_>>(), text.split_inclusive('\n').collect::<Vec<_>>());
            assert_eq!(lines.slice(0..lines.len()), text);
            assert_eq!(lines.len(), count_lines(text));
            assert_eq!(lines.is_open(), !text.is_empty() && !text.ends_with('\n'));
        }
        assert_eq!((content("a\r\n"), terminator("a\r\n"), terminator("a")), ("a", "\r\n", ""));
    }
}
