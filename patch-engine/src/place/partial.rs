//! The last rung: the lines to replace stand, some of the context around them was edited. The place must be far ahead of
//! every other, those where the lines to replace do not stand included.

use std::collections::BTreeMap;
use std::ops::Range;

use super::form::{Form, Index};
use super::near::{Alignment, Wanted, near};
use super::rivals::is_clear;
use super::seat::{Seat, changes, place_of};
use crate::hunks::HunkLines;
use crate::lines::{Lines, is_telling};

/// How alike a place must be, in percent.
const LIKENESS_MIN: u8 = 60;
/// The same where fewer than three lines stand.
const LIKENESS_OF_FEW_MIN: u8 = 70;
/// Context lines that may have gone or become quite other ones, at the least and for so many lines of `old`.
const STRANGERS_MAX: usize = 1;
const STRANGERS_PER_LINES: usize = 10;
/// How far ahead of the next, in percent.
const MARGIN: u8 = 20;
/// How much better a line's place must be than any other for it nearby: more than a bracket that stands by chance.
const NEARBY_MARGIN: i32 = 3;
/// What must stand at the least: two lines that say something, or so.
const SCORE_MIN: i32 = 10;

/// The one place of a hunk whose context was edited.
pub(crate) fn partial<'hunk>(
    number: usize,
    hunk: &HunkLines<'hunk>,
    index: &Index<'_>,
    file: &Lines<'_>,
) -> Option<Seat<'hunk>> {
    pending(number, hunk, index, file).map(|(seat, _)| seat)
}

/// The same with the line of the file for each line of `old`.
pub(crate) fn pending<'hunk>(
    number: usize,
    hunk: &HunkLines<'hunk>,
    index: &Index<'_>,
    file: &Lines<'_>,
) -> Option<(Seat<'hunk>, Vec<Option<usize>>)> {
    let placed = aligned(number, hunk, index, file, false)?;
    is_clear(hunk, &placed.1, index, file).then_some(placed)
}

/// The one place where a hunk has landed and some of its context was edited since.
pub(crate) fn landed<'hunk>(
    number: usize,
    hunk: &HunkLines<'hunk>,
    index: &Index<'_>,
    file: &Lines<'_>,
) -> Option<Seat<'hunk>> {
    let turned = hunk.turned();
    let (seat, lines) = aligned(number, &turned, index, file, true)?;
    let at = |line: usize| lines.get(line).copied().flatten();
    let next = |above: usize, below: usize| at(above).is_some_and(|line| at(below) == Some(line + 1));
    let shows = changes(&turned).iter().all(|(new, _)| {
        let above = new.start.checked_sub(1);
        if new.is_empty() {
            // Lines that are gone show only in their neighbours closing up.
            return above.is_some_and(|above| next(above, new.start));
        }
        let is_alone = new.len() == turned.old.len();
        is_alone || above.is_some_and(|above| next(above, new.start)) || next(new.end - 1, new.end)
    });
    let goes: Vec<u32> = taken_away(index, hunk);
    let stays = goes.iter().filter(|id| !index.postings.of(**id).is_empty()).count();
    if stays * 2 > goes.len() {
        return None;
    }
    let says_something = hunk.only_deletes() || hunk.new_core(0).any(|line| is_telling(hunk.new.get(line)));
    (shows && says_something).then(|| Seat { landed: true, splices: Vec::new(), ..seat })
}

/// The lines that a hunk takes away, as far as they say something.
fn taken_away(index: &Index<'_>, hunk: &HunkLines<'_>) -> Vec<u32> {
    let ids = index.run(&hunk.old);
    let gone = changes(hunk).into_iter().flat_map(|(old, _)| old);
    gone.filter(|line| is_telling(hunk.old.get(*line))).filter_map(|line| ids.get(line).copied()).collect()
}

/// `by_likeness`: it must be far ahead of all others, as nothing else tells.
fn aligned<'hunk>(
    number: usize,
    hunk: &HunkLines<'hunk>,
    index: &Index<'_>,
    file: &Lines<'_>,
    by_likeness: bool,
) -> Option<(Seat<'hunk>, Vec<Option<usize>>)> {
    let wanted = Wanted::new(index, &hunk.old);
    let places = near(index, &wanted);
    let changes = changes(hunk);
    let core_stands = changes.iter().all(|(old, _)| {
        old.clone().all(|line| wanted.ids.get(line).is_some_and(|id| !index.postings.of(*id).is_empty()))
    });
    if !core_stands {
        return None;
    }
    let mut ranked: Vec<(u8, &Alignment)> =
        places.iter().map(|place| (place.likeness(file, &wanted), place)).collect();
    ranked.sort_by_key(|(likeness, _)| std::cmp::Reverse(*likeness));
    let (likeness, best) = *ranked.first()?;
    let next = ranked.get(1).map_or(0, |(likeness, _)| *likeness);
    if (by_likeness && likeness < next.saturating_add(MARGIN))
        || !is_enough(best, likeness, &hunk.old)
        || !(is_edited(best, file, &hunk.old) || is_anchored(best, index, &wanted, &changes))
    {
        return None;
    }
    for (old, new) in &changes {
        if by_likeness && !stands_here_alone(best, index, &wanted, hunk, old, new) {
            return None;
        }
    }
    let mut seat = Seat::mapped(number, hunk, &changes, file, &best.lines, Form::Punctuation, &[])?;
    seat.partial = true;
    Some((seat, best.lines.clone()))
}

