//! A text whose lines know where they come from. The origin stands beside the text, never in it.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A line of the base, from 0. It keeps its origin however it is edited afterwards.
    Base(usize),
    /// A line that the patch brings: it is there only where the patch landed before.
    Landed { change: usize },
    /// Somebody else's line.
    Foreign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub origin: Origin,
}

impl Line {
    pub fn foreign(text: impl Into<String>) -> Self {
        Self { text: text.into(), origin: Origin::Foreign }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    pub lines: Vec<Line>,
    pub terminator: &'static str,
    /// Whether the last line has its terminator.
    pub is_closed: bool,
}

impl Text {
    pub fn written(&self) -> String {
        join(self.lines.iter().map(|line| line.text.as_str()), self.terminator, self.is_closed)
    }

    pub fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.text.as_str()).collect()
    }

    /// Where a line of the base is now.
    pub fn find(&self, base_line: usize) -> Option<usize> {
        self.lines.iter().position(|line| line.origin == Origin::Base(base_line))
    }
}

pub fn join<'text>(lines: impl Iterator<Item = &'text str>, terminator: &str, is_closed: bool) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push_str(terminator);
    }
    if !is_closed {
        text.truncate(text.len().saturating_sub(terminator.len()));
    }
    text
}
