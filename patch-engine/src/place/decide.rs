//! What becomes of a hunk, given where its `old` and its `new` stand: one place, landed, or the reason why neither.

use std::ops::Range;

use shared_contracts::patches::{Hunk, OperationOutcome};

use super::beside::{Beside, InFile, beside};
use super::form::{Form, Forms, Index};
use super::refusal::{ambiguous, no_match};
use super::seat::{Seat, intersect};
use crate::hints;
use crate::hunks::HunkLines;
use crate::lines::{Lines, is_telling};
use crate::ordered::set;

/// Where lines stand, in the strictest form in which they stand anywhere.
pub(crate) struct Found {
    pub(crate) form: Form,
    pub(crate) places: Vec<usize>,
}

/// Where a hunk's `old` and its `new` stand.
pub(crate) type Places = (Option<Found>, Option<Found>);

pub(crate) enum Verdict<'hunk> {
    Seated(Seat<'hunk>),
    /// Nothing of `old` is there, and `new` alone is too little to show that the hunk has landed, unless its neighbours
    /// have.
    Doubtful {
        new: Found,
        refusal: OperationOutcome,
        /// It has landed at one of several places, in any case.
        somewhere: Option<Seat<'hunk>>,
    },
    Refused(OperationOutcome),
    Nowhere,
}

/// `numbered` is the line that the patch names.
pub(crate) fn decide<'hunk>(
    forms: &mut Forms<'_, '_>,
    index: usize,
    hunk: &HunkLines<'hunk>,
    numbered: Option<usize>,
    old: Option<Found>,
    new: Option<Found>,
) -> Verdict<'hunk> {
    let file = forms.file;
    let mut with_old = |old: &Found, new: &[usize]| with_old(forms, index, hunk, numbered, old, new);
    match (old, new) {
        (None, None) => Verdict::Nowhere,
        (None, Some(new)) => without_old(forms, index, hunk, new),
        (Some(old), None) => with_old(&old, &[]),
        // What stands in a stricter form counts for more: the file is written like the hunk.
        (Some(old), Some(new)) if new.form < old.form => match new.places.as_slice() {
            [at] if !old.places.iter().all(|old_at| overlaps(hunk, *old_at, *at))
                || (hunk.only_deletes() && shows_landing(file, hunk, *at)) =>
            {
                let places = [*at, old.places.first().copied().unwrap_or(*at)];
                Verdict::Refused(ambiguous(file, index, &hunk.old, &places, hints::landed_or_not(index)))
            }
            [at] if shows_landing(file, hunk, *at) => {
                Verdict::Seated(Seat::landed(index, hunk, *at, new.form))
            }
            _ => with_old(&old, &new.places),
        },
        (Some(old), Some(new)) if new.form == old.form => with_old(&old, &new.places),
        (Some(old), Some(_)) => with_old(&old, &[]),
    }
}

/// Without `old` lines only the ends of the file are places.
pub(super) fn insertion<'hunk>(
    file: &Lines<'_>,
    index: usize,
    hunk: &Hunk,
    lines: &HunkLines<'hunk>,
) -> Verdict<'hunk> {
    let at_end = file.len();
    if file.is_empty() {
        return Verdict::Seated(Seat::exact(index, lines, 0));
    }
    if !hunk.at_end {
        return Verdict::Refused(no_match(index, None, hints::insertion_without_place(index)));
    }
    match at_end.checked_sub(lines.new.len()) {
        Some(at) if same_lines(file, at, &lines.new) => {
            Verdict::Seated(Seat::landed(index, lines, at, Form::Trailing))
        }
        _ => Seat::appended(index, lines, file).map_or(Verdict::Nowhere, Verdict::Seated),
    }
}

fn same_lines(file: &Lines<'_>, at: usize, lines: &Lines<'_>) -> bool {
    let key = |line| Form::Trailing.key(line);
    lines.iter().enumerate().all(|(offset, line)| key(line) == key(file.get(at + offset)))
}

