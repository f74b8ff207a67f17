//! The way over the base: the hunks are placed in the file that they were made against, then its lines are followed to
//! the present file, as in a three-way merge. Stricter than one: where lines repeat so that they could be followed to
//! two places, or both sides insert in one place, the hunk is refused. What was moved is found by its text.

mod brought;
mod lost;

use std::ops::Range;

use shared_contracts::patches::{Hunk, OperationOutcome, PlacementStep};

use self::brought::Known;
use self::lost::Lost;
use super::assemble::{assemble, check_collisions};
use super::decide::Places;
use super::form::{Form, Forms};
use super::refusal::{ambiguous, no_match, nowhere};
use super::seat::{Seat, changes, intersect, place_of};
use super::style::Style;
use super::twins::each_its_own;
use super::way::Way;
use super::{BaseText, Found, Placement, by_text, found, partial, stands_at};
use crate::hints;
use crate::hunks::{HunkLines, to_u32};
use crate::lines::{Lines, is_telling};
use crate::ordered::set;

/// Lines around a hunk that show how the file writes what the base wrote.
const HABIT_LINES: usize = 40;

pub(crate) fn place(
    forms: &mut Forms<'_, '_>,
    base: BaseText<'_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'_>],
) -> Result<Placement, OperationOutcome> {
    let followed = over_base(forms, base, hunks, lines);
    followed.or_else(|refusal| match by_text(forms, hunks, lines, false) {
        // What has landed shows, whatever else happened to the base.
        Ok(seats) if seats.iter().all(|seat| seat.landed) => Ok(Placement::Landed),
        _ => Err(refusal),
    })
}

fn over_base(
    forms: &mut Forms<'_, '_>,
    base: BaseText<'_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'_>],
) -> Result<Placement, OperationOutcome> {
    let file = forms.file;
    let known = Known::new(base, file, lines);
    let base = Lines::new(base.text);
    let mut base_forms = Forms::new(&base);
    let in_base = match place_in_base(&mut base_forms, hunks, lines) {
        // Made against another text than it says.
        Err(OperationOutcome::NoMatch { .. }) => {
            let seats = by_text(forms, hunks, lines, false)?;
            check_collisions(&seats)?;
            return assemble(file, seats, None);
        }
        in_base => in_base?,
    };
    let seats_in_base: Vec<Seat<'_>> = in_base.iter().map(|placed| placed.seat.clone()).collect();
    check_collisions(&seats_in_base)?;
    let places = found(forms, hunks, lines);
    let places_in_base = found(&mut base_forms, hunks, lines);
    // What both sides did to blanks or terminators alone shows only where those count.
    let ends_too = lines.iter().any(|hunk| changes_only(hunk, Form::Ending));
    let coarse = Way::new(&base, file, Form::Punctuation);
    let exact = Way::new(&base, file, if ends_too { Form::Exact } else { Form::Ending });
    let mut seats = Vec::with_capacity(in_base.len());
    let all = in_base.iter().zip(lines).zip(places.into_iter().zip(places_in_base));
    for ((placed, hunk), (here, there)) in all {
        let (mut seat, mut doubtful) = (None, None);
        let is_of_blanks = changes_only(hunk, Form::Punctuation);
        let ways = [&coarse, &exact];
        for way in ways.into_iter().skip(usize::from(is_of_blanks)) {
            match follow(way, &mut base_forms, forms, placed, hunk) {
                Some(followed) if followed.is_sure => seat = Some(followed.seat),
                followed => {
                    doubtful = doubtful.or(followed.map(|followed| followed.seat));
                    seat = way.landed(&placed.seat, &seats_in_base);
                }
            }
            if seat.is_some() {
                break;
            }
        }
        let way = if is_of_blanks { &exact } else { &coarse };
        seats.push(match seat {
            Some(seat) => {
                let seat = agreed(file, seat, hunk, &here, &there)?;
                known.not_twice(forms.index(Form::Punctuation), file, hunk, seat)?
            }
            None => {
                let is_once = once(&there.0).is_some();
                Lost { base: &base, way, placed, hunk, doubtful }.seat(forms, here, is_once)?
            }
        });
    }
    check_order(&seats)?;
    assemble(file, seats, Some(PlacementStep::Provenance))
}