fn is_enough(place: &Alignment, likeness: u8, old: &Lines<'_>) -> bool {
    let standing = || place.lines.iter().enumerate().filter(|(_, line)| line.is_some());
    let least = if standing().count() < 3 { LIKENESS_OF_FEW_MIN } else { LIKENESS_MIN };
    let telling = standing().any(|(ours, _)| is_telling(old.get(ours)));
    likeness >= least && place.score >= SCORE_MIN && telling
}

/// Whether most of the context that does not stand was edited where it stood. Context that is gone altogether may be
/// that of another place.
fn is_edited(place: &Alignment, file: &Lines<'_>, old: &Lines<'_>) -> bool {
    let strangers = place.strangers(file, old);
    strangers <= STRANGERS_MAX.max(old.len() / STRANGERS_PER_LINES)
}

/// Whether each change stands between its own neighbours with a line that stands nowhere else, and the context on one
/// side of it whole: what became of the other side says no more.
fn is_anchored(
    place: &Alignment,
    index: &Index<'_>,
    wanted: &Wanted<'_>,
    changes: &[(Range<usize>, Range<usize>)],
) -> bool {
    let in_a_row = |lines: Range<usize>| lines.start < lines.end && place_of(&lines, &place.lines).is_some();
    let is_own = |line: usize| {
        let id = wanted.ids.get(line);
        is_telling(wanted.lines.get(line)) && id.is_some_and(|id| index.postings.of(*id).len() == 1)
    };
    let count = wanted.ids.len();
    changes.iter().all(|(old, _)| {
        let row = old.start.saturating_sub(1)..(old.end + 1).min(count);
        let own = if old.is_empty() { row.clone() } else { old.clone() };
        in_a_row(row)
            && own.clone().any(is_own)
            && (in_a_row(0..old.end.max(1)) || in_a_row(old.start..count))
    })
}

/// Whether a change's lines, those it could slide over and one neighbour of its gap stand here and nowhere near.
fn stands_here_alone(
    place: &Alignment,
    index: &Index<'_>,
    wanted: &Wanted<'_>,
    hunk: &HunkLines<'_>,
    old: &Range<usize>,
    new: &Range<usize>,
) -> bool {
    let needed = slid(hunk, old, new);
    if needed.is_empty() {
        let scores = place.through_gap(index, wanted, needed.start);
        return far_ahead(&scores, place.score);
    }
    place_of(&needed, &place.lines).is_some()
        && needed.clone().all(|line| far_ahead(&place.through_line(index, wanted, line), place.score))
}

fn far_ahead(scores: &BTreeMap<usize, i32>, best: i32) -> bool {
    scores.values().any(|score| *score == best)
        && scores.values().filter(|score| **score > best - NEARBY_MARGIN).count() == 1
}

/// The lines of `old` that a change covers wherever it is slid to with the same result: a line inserted after its twin
/// might as well have been inserted before it.
fn slid(hunk: &HunkLines<'_>, old: &Range<usize>, new: &Range<usize>) -> Range<usize> {
    let (lines, span) = match (old.is_empty(), new.is_empty()) {
        (true, false) => (&hunk.new, new),
        (false, true) => (&hunk.old, old),
        _ => return old.clone(),
    };
    let length = span.len();
    let up = (1..=old.start.min(span.start))
        .take_while(|by| lines.get(span.start - by) == lines.get(span.start - by + length))
        .count();
    let down = (0..hunk.old.len() - old.end)
        .take_while(|by| lines.get(span.start + by) == lines.get(span.end + by))
        .count();
    old.start - up..old.end + down
}

#[cfg(test)]
mod tests {
    use super::super::came::{Came, came, hunk, text};

    const OLD: &str = "first_above();\nsecond_above();\ntotal_of_all = 1;\nfirst_below();\nsecond_below();\nthird_below();\n";
    /// Two lines of the context are other ones.
    const REWRITTEN: &str =
        "first_above();\nsecond_above();\ntotal_of_all = 1;\nfirst_below();\nx = y;\nz += w;\n";

    #[test]
    fn a_change_between_its_own_neighbours_is_placed_whatever_became_of_the_context_on_one_side() {
        let right = REWRITTEN.replace('1', "2");
        assert_eq!(came(REWRITTEN, &[hunk(OLD, &OLD.replace('1', "2"))]), text(&right));
    }

    #[test]
    fn without_a_line_that_stands_nowhere_else_it_is_refused() {
        let between = "between();\n".repeat(40);
        let file = format!("{REWRITTEN}{between}total_of_all = 1;\n");
        assert_eq!(came(&file, &[hunk(OLD, &OLD.replace('1', "2"))]), Came::NoMatch);
    }

    #[test]
    fn it_has_landed_partly_only_where_most_of_what_it_takes_away_is_gone() {
        let old =
            "first_above();\nfirst_gone();\nsecond_gone();\nthird_gone();\nfirst_below();\nsecond_below();\n";
        let new = "first_above();\nbrought_by_hunk();\nfirst_below();\nsecond_below();\n";
        let landed = new.replace("second_below()", "second_below(now)");
        let between = "between();\n".repeat(40);
        let with = |rest: &str| came(&format!("{landed}{between}{rest}"), &[hunk(old, new)]);
        assert_eq!(with("third_gone();\n"), Came::Landed);
        assert_eq!(with("third_gone();\n.\nfirst_gone();\n"), Came::NoMatch);
    }
}
