//! Where the hunks of an edit go, and the text they make. Never a guess: a hunk stands at its line in the very file it
//! was made against, or its `old` stands exactly once, or it has demonstrably landed; anything else is refused.

use std::ops::Range;

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Hunk, LineRange, OperationOutcome, PlacementStep};

use crate::hints;
use crate::hunks::{HunkLines, lines_of, to_u32};
use crate::occurrences::occurrences;

/// What is known of the file that the hunks were made against.
#[derive(Clone, Copy)]
pub(crate) enum Base {
    Unknown,
    /// It is the file at hand.
    Current,
    Stale {
        wanted: Sha256,
        found: Sha256,
    },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Placement {
    Changed {
        text: String,
        step: PlacementStep,
        lines: Vec<LineRange>,
    },
    /// Every hunk is in the text already.
    Landed,
}

/// Where a hunk's `old` (or, once landed, its `new`) begins, in lines from 0.
#[derive(Clone, Copy)]
struct Spot {
    at: usize,
    landed: bool,
}

/// Finds all hunks' places and puts them in; the error is the outcome of the refused edit.
pub(crate) fn place(text: &str, base: Base, hunks: &[Hunk]) -> Result<Placement, OperationOutcome> {
    let file = lines_of(text);
    let hunks_lines: Vec<HunkLines<'_>> = hunks.iter().map(HunkLines::new).collect();
    if matches!(base, Base::Current)
        && let Some(spots) = by_line_number(&file, hunks, &hunks_lines)?
    {
        return assemble(&file, &hunks_lines, &spots, PlacementStep::Base);
    }
    if let [hunk] = hunks
        && hunk.old.is_empty()
        && hunk.new == text
    {
        return Ok(Placement::Landed);
    }
    let spots = by_text(&file, &hunks_lines).map_err(|outcome| match (base, outcome) {
        (
            Base::Stale { wanted, found },
            OperationOutcome::Ambiguous { hint, .. } | OperationOutcome::NoMatch { hint, .. },
        ) => OperationOutcome::StaleBase { wanted, found, hint: hints::stale_edit(&hint) },
        (_, outcome) => outcome,
    })?;
    assemble(&file, &hunks_lines, &spots, PlacementStep::Exact)
}

/// All hunks at their own lines, if the text there is theirs. Only for the file they were made against.
fn by_line_number(
    file: &[&str],
    hunks: &[Hunk],
    hunks_lines: &[HunkLines<'_>],
) -> Result<Option<Vec<Spot>>, OperationOutcome> {
    let mut spots = Vec::with_capacity(hunks.len());
    for (index, (hunk, lines)) in hunks.iter().zip(hunks_lines).enumerate() {
        let at = (hunk.start_line as usize).checked_sub(1).filter(|at| *at <= file.len());
        match at {
            Some(at) if stands_at(file, at, &lines.old) => spots.push(Spot { at, landed: false }),
            None if lines.old.is_empty() => {
                return Err(malformed(hints::insertion_out_of_file(index, file.len())));
            }
            // A miscounted line number is common and harmless where the lines themselves stand once.
            _ => return Ok(None),
        }
    }
    Ok(Some(spots))
}

fn stands_at(file: &[&str], at: usize, lines: &[&str]) -> bool {
    file.get(at..at.saturating_add(lines.len())) == Some(lines)
}

/// Each hunk where its lines stand exactly once.
fn by_text(file: &[&str], hunks: &[HunkLines<'_>]) -> Result<Vec<Spot>, OperationOutcome> {
    let runs: Vec<&[&str]> =
        hunks.iter().flat_map(|hunk| [hunk.old.as_slice(), hunk.new.as_slice()]).collect();
    let found = occurrences(file, &runs);
    let mut spots = Vec::with_capacity(hunks.len());
    for (index, (hunk, places)) in hunks.iter().zip(found.chunks(2)).enumerate() {
        if let [old_places, new_places] = places {
            spots.push(spot(file, index, hunk, old_places, new_places)?);
        }
    }
    Ok(spots)
}

/// The one place of a hunk, given where its `old` and its `new` stand.
fn spot(
    file: &[&str],
    index: usize,
    hunk: &HunkLines<'_>,
    old_places: &[usize],
    new_places: &[usize],
) -> Result<Spot, OperationOutcome> {
    if hunk.old.is_empty() {
        return if file.is_empty() {
            Ok(Spot { at: 0, landed: false })
        } else {
            Err(no_match(index, hints::insertion_without_place(index)))
        };
    }
    // An `old` inside a `new` is what a landed insertion leaves behind: placing it would insert a second time.
    let inside_new = |at: &usize| {
        new_places.iter().any(|new_at| new_at <= at && at + hunk.old.len() <= new_at + hunk.new.len())
    };
    match (old_places, new_places) {
        (old, [new_at]) if !old.is_empty() && old.iter().all(inside_new) => {
            Ok(Spot { at: *new_at, landed: true })
        }
        ([at], _) if inside_new(at) => {
            Err(ambiguous(index, new_places, hunk.new.len(), hints::landed_or_not(index)))
        }
        ([at], _) => match new_places.iter().find(|new_at| contends(hunk, *at, **new_at)) {
            Some(new_at) => {
                Err(ambiguous(index, &[*at, *new_at], hunk.old.len(), hints::landed_or_not(index)))
            }
            None => Ok(Spot { at: *at, landed: false }),
        },
        ([], [new_at]) if shows_landing(file, hunk, *new_at) => Ok(Spot { at: *new_at, landed: true }),
        ([], [_, _, ..]) if !hunk.new_core_lines().is_empty() => {
            Err(ambiguous(index, new_places, hunk.new.len(), hints::new_stands_often(index)))
        }
        ([], _) => Err(no_match(index, why_nowhere(file, index, hunk))),
        (old, _) => Err(ambiguous(index, old, hunk.old.len(), hints::stands_often(index))),
    }
}

/// Whether a `new` at another place makes it doubtful that the only `old` is the one meant: the hunk may have landed on
/// the one of two twins, and what is left is the other. So too where both share changed lines (two lines swapped). A
/// `new` of a line or two without context stands in many files and casts no doubt.
fn contends(hunk: &HunkLines<'_>, at: usize, new_at: usize) -> bool {
    let inside_old = at <= new_at && new_at + hunk.new.len() <= at + hunk.old.len();
    let telling = hunk.new.iter().filter(|line| line.contains(char::is_alphanumeric)).count();
    let is_twin = hunk.before + hunk.after > 0 && telling > 1;
    !inside_old && (is_twin || intersect(&hunk.old_core(at), &hunk.new_core(new_at)))
}

/// Whether `new`, standing once with no `old` anywhere, shows that the hunk has landed. A lone bracket or blank line
/// may stand there anyway; and a deletion shows only where what it left behind closes up from both sides, else the
/// lines may have been changed instead of deleted.
fn shows_landing(file: &[&str], hunk: &HunkLines<'_>, at: usize) -> bool {
    let added = hunk.new_core_lines();
    if added.is_empty() {
        let closed_above = hunk.before > 0 || at == 0;
        let closed_below = hunk.after > 0 || at + hunk.new.len() == file.len();
        return closed_above && closed_below;
    }
    hunk.before + hunk.after > 0 || added.iter().any(|line| line.contains(char::is_alphanumeric))
}

/// Looks once more with spacing taken off, only to say what is wrong.
fn why_nowhere(file: &[&str], index: usize, hunk: &HunkLines<'_>) -> String {
    let trimmed =
        |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| line.trim().to_owned()).collect() };
    let (file, old) = (trimmed(file), trimmed(&hunk.old));
    let file: Vec<&str> = file.iter().map(String::as_str).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    match occurrences(&file, &[&old]).first().and_then(|places| places.first()) {
        Some(at) => hints::other_spacing(index, at + 1),
        None if hunk.new_core_lines().is_empty() => hints::perhaps_deleted(index),
        None => hints::nowhere(index),
    }
}

/// Puts the cores in, top to bottom.
fn assemble(
    file: &[&str],
    hunks: &[HunkLines<'_>],
    spots: &[Spot],
    step: PlacementStep,
) -> Result<Placement, OperationOutcome> {
    let mut order: Vec<Seat<'_, '_>> = hunks
        .iter()
        .zip(spots)
        .enumerate()
        .map(|(index, (hunk, spot))| Seat::new(index, hunk, *spot))
        .collect();
    order.sort_by_key(|seat| (seat.core.start, seat.core.end, seat.full.start, seat.index));
    for (above, below) in order.iter().zip(order.iter().skip(1)) {
        if above.collides_with(below) {
            let (first, second) = (above.index.min(below.index), above.index.max(below.index));
            let hint = hints::overlaps(first, second);
            return Err(OperationOutcome::Overlaps { with: to_u32(first), hint });
        }
    }
    if spots.iter().all(|spot| spot.landed) {
        return Ok(Placement::Landed);
    }
    let mut text = String::new();
    let mut lines: Vec<(usize, LineRange)> = Vec::with_capacity(order.len());
    let (mut done, mut removed, mut added) = (0, 0, 0);
    for seat in &order {
        let first = seat.full.start + added - removed;
        lines.push((
            seat.index,
            LineRange { first: to_u32(first + 1), last: to_u32(first + seat.hunk.new.len()) },
        ));
        if !seat.landed {
            append(&mut text, file.get(done..seat.core.start).unwrap_or_default(), seat.index)?;
            append(&mut text, seat.hunk.new_core_lines(), seat.index)?;
            done = seat.core.end;
            removed += seat.core.len();
            added += seat.hunk.new_core_lines().len();
        }
    }
    append(&mut text, file.get(done..).unwrap_or_default(), order.last().map_or(0, |seat| seat.index))?;
    lines.sort_by_key(|(index, _)| *index);
    Ok(Placement::Changed { text, step, lines: lines.into_iter().map(|(_, range)| range).collect() })
}

/// A hunk in its place: the lines of the file that it covers, and those it changes.
struct Seat<'hunk, 'text> {
    index: usize,
    hunk: &'hunk HunkLines<'text>,
    landed: bool,
    full: Range<usize>,
    core: Range<usize>,
}

impl<'hunk, 'text> Seat<'hunk, 'text> {
    fn new(index: usize, hunk: &'hunk HunkLines<'text>, spot: Spot) -> Self {
        let Spot { at, landed } = spot;
        let (length, core) =
            if landed { (hunk.new.len(), hunk.new_core(at)) } else { (hunk.old.len(), hunk.old_core(at)) };
        Self { index, hunk, landed, full: at..at + length, core }
    }

    /// Shared context is harmless; a change in the other's context, or two insertions into one gap of which neither
    /// says that it comes first, are not.
    fn collides_with(&self, below: &Self) -> bool {
        let same_gap = self.core.is_empty() && self.core == below.core;
        let ordered = self.full.end <= below.full.start && !(self.full.is_empty() && below.full.is_empty());
        intersect(&self.core, &below.full) || intersect(&below.core, &self.full) || (same_gap && !ordered)
    }
}

/// Whether ranges share a line; an empty one, a gap between lines, where it lies strictly inside the other.
fn intersect(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn append(text: &mut String, lines: &[&str], hunk: usize) -> Result<(), OperationOutcome> {
    if !lines.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        return Err(malformed(hints::runs_into_next_line(hunk)));
    }
    lines.iter().for_each(|line| text.push_str(line));
    // Only the last line of `new` or of the file can lack its terminator, so nothing within `lines` needs the check.
    Ok(())
}

fn malformed((what, hint): (String, String)) -> OperationOutcome {
    OperationOutcome::Malformed { what, hint }
}

fn no_match(hunk: usize, hint: String) -> OperationOutcome {
    OperationOutcome::NoMatch { hunk: to_u32(hunk), hint }
}

fn ambiguous(hunk: usize, places: &[usize], lines: usize, hint: String) -> OperationOutcome {
    let range = |at: &usize| LineRange { first: to_u32(at + 1), last: to_u32(at + lines) };
    OperationOutcome::Ambiguous { hunk: to_u32(hunk), candidates: places.iter().map(range).collect(), hint }
}

#[cfg(test)]
mod tests;