/// Whether a line goes that comes again as another one, the same in this form.
fn changes_only(hunk: &HunkLines<'_>, form: Form) -> bool {
    let core = |lines: &Lines<'_>, of: Range<usize>, others: &Lines<'_>| {
        let stays = set(others.iter());
        let changes = of.map(|line| lines.get(line)).filter(|line| is_telling(line) && !stays.contains(line));
        set(changes.map(|line| form.key(line).into_owned()))
    };
    let removed = core(&hunk.old, hunk.old_core(0), &hunk.new);
    !removed.is_disjoint(&core(&hunk.new, hunk.new_core(0), &hunk.old))
}

/// A hunk in the file that it was made against.
struct InBase<'hunk> {
    seat: Seat<'hunk>,
    /// The line of the base for each line of `old`.
    lines: Vec<Option<usize>>,
}

/// Line numbers are believed; where they are wrong, the ladder finds the place.
fn place_in_base<'hunk>(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
) -> Result<Vec<InBase<'hunk>>, OperationOutcome> {
    let base = forms.file;
    let at = |seat: Seat<'hunk>, at: usize, hunk: &HunkLines<'hunk>| InBase {
        seat,
        lines: (at..at + hunk.old.len()).map(Some).collect(),
    };
    let believed = |hunk: &Hunk, lines: &HunkLines<'hunk>, index: usize| {
        let line = match hunk.start_line {
            None if lines.old.is_empty() && hunk.at_end => base.len(),
            line => (line? as usize).checked_sub(1)?,
        };
        stands_at(base, line, &lines.old).then(|| at(Seat::exact(index, lines, line), line, lines))
    };
    let mut seats: Vec<Option<InBase<'hunk>>> = hunks
        .iter()
        .zip(lines)
        .enumerate()
        .map(|(index, (hunk, lines))| believed(hunk, lines, index))
        .collect();
    if seats.iter().any(Option::is_none) {
        // In the base nothing has landed yet.
        let places = found(forms, hunks, lines).into_iter().map(|(old, _)| (old, None)).collect();
        let places = each_its_own(lines, places);
        for (index, ((seat, hunk), (old, _))) in seats.iter_mut().zip(lines).zip(places).enumerate() {
            if seat.is_some() {
                continue;
            }
            *seat = match old {
                Some(Found { form, places }) => match places.as_slice() {
                    [line] => Seat::coarse(index, hunk, base, *line, form).map(|seat| at(seat, *line, hunk)),
                    places => {
                        let hint = hints::stands_often(index);
                        return Err(ambiguous(base, index, &hunk.old, places, hint));
                    }
                },
                None if hunk.old.is_empty() => {
                    return Err(no_match(index, None, hints::insertion_without_place(index)));
                }
                None => partial::pending(index, hunk, forms.index(Form::Punctuation), base)
                    .map(|(seat, lines)| InBase { seat, lines }),
            };
            if seat.is_none() {
                return Err(nowhere(base, forms.index(Form::Punctuation), index, hunk));
            }
        }
    }
    Ok(seats.into_iter().flatten().collect())
}

struct Followed<'hunk> {
    seat: Seat<'hunk>,
    /// Not to one of its twins.
    is_sure: bool,
}

/// The hunk where the other side left its lines alone.
fn follow<'hunk>(
    way: &Way<'_, '_>,
    base: &mut Forms<'_, '_>,
    forms: &mut Forms<'_, '_>,
    placed: &InBase<'hunk>,
    hunk: &HunkLines<'hunk>,
) -> Option<Followed<'hunk>> {
    let (file, index, in_base) = (forms.file, placed.seat.index, &placed.seat);
    let added = set(in_base.splices.iter().flat_map(|splice| splice.text.lines()).map(str::trim));
    if way.brings(&in_base.full, &added) || in_base.splices.iter().any(|splice| way.is_changed(&splice.lines))
    {
        return None;
    }
    let seat = if hunk.old.is_empty() {
        let at = in_base.core.start;
        match (at.checked_sub(1).map(|above| way.line(above)), way.line(at).filter(|line| *line < file.len()))
        {
            (None, Some(0)) => Seat::exact(index, hunk, 0),
            (Some(Some(above)), None) if above + 1 == file.len() => Seat::appended(index, hunk, file)?,
            (Some(Some(above)), Some(below)) if above + 1 == below => Seat::exact(index, hunk, below),
            _ => return None,
        }
    } else {
        let lines: Vec<Option<usize>> =
            placed.lines.iter().map(|line| line.and_then(|line| way.line(line))).collect();
        mapped(way, base.file, file, in_base, hunk, &lines)?
    };
    let lines = base.file;
    let (base, index) = (base.index(way.form), forms.index(way.form));
    let is_sure = hunk.old.is_empty()
        || changes(hunk).iter().zip(&seat.splices).all(|((old, _), to)| {
            place_of(old, &placed.lines).is_some_and(|from| {
                let to = to.lines.end - from.len()..to.lines.end;
                way.is_sure(base, index, &from, &to)
                    && (from.clone().any(|line| is_telling(lines.get(line)))
                        || way.is_beside_its_own(&from, &to))
            })
        });
    let seat =
        if seat.changes_nothing(file) { Seat { landed: true, splices: Vec::new(), ..seat } } else { seat };
    Some(Followed { seat, is_sure })
}

