//! What a refused hunk is told: the candidates, or the nearest place and how it differs.

use std::fmt::Write as _;
use std::ops::Range;

use shared_contracts::patches::{Candidate, LineRange, Nearest, OperationOutcome};

use super::form::Index;
use super::near::{Wanted, near};
use crate::hints;
use crate::hunks::{HunkLines, to_u32};
use crate::line_diff::line_diff;
use crate::lines::{Lines, content};

const EXCERPT_LINES_MAX: usize = 8;
const DIFF_LINES_MAX: usize = 60;
const LINE_CHARS_MAX: usize = 200;
/// A place that has less in common says nothing.
const LIKENESS_MIN: u8 = 20;

pub(crate) fn no_match(hunk: usize, nearest: Option<Nearest>, hint: String) -> OperationOutcome {
    OperationOutcome::NoMatch { hunk: to_u32(hunk), nearest, hint }
}

pub(crate) fn ambiguous(
    file: &Lines<'_>,
    hunk: usize,
    lines: &Lines<'_>,
    places: &[usize],
    hint: String,
) -> OperationOutcome {
    let candidate = |at: &usize| candidate(file, *at..at + lines.len(), 100);
    OperationOutcome::Ambiguous {
        hunk: to_u32(hunk),
        candidates: places.iter().map(candidate).collect(),
        hint,
    }
}

pub(crate) fn candidate(file: &Lines<'_>, lines: Range<usize>, score_percent: u8) -> Candidate {
    let shown = lines.start..lines.end.min(lines.start + EXCERPT_LINES_MAX).min(file.len());
    let mut excerpt = String::new();
    shown.for_each(|line| push_cut(&mut excerpt, file.get(line)));
    Candidate { lines: line_range(&lines), excerpt, score_percent }
}

fn line_range(lines: &Range<usize>) -> LineRange {
    LineRange { first: to_u32(lines.start + 1), last: to_u32(lines.end) }
}

fn push_cut(text: &mut String, line: &str) {
    text.extend(content(line).chars().take(LINE_CHARS_MAX));
    text.push('\n');
}

/// The hunk has no place: where it comes nearest, or why it is in doubt.
pub(crate) fn nowhere(
    file: &Lines<'_>,
    index: &Index<'_>,
    hunk: usize,
    lines: &HunkLines<'_>,
) -> OperationOutcome {
    let wanted = Wanted::new(index, &lines.old);
    let mut ranked: Vec<(u8, Range<usize>)> = near(index, &wanted)
        .iter()
        .map(|place| (place.likeness(file, &wanted), place.range(file.len())))
        .filter(|(likeness, lines)| *likeness >= LIKENESS_MIN && !lines.is_empty())
        .collect();
    ranked.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    match ranked.as_slice() {
        // Two places alike, neither the same: it is for the sender to say which.
        [(best, _), (next, _), ..] if *best >= 50 && next + 5 >= *best => {
            let alike = ranked.iter().filter(|(likeness, _)| likeness + 5 >= *best);
            let candidates = alike.map(|(likeness, lines)| candidate(file, lines.clone(), *likeness));
            let candidates = candidates.collect();
            OperationOutcome::Ambiguous { hunk: to_u32(hunk), candidates, hint: hints::several_near(hunk) }
        }
        [(score_percent, place), ..] => {
            let diff = line_diff_text(lines.old.text(), file.slice(place.clone()));
            let nearest = Nearest { lines: line_range(place), score_percent: *score_percent, diff };
            let hint = hints::near(hunk, place.start + 1, place.end);
            no_match(hunk, Some(nearest), hint)
        }
        [] if lines.only_deletes() => no_match(hunk, None, hints::perhaps_deleted(hunk)),
        [] => no_match(hunk, None, hints::nowhere(hunk)),
    }
}

/// From the hunk's lines to the file's.
pub(crate) fn line_diff_text(ours: &str, there: &str) -> String {
    let difference = line_diff(ours, there);
    let mut shown: Vec<(char, &str)> = Vec::new();
    let mut at = 0;
    for change in &difference.changes {
        let lines = |range: Range<usize>| difference.before.get(range).unwrap_or_default();
        shown.extend(lines(at..change.before.start).iter().map(|line| (' ', *line)));
        shown.extend(lines(change.before.clone()).iter().map(|line| ('-', *line)));
        let after = difference.after.get(change.after.clone()).unwrap_or_default();
        shown.extend(after.iter().map(|line| ('+', *line)));
        at = change.before.end;
    }
    shown.extend(difference.before.get(at..).unwrap_or_default().iter().map(|line| (' ', *line)));
    let mut text = String::new();
    for (sign, line) in shown.iter().take(DIFF_LINES_MAX) {
        text.push(*sign);
        let has_return = content(line).len() + 1 < line.len();
        push_cut(&mut text, line);
        if has_return && *sign != ' ' {
            text.insert_str(text.len() - 1, "\\r");
        }
    }
    if shown.len() > DIFF_LINES_MAX {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "… {} more lines", shown.len() - DIFF_LINES_MAX);
    }
    text
}
