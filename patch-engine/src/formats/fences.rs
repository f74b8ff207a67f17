//! Markdown's fenced blocks.

use super::names;

/// An opening fence: three or more backticks or tildes at the beginning of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence<'line> {
    mark: char,
    length: usize,
    /// What follows the marks: a language, sometimes a file's name.
    pub(super) info: &'line str,
}

impl<'line> Fence<'line> {
    pub(super) fn open(line: &'line str) -> Option<Self> {
        let mark = line.chars().next().filter(|mark| matches!(mark, '`' | '~'))?;
        let info = line.trim_start_matches(mark);
        let length = line.len() - info.len();
        let is_open = length >= 3 && !info.contains('`');
        is_open.then_some(Self { mark, length, info: info.trim() })
    }

    /// Whether the line closes it: the same mark, at least as often, and nothing else.
    pub(super) fn is_closed_by(&self, line: &str) -> bool {
        let rest = line.trim_end().trim_start_matches(self.mark);
        rest.is_empty() && line.trim_end().len() >= self.length
    }

    /// Whether a fence inside this one would be taken for its end: the same mark, at least as often.
    pub(super) fn is_same_as(&self, outer: &Fence<'_>) -> bool {
        self.mark == outer.mark && self.length >= outer.length
    }

    /// The file's name in the info, as in ```` ```rust src/main.rs ````, `rust:src/main.rs`, `title="src/main.rs"`.
    pub(super) fn name(&self) -> Option<&'line str> {
        let word =
            self.info.rsplit([' ', '=', '{', '}']).find(|word| !word.is_empty())?.trim_matches(['"', '\'']);
        let name = word.split_once(':').map_or(word, |(_, name)| name);
        names::is_plain_name(name).then_some(name)
    }

    pub(super) fn is_diff(&self) -> bool {
        matches!(self.info, "diff" | "patch" | "udiff")
    }

    /// The fence that is open after this line.
    pub(super) fn after(fence: Option<Self>, line: &'line str) -> Option<Self> {
        match fence {
            Some(open) if open.is_closed_by(line) => None,
            Some(open) => Some(open),
            None => Self::open(line),
        }
    }
}
