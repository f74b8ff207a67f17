//! An edit of a base, and its hunks as patches carry them.

use std::ops::Range;

use crate::text::{Line, Origin, Text};

/// Lines of the base and what comes in their place. Empty on one side where lines are only added or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub old: Range<usize>,
    pub new: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    Context,
    Removed,
    Added,
}

/// Lines with their terminators, as they stand in the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The first line of the old side in the base, from 0.
    pub start: usize,
    /// A line that stands above it, as the codex envelope names one.
    pub within: Option<String>,
    pub lines: Vec<(Sign, String)>,
}

impl Hunk {
    pub fn old_side(&self) -> String {
        self.side(Sign::Added)
    }

    pub fn new_side(&self) -> String {
        self.side(Sign::Removed)
    }

    fn side(&self, other: Sign) -> String {
        self.lines.iter().filter(|(sign, _)| *sign != other).map(|(_, line)| line.as_str()).collect()
    }

    pub fn count(&self, other: Sign) -> usize {
        self.lines.iter().filter(|(sign, _)| *sign != other).count()
    }
}

/// The base with these changes made. New lines know that the patch brought them.
pub fn with_changes<'change>(base: &Text, changes: impl Iterator<Item = (usize, &'change Change)>) -> Text {
    let mut lines = Vec::with_capacity(base.lines.len());
    let mut at = 0;
    for (index, change) in changes {
        lines.extend_from_slice(&base.lines[at..change.old.start]);
        let landed = |text: &String| Line { text: text.clone(), origin: Origin::Landed { change: index } };
        lines.extend(change.new.iter().map(landed));
        at = change.old.end;
    }
    lines.extend_from_slice(&base.lines[at..]);
    Text { lines, ..*base }
}

/// The hunk of one change with so many lines of context above and below, fewer at the ends of the file.
pub fn hunk(base: &Text, change: &Change, context: (usize, usize)) -> Hunk {
    let above = change.old.start.saturating_sub(context.0)..change.old.start;
    let below = change.old.end..(change.old.end + context.1).min(base.lines.len());
    let start = above.start;
    let written = |number: usize| {
        let is_last_and_open = number + 1 == base.lines.len() && !base.is_closed;
        base.lines[number].text.clone() + if is_last_and_open { "" } else { base.terminator }
    };
    let mut lines: Vec<(Sign, String)> = above.map(|number| (Sign::Context, written(number))).collect();
    lines.extend(change.old.clone().map(|number| (Sign::Removed, written(number))));
    lines.extend(change.new.iter().map(|line| (Sign::Added, line.clone() + base.terminator)));
    lines.extend(below.map(|number| (Sign::Context, written(number))));
    Hunk { start, within: None, lines }
}
