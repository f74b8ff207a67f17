//! Which lines differ between two texts. The diff itself is imara-diff's; here are its bounds and its hunks with context.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput, Token, TokenSource};

use crate::hunks::lines_of;
use crate::{File, TEXT_BYTES_MAX};

/// Unchanged lines shown or sent on each side of a change.
const CONTEXT_LINES: usize = 3;
/// Lines of both texts that stand there again and again: below this a comparison takes at most about half a second.
const REPEATED_LINES_MAX: usize = 60_000;
/// Lines of both texts between their common beginning and end.
const MIDDLE_LINES_MAX: usize = 1_000_000;

pub(crate) struct LineDiff<'text> {
    pub(crate) before: Vec<&'text str>,
    pub(crate) after: Vec<&'text str>,
    pub(crate) changes: Vec<Change>,
}

/// Lines that were replaced, in lines from 0.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) before: Range<usize>,
    pub(crate) after: Range<usize>,
}

/// Changes that share context, and the lines they cover with it.
pub(crate) struct Group<'diff> {
    pub(crate) before: Range<usize>,
    pub(crate) after: Range<usize>,
    pub(crate) changes: &'diff [Change],
}

/// Both texts, if the files can be compared by lines.
pub(crate) fn texts<'file>(before: &'file File, after: &'file File) -> Option<(&'file str, &'file str)> {
    let small = before.bytes.len() <= TEXT_BYTES_MAX && after.bytes.len() <= TEXT_BYTES_MAX;
    if small { Some((before.text()?, after.text()?)) } else { None }
}

pub(crate) fn line_diff<'text>(before: &'text str, after: &'text str) -> LineDiff<'text> {
    let (before, after) = (lines_of(before), lines_of(after));
    let input = InternedInput::new(CountedLines(&before), CountedLines(&after));
    if let Some(change) = whole_middle(&input) {
        return LineDiff { before, after, changes: vec![change] };
    }
    // Not Histogram: it takes 4 s for 3,000 changes in 300,000 lines, where this takes 50 ms.
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    // Slides changes to where people would put them; texts with the same lines stay equal under it.
    diff.postprocess_lines(&input);
    let range = |range: Range<u32>| range.start as usize..range.end as usize;
    let changes =
        diff.hunks().map(|hunk| Change { before: range(hunk.before), after: range(hunk.after) }).collect();
    LineDiff { before, after, changes }
}

/// All between the common beginning and end as one change, where comparing it would take seconds: Myers' time grows
/// with the square of lines that repeat and do not match (600,000 of them take a minute).
fn whole_middle(input: &InternedInput<&str>) -> Option<Change> {
    let same = |pair: &(&Token, &Token)| pair.0 == pair.1;
    let prefix = input.before.iter().zip(&input.after).take_while(same).count();
    let rest = input.before.len().min(input.after.len()) - prefix;
    let suffix = input.before.iter().rev().zip(input.after.iter().rev()).take(rest).take_while(same).count();
    let (before, after) = (prefix..input.before.len() - suffix, prefix..input.after.len() - suffix);
    let lines = before.len() + after.len();
    if lines <= REPEATED_LINES_MAX {
        return None;
    }
    let middle = input.before.get(before.clone()).into_iter().chain(input.after.get(after.clone())).flatten();
    let mut distinct: Vec<u32> = middle.map(|token| token.0).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let repeated = lines.saturating_sub(2 * distinct.len());
    let is_costly = repeated > REPEATED_LINES_MAX || lines > MIDDLE_LINES_MAX;
    is_costly.then_some(Change { before, after })
}

/// Lines whose number is known; imara-diff's own source estimates it and may reserve far too much.
struct CountedLines<'lines, 'text>(&'lines [&'text str]);

impl<'lines, 'text> TokenSource for CountedLines<'lines, 'text> {
    type Token = &'text str;
    type Tokenizer = std::iter::Copied<std::slice::Iter<'lines, &'text str>>;

    fn tokenize(&self) -> Self::Tokenizer {
        self.0.iter().copied()
    }

    fn estimate_tokens(&self) -> u32 {
        crate::hunks::to_u32(self.0.len())
    }
}

impl LineDiff<'_> {
    /// Whether no line stayed.
    pub(crate) fn is_rewrite(&self) -> bool {
        match self.changes.as_slice() {
            [change] => change.before == (0..self.before.len()) && change.after == (0..self.after.len()),
            _ => false,
        }
    }

    /// The changes with up to three lines of context; those whose context would touch are one group.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let near =
            |above: &Change, below: &Change| below.before.start - above.before.end <= 2 * CONTEXT_LINES;
        self.changes.chunk_by(near).filter_map(|changes| {
            let (first, last) = (changes.first()?, changes.last()?);
            // The same number of lines on both sides, because context is common to them.
            let above = CONTEXT_LINES.min(first.before.start).min(first.after.start);
            let rest = (self.before.len() - last.before.end).min(self.after.len() - last.after.end);
            let below = CONTEXT_LINES.min(rest);
            Some(Group {
                before: first.before.start - above..last.before.end + below,
                after: first.after.start - above..last.after.end + below,
                changes,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_changes_share_a_group_and_far_ones_do_not() {
        let numbers = |changed: &[usize]| -> String {
            (1..=20)
                .map(|n| if changed.contains(&n) { format!("changed {n}\n") } else { format!("{n}\n") })
                .collect()
        };
        let (before, near, far) = (numbers(&[]), numbers(&[5, 12]), numbers(&[5, 13]));
        let ranges = |after: &str| -> Vec<Range<usize>> {
            line_diff(&before, after).groups().map(|group| group.before).collect()
        };
        assert_eq!(ranges(&near), vec![1..15]);
        assert_eq!(ranges(&far), vec![1..8, 9..16]);
    }

    #[test]
    fn a_rewrite_keeps_no_line() {
        assert!(line_diff("a\nb\n", "c\n").is_rewrite());
        assert!(line_diff("", "c\n").is_rewrite());
        assert!(line_diff("a\n", "").is_rewrite());
        assert!(!line_diff("a\nb\n", "c\nb\n").is_rewrite());
    }

    #[test]
    fn repetition_is_not_compared_at_length() {
        let noise = |mut seed: u32| -> String {
            let line = |_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if seed >> 31 == 0 { "a\n" } else { "b\n" }
            };
            (0..300_000).map(line).collect()
        };
        let (before, after) = (format!("same\n{}", noise(1)), format!("same\n{}", noise(2)));
        assert_eq!(line_diff(&before, &after).changes.len(), 1);
    }
}
