//! The lines of a hunk with their signs, as unified diffs and the codex envelope share them.

use super::hints;
use super::lines::{Line, push_line};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Context,
    Removed,
    Added,
    /// `\ No newline at end of file`
    NoNewline,
    /// An empty line: an empty context line that lost its sign, or no part of the hunk.
    Blank,
    /// No sign: a context line that lost it, or no part of the hunk.
    Bare,
}

impl Kind {
    pub(super) fn of(line: &Line<'_>) -> Self {
        match line.text().as_bytes() {
            [] => Self::Blank,
            [b' ', ..] => Self::Context,
            [b'-', ..] => Self::Removed,
            [b'+', ..] => Self::Added,
            [b'\\', b' ', ..] => Self::NoNewline,
            _ => Self::Bare,
        }
    }
}

/// A hunk's two sides.
#[derive(Default, Debug)]
pub(super) struct Sides {
    pub(super) old: String,
    pub(super) new: String,
    /// Lines without a sign that were read as context.
    pub(super) bare: usize,
}

/// A line that cannot be where it is, and why.
pub(super) type LineFault = (usize, (String, String));

pub(super) fn sides(lines: &[Line<'_>]) -> Result<Sides, LineFault> {
    let context_has_signs = !lost_signs(lines);
    // Room for all of it: most lines are on both sides.
    let room = || String::with_capacity(lines.iter().map(|line| line.whole.len() + 1).sum());
    let mut sides = Sides { old: room(), new: room(), bare: 0 };
    let mut last = Kind::Blank;
    // A side whose last line has no terminator is at the file's end.
    let (mut old_ended, mut new_ended) = (false, false);
    for line in lines {
        let kind = Kind::of(line);
        let content = match kind {
            Kind::Blank | Kind::Bare => line.whole,
            Kind::Context if !context_has_signs => line.whole,
            _ => line.whole.get(1..).unwrap_or_default(),
        };
        let (in_old, in_new) = match if kind == Kind::NoNewline { last } else { kind } {
            Kind::Removed => (true, false),
            Kind::Added => (false, true),
            _ => (true, true),
        };
        if kind == Kind::NoNewline {
            for (side, ended) in [(&mut sides.old, &mut old_ended), (&mut sides.new, &mut new_ended)]
                .into_iter()
                .zip([in_old, in_new])
                .filter_map(|(side, is_in)| is_in.then_some(side))
            {
                *ended = side.pop().is_some();
            }
            continue;
        }
        if (in_old && old_ended) || (in_new && new_ended) {
            return Err((line.number, hints::after_the_end()));
        }
        if in_old {
            push_line(&mut sides.old, content);
        }
        if in_new {
            push_line(&mut sides.new, content);
        }
        sides.bare += usize::from(kind == Kind::Bare);
        last = kind;
    }
    Ok(sides)
}

/// Whether every context line has lost its sign: some begin with neither sign nor space, and those that begin with
/// spaces have an even number of them, which with a sign in front would be an odd indentation.
fn lost_signs(lines: &[Line<'_>]) -> bool {
    let is_even = |line: &Line<'_>| line.text().bytes().take_while(|byte| *byte == b' ').count() % 2 == 0;
    lines.iter().any(|line| Kind::of(line) == Kind::Bare)
        && lines.iter().filter(|line| Kind::of(line) == Kind::Context).all(is_even)
}

/// Without the empty lines at its end.
pub(super) fn without_blank_tail<'lines, 'text>(lines: &'lines [Line<'text>]) -> &'lines [Line<'text>] {
    let end = lines.iter().rposition(|line| Kind::of(line) != Kind::Blank).map_or(0, |last| last + 1);
    lines.get(..end).unwrap_or_default()
}