/// In the lines that it was followed to, written as the file writes them.
fn mapped<'hunk>(
    way: &Way<'_, '_>,
    base: &Lines<'_>,
    file: &Lines<'_>,
    in_base: &Seat<'hunk>,
    hunk: &HunkLines<'hunk>,
    lines: &[Option<usize>],
) -> Option<Seat<'hunk>> {
    let changes = changes(hunk);
    let same =
        |(ours, line): (usize, &Option<usize>)| line.is_none_or(|line| hunk.old.get(ours) == file.get(line));
    let form = if lines.iter().enumerate().all(same) { Form::Exact } else { Form::Indentation };
    let around = in_base.full.start.saturating_sub(HABIT_LINES)..in_base.full.end + HABIT_LINES;
    let around = around.start..around.end.min(base.len());
    let habit: Vec<(&str, &str)> =
        around.filter_map(|line| way.line(line).map(|there| (base.get(line), file.get(there)))).collect();
    let is_habit = Style::observe(&habit).is_some_and(|style| style.is_habit());
    let habit = if is_habit { habit.as_slice() } else { &[] };
    let seat = |lines: &[Option<usize>], habit: &[(&str, &str)]| {
        Seat::mapped(in_base.index, hunk, &changes, file, lines, form, habit)
    };
    seat(lines, habit).or_else(|| seat(lines, &[])).or_else(|| {
        // Only the lines beside the changes are written alike.
        let beside = |line: usize| changes.iter().any(|(old, _)| old.start <= line + 1 && line <= old.end);
        let near: Vec<Option<usize>> =
            lines.iter().enumerate().map(|(line, there)| there.filter(|_| beside(line))).collect();
        seat(&near, &[])
    })
}

/// What stands once in both texts, and elsewhere than where its lines were followed to, may have been moved or copied.
fn agreed<'hunk>(
    file: &Lines<'_>,
    seat: Seat<'hunk>,
    hunk: &HunkLines<'hunk>,
    (old, new): &Places,
    (in_base, new_in_base): &Places,
) -> Result<Seat<'hunk>, OperationOutcome> {
    // The other side did the same among other changes.
    if let (Some((form, at)), None, false) = (once(new), new_in_base, seat.landed)
        && hunk.before > 0
        && hunk.after > 0
        && touch(&(at..at + hunk.new.len()), &seat.full)
    {
        return Ok(Seat::landed(seat.index, hunk, at, form));
    }
    match (once(old), once(in_base)) {
        (Some((_, at)), Some(_)) if !seat.landed && !touch(&(at..at + hunk.old.len()), &seat.full) => {
            let places = [seat.full.start, at];
            Err(ambiguous(file, seat.index, &hunk.old, &places, hints::stands_often(seat.index)))
        }
        _ => Ok(seat),
    }
}

fn touch(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start <= other.end && other.start <= one.end
}

fn once(found: &Option<Found>) -> Option<(Form, usize)> {
    match found.as_ref().map(|found| (found.form, found.places.as_slice())) {
        Some((form, [at])) => Some((form, *at)),
        _ => None,
    }
}

/// Hunks that came by different ways may meet in the file.
fn check_order(seats: &[Seat<'_>]) -> Result<(), OperationOutcome> {
    let mut pending: Vec<&Seat<'_>> = seats.iter().filter(|seat| !seat.landed).collect();
    pending.sort_by_key(|seat| (seat.core.start, seat.core.end));
    for (above, below) in pending.iter().zip(pending.iter().skip(1)) {
        let same_gap = above.core.is_empty() && above.core == below.core;
        if intersect(&above.core, &below.core) || same_gap {
            let (first, second) = (above.index.min(below.index), above.index.max(below.index));
            return Err(OperationOutcome::Overlaps {
                with: to_u32(first),
                hint: hints::overlaps(first, second),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