fn with_old<'hunk>(
    forms: &mut Forms<'_, '_>,
    index: usize,
    hunk: &HunkLines<'hunk>,
    numbered: Option<usize>,
    old: &Found,
    new_places: &[usize],
) -> Verdict<'hunk> {
    let file = forms.file;
    // An `old` inside a `new` is what a landed insertion leaves behind: placing it would insert a second time.
    let inside_new = |at: &usize| {
        new_places.iter().any(|new_at| new_at <= at && at + hunk.old.len() <= new_at + hunk.new.len())
    };
    let refused = |places: &[usize], lines: &Lines<'_>, hint: String| {
        Verdict::Refused(ambiguous(file, index, lines, places, hint))
    };
    // An edit of blanks or quotes alone looks the same before and after in a form that does not see them.
    if old.form > Form::Exact && is_unseen(hunk, old.form) {
        return match old.places.as_slice() {
            [at] => match Seat::coarse(index, hunk, file, *at, old.form) {
                Some(seat) if seat.changes_nothing(file) => {
                    Verdict::Seated(Seat { landed: true, splices: Vec::new(), ..seat })
                }
                Some(seat) => Verdict::Seated(seat),
                None => Verdict::Nowhere,
            },
            places => refused(places, &hunk.old, hints::stands_often(index)),
        };
    }
    match (old.places.as_slice(), new_places) {
        ([at], [new_at]) if inside_new(at) && is_in_run(hunk) && numbered != Some(*new_at) => {
            match numbered == Some(*at) {
                true => {
                    Seat::coarse(index, hunk, file, *at, old.form).map_or(Verdict::Nowhere, Verdict::Seated)
                }
                false => refused(&[*at], &hunk.old, hints::landed_or_not(index)),
            }
        }
        (places, [new_at]) if places.iter().all(inside_new) => {
            Verdict::Seated(Seat::landed(index, hunk, *new_at, old.form))
        }
        (places, [new_at])
            if !numbered.is_some_and(|at| places.contains(&at)) && brings_its_own(forms, hunk, *new_at) =>
        {
            Verdict::Seated(Seat::landed(index, hunk, *new_at, old.form))
        }
        ([at], _) if inside_new(at) => refused(new_places, &hunk.new, hints::landed_or_not(index)),
        ([at], _) => match new_places.iter().find(|new_at| contends(hunk, *at, **new_at)) {
            // Where it has landed on a twin, the number would name that one.
            Some(new_at) if numbered != Some(*at) => {
                refused(&[*at, *new_at], &hunk.old, hints::landed_or_not(index))
            }
            _ => seat(forms, index, hunk, *at, old.form),
        },
        (places, _) => refused(places, &hunk.old, hints::stands_often(index)),
    }
}

/// Fewer inserted lines may stand there already by chance.
const INSERTED_MIN: usize = 3;

/// Whether what the hunk inserts stands at this place alone, so that it must have landed whatever other places look like
/// the one it came to.
fn brings_its_own(forms: &mut Forms<'_, '_>, hunk: &HunkLines<'_>, at: usize) -> bool {
    if !hunk.old_core(0).is_empty() || !is_closed(forms.file, hunk, at) {
        return false;
    }
    let brought = || hunk.new_core(0).map(|line| hunk.new.get(line)).filter(|line| is_telling(line));
    let window = at..at + hunk.new.len();
    brought().count() >= INSERTED_MIN && {
        let index = forms.index(Form::Punctuation);
        brought().any(|line| !stands_outside(index, line, &window))
    }
}

/// Whether a line stands anywhere but here.
fn stands_outside(index: &Index<'_>, line: &str, here: &Range<usize>) -> bool {
    index.lines_of(line).iter().any(|at| !here.contains(&(*at as usize)))
}

/// Whether the lines that come are some more of equal ones, up to the hunk's edge: where more of those stand than it
/// shows, its `new` stands before it has landed.
fn is_in_run(hunk: &HunkLines<'_>) -> bool {
    let core = hunk.new_core(0);
    let are_equal = |lines: Range<usize>| {
        lines.clone().skip(1).all(|line| hunk.new.get(line) == hunk.new.get(lines.start))
    };
    let grows = hunk.old_core(0).is_empty();
    grows
        && ((hunk.before > 0 && are_equal(0..core.end))
            || (hunk.after > 0 && are_equal(core.start..hunk.new.len())))
}

fn overlaps(hunk: &HunkLines<'_>, old_at: usize, new_at: usize) -> bool {
    old_at < new_at + hunk.new.len() && new_at < old_at + hunk.old.len()
}

/// Whether `old` and `new` are the same in a form.
fn is_unseen(hunk: &HunkLines<'_>, form: Form) -> bool {
    hunk.old.len() == hunk.new.len()
        && hunk.old.iter().zip(hunk.new.iter()).all(|(old, new)| form.key(old) == form.key(new))
}

fn seat<'hunk>(
    forms: &mut Forms<'_, '_>,
    index: usize,
    hunk: &HunkLines<'hunk>,
    at: usize,
    form: Form,
) -> Verdict<'hunk> {
    let file = forms.file;
    match beside(hunk, &mut InFile::new(forms, at)) {
        Beside::Same => {
            return Verdict::Seated(Seat {
                landed: true,
                splices: Vec::new(),
                ..Seat::exact(index, hunk, at)
            });
        }
        Beside::Alike => {
            let hint = hints::landed_or_not(index);
            return Verdict::Refused(ambiguous(file, index, &hunk.old, &[at], hint));
        }
        Beside::Other => {}
    }
    match Seat::coarse(index, hunk, file, at, form) {
        Some(seat) => Verdict::Seated(seat),
        None => Verdict::Nowhere,
    }
}

