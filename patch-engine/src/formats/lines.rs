//! The text of a patch as numbered lines, and what is done to the whole text before any format is read.

use std::borrow::Cow;

/// One line of the text that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'text> {
    /// Counted from 1.
    pub(super) number: usize,
    /// With its terminator; only the last line of a text may lack one.
    pub(super) whole: &'text str,
}

impl<'text> Line<'text> {
    /// Without its terminator.
    pub(super) fn text(&self) -> &'text str {
        without_terminator(self.whole)
    }

    pub(super) fn is_blank(&self) -> bool {
        self.whole.trim().is_empty()
    }
}

pub(super) fn without_terminator(line: &str) -> &str {
    match line.strip_suffix('\n') {
        Some(text) => text.strip_suffix('\r').unwrap_or(text),
        None => line,
    }
}

pub(super) fn lines_of(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::with_capacity(text.len() / 40 + 1);
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1);
    let mut start = 0;
    for end in ends.chain([text.len()]) {
        if let Some(whole) = text.get(start..end).filter(|whole| !whole.is_empty()) {
            lines.push(Line { number: lines.len() + 1, whole });
        }
        start = end;
    }
    lines
}

/// Puts a line of content at the end of a text. A patch's own last line may lack a terminator; what it says does not.
pub(super) fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    if !line.ends_with('\n') {
        text.push('\n');
    }
}

/// The lines' content as one text.
pub(super) fn concat(lines: &[Line<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        push_line(&mut text, line.whole);
    }
    text
}

/// Takes off what the way of sending has put onto every line alike: a byte order mark, CRLF, an indentation. Where only
/// some lines have it, it is content. Lines keep their numbers.
pub(super) fn unwrapped<'text>(text: &'text str, notes: &mut Vec<String>) -> Cow<'text, str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut unwrapped = Cow::Borrowed(text);
    if text.contains('\n')
        && text.split_inclusive('\n').all(|line| line.ends_with("\r\n") || !line.ends_with('\n'))
    {
        notes.push("the patch was sent with CRLF on every line; it was read with LF".into());
        unwrapped = Cow::Owned(text.replace("\r\n", "\n"));
    }
    let indentation = common_indentation(&unwrapped).len();
    if indentation > 0 {
        notes.push(format!(
            "every line of the patch was indented by {indentation} characters; they were taken off"
        ));
        let shift = |line: &str| line.get(indentation..).unwrap_or("\n").to_owned();
        unwrapped = Cow::Owned(unwrapped.split_inclusive('\n').map(shift).collect());
    }
    unwrapped
}

/// What every line that is not blank begins with, of spaces and tabs.
fn common_indentation(text: &str) -> &str {
    let mut common: Option<&str> = None;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let blanks = line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let indentation = line.get(..blanks).unwrap_or_default();
        let shared = match common {
            None => indentation,
            Some(common) => {
                let same = common.bytes().zip(indentation.bytes()).take_while(|(a, b)| a == b).count();
                common.get(..same).unwrap_or_default()
            }
        };
        if shared.is_empty() {
            return "";
        }
        common = Some(shared);
    }
    common.unwrap_or_default()
}