/// Whether a `new` at another place makes it doubtful that the only `old` is the one meant: the hunk may have landed on
/// the one of two twins, and what is left is the other. So too where both share changed lines (two lines swapped). A
/// `new` of a line or two without context stands in many files and casts no doubt.
fn contends(hunk: &HunkLines<'_>, at: usize, new_at: usize) -> bool {
    let inside_old = at <= new_at && new_at + hunk.new.len() <= at + hunk.old.len();
    let telling = hunk.new.iter().filter(|line| is_telling(line)).count();
    let is_twin = hunk.before + hunk.after > 0 && telling > 1;
    !inside_old && (is_twin || intersect(&hunk.old_core(at), &hunk.new_core(new_at)))
}

fn without_old<'hunk>(
    forms: &mut Forms<'_, '_>,
    index: usize,
    hunk: &HunkLines<'hunk>,
    new: Found,
) -> Verdict<'hunk> {
    let file = forms.file;
    match new.places.as_slice() {
        [at] if shows_landing(file, hunk, *at) => Verdict::Seated(Seat::landed(index, hunk, *at, new.form)),
        // It has landed at one of them, whichever that is.
        [at, _, ..]
            if hunk.before > 0
                && hunk.after > 0
                && !hunk.only_deletes()
                && hunk.new.iter().any(is_telling) =>
        {
            let somewhere = Some(Seat::landed(index, hunk, *at, new.form));
            let refusal = ambiguous(file, index, &hunk.new, &new.places, hints::new_stands_often(index));
            Verdict::Doubtful { new, refusal, somewhere }
        }
        [_, _, ..] if !hunk.only_deletes() => {
            let hint = hints::new_stands_often(index);
            let refusal = ambiguous(file, index, &hunk.new, &new.places, hint);
            Verdict::Doubtful { new, refusal, somewhere: None }
        }
        _ if let Some(at) = closes_end(forms, hunk) => {
            Verdict::Seated(Seat::landed(index, hunk, at, new.form))
        }
        _ => {
            let hint =
                if hunk.only_deletes() { hints::perhaps_deleted(index) } else { hints::nowhere(index) };
            Verdict::Doubtful { new, refusal: no_match(index, None, hint), somewhere: None }
        }
    }
}

/// Fewer deleted lines may as well have been edited.
const DELETED_MIN: usize = 3;

/// Where the last lines of a file were to go and are gone: what was above them ends it.
fn closes_end(forms: &mut Forms<'_, '_>, hunk: &HunkLines<'_>) -> Option<usize> {
    let file = forms.file;
    let at = file.len().checked_sub(hunk.new.len())?;
    if !hunk.only_deletes() || hunk.after > 0 || hunk.before == 0 || !same_lines(file, at, &hunk.new) {
        return None;
    }
    let near = at.saturating_sub(hunk.old.len())..file.len();
    (hunk.telling_deleted().count() >= DELETED_MIN && is_gone(forms, hunk, near)).then_some(at)
}

/// Whether next to nothing of what a hunk deletes stands near, or much of it nowhere.
pub(super) fn is_gone(forms: &mut Forms<'_, '_>, hunk: &HunkLines<'_>, near: Range<usize>) -> bool {
    let key = |line| Form::Punctuation.key(line);
    let near = set(near.map(|line| key(forms.file.get(line))));
    let deleted: Vec<&str> = hunk.telling_deleted().collect();
    let left = deleted.iter().filter(|line| near.contains(&key(line))).count();
    if left * 3 <= deleted.len() {
        return !deleted.is_empty();
    }
    let index = forms.index(Form::Punctuation);
    let gone = deleted.iter().filter(|line| index.number(line).is_none()).count();
    gone >= DELETED_MIN && gone * 3 >= deleted.len()
}

/// Whether `new`, standing once with no `old` anywhere, shows that the hunk has landed. A lone bracket or blank line
/// may stand there anyway; and a deletion shows only where what it left behind closes up from both sides, else the
/// lines may have been changed instead of deleted.
fn shows_landing(file: &Lines<'_>, hunk: &HunkLines<'_>, at: usize) -> bool {
    if hunk.only_deletes() {
        return is_closed(file, hunk, at);
    }
    hunk.before + hunk.after > 0 || hunk.new_core(0).any(|line| is_telling(hunk.new.get(line)))
}

/// Whether a `new` at this line has context, or the file's end, on both sides.
fn is_closed(file: &Lines<'_>, hunk: &HunkLines<'_>, at: usize) -> bool {
    (hunk.before > 0 || at == 0) && (hunk.after > 0 || at + hunk.new.len() == file.len())
}

#[cfg(test)]
mod tests;
