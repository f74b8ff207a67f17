//! Where the hunks of an edit go, and the text they make. Never a guess: a hunk stands at its line in the very file it
//! was made against, or its `old` stands exactly once, or it has demonstrably landed; anything else is refused.
//!
//! The ladder, strictest rung first: `exact`, then the forms of `form` (line endings, blanks at the end, indentation,
//! punctuation; `style` writes the new lines as the file would), then `partial`. The strictest rung on which a hunk
//! stands anywhere (`found`) decides: it stands there once, or it is refused. `decide` tells pending from landed;
//! `provenance` takes the way over the base where that is at hand; `assemble` puts the hunks in. Where every hunk stands
//! once, `plain` comes to the same in a fraction of the time; `chain` takes many edits of one file at once.

mod assemble;
mod beside;
#[cfg(test)]
mod came;
mod chain;
mod decide;
mod doubt;
mod exact;
mod form;
mod found;
mod near;
mod neighbours;
mod occurrences;
mod partial;
mod plain;
mod provenance;
mod refusal;
mod rivals;
mod scope;
mod seat;
mod style;
mod twins;
mod way;
mod windows;

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Hunk, LineRange, OperationOutcome, PlacementStep};

use crate::hints;
use crate::hunks::{HunkLines, malformed_as};
use crate::lines::{Lines, indentation};
pub(crate) use assemble::{assemble, check_collisions};
pub(crate) use chain::{Direction, chain, through};
use decide::{Found, Places, Verdict, decide, insertion};
use exact::is_all;
use form::Forms;
use found::found;
use plain::plain;
use refusal::ambiguous;

pub(crate) use form::Form;
pub(crate) use refusal::{candidate, no_match};
pub(crate) use seat::{Seat, terminator_near};

/// What is known of the file that the hunks were made against.
#[derive(Clone, Copy)]
pub(crate) enum Base<'text> {
    Unknown,
    /// It is the file at hand.
    Current,
    Stale {
        wanted: Sha256,
        found: Sha256,
        text: Option<BaseText<'text>>,
    },
}

/// The text of the base, where that is at hand.
#[derive(Clone, Copy)]
pub(crate) struct BaseText<'text> {
    pub(crate) text: &'text str,
    /// The file as the batch found it, before its own operations on it; none where it came by one.
    pub(crate) untouched: Option<&'text str>,
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

/// Finds all hunks' places and puts them in; the error is the outcome of the refused edit.
pub(crate) fn place(text: &str, base: Base<'_>, hunks: &[Hunk]) -> Result<Placement, OperationOutcome> {
    let lines: Vec<HunkLines<'_>> = hunks.iter().map(HunkLines::new).collect();
    place_lines(text, base, hunks, &lines)
}

/// Whether these hunks, taken back, lead to another text, and to which.
pub(crate) fn take_back(text: &str, hunks: &[Hunk]) -> Result<Placement, OperationOutcome> {
    let lines: Vec<HunkLines<'_>> = hunks.iter().map(|hunk| HunkLines::new(hunk).turned()).collect();
    place_lines(text, Base::Unknown, hunks, &lines)
}

fn place_lines(
    text: &str,
    base: Base<'_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'_>],
) -> Result<Placement, OperationOutcome> {
    if matches!(base, Base::Unknown | Base::Stale { text: None, .. })
        && let Some(placement) = plain(text, lines)
    {
        return Ok(placement);
    }
    by_ladder(&Lines::new(text), base, hunks, lines)
}

fn by_ladder(
    file: &Lines<'_>,
    base: Base<'_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'_>],
) -> Result<Placement, OperationOutcome> {
    if matches!(base, Base::Current)
        && let Some(seats) = by_line_number(file, hunks, lines)?
    {
        check_collisions(&seats)?;
        return assemble(file, seats, Some(PlacementStep::Base));
    }
    if is_all(file, lines) {
        return Ok(Placement::Landed);
    }
    let mut forms = Forms::new(file);
    if let Base::Stale { text: Some(base), .. } = base {
        return provenance::place(&mut forms, base, hunks, lines);
    }
    let is_base = matches!(base, Base::Current);
    let seats = by_text(&mut forms, hunks, lines, is_base).map_err(|outcome| match (base, outcome) {
        // Without any text to look for there is nothing to say but that the file is another.
        (Base::Stale { wanted, found, .. }, OperationOutcome::NoMatch { hunk, nearest: None, hint })
            if lines.get(hunk as usize).is_some_and(|hunk| hunk.old.is_empty()) =>
        {
            OperationOutcome::StaleBase { wanted, found, hint: hints::stale_edit(&hint) }
        }
        (_, outcome) => outcome,
    })?;
    check_collisions(&seats)?;
    assemble(file, seats, None)
}

/// All hunks at their own lines, if the text there is theirs. Only for the file they were made against.
fn by_line_number<'hunk>(
    file: &Lines<'_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
) -> Result<Option<Vec<Seat<'hunk>>>, OperationOutcome> {
    let mut seats = Vec::with_capacity(hunks.len());
    for (index, (hunk, lines)) in hunks.iter().zip(lines).enumerate() {
        let at = match hunk.start_line {
            None if lines.old.is_empty() && hunk.at_end => Some(file.len()),
            line => line.and_then(|line| (line as usize).checked_sub(1)),
        };
        match at.filter(|at| *at <= file.len()) {
            Some(at) if stands_at(file, at, &lines.old) => seats.push(Seat::exact(index, lines, at)),
            None if lines.old.is_empty() && hunk.start_line.is_some() => {
                return Err(malformed_as(hints::insertion_out_of_file(index, file.len())));
            }
            // A miscounted line number is common and harmless where the lines themselves stand once.
            _ => return Ok(None),
        }
    }
    Ok(Some(seats))
}

fn stands_at(file: &Lines<'_>, at: usize, lines: &Lines<'_>) -> bool {
    at + lines.len() <= file.len() && file.slice(at..at + lines.len()) == lines.text()
}

/// Each hunk where its lines stand exactly once. `is_base`: the file is the one that they were made against.
fn by_text<'hunk>(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
    is_base: bool,
) -> Result<Vec<Seat<'hunk>>, OperationOutcome> {
    let places = found(forms, hunks, lines);
    seated(forms, hunks, lines, places, is_base)
}

/// Each hunk in its place, given where its `old` and its `new` stand.
fn seated<'hunk>(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
    places: Vec<Places>,
    is_base: bool,
) -> Result<Vec<Seat<'hunk>>, OperationOutcome> {
    let file = forms.file;
    let mut verdicts = Vec::with_capacity(lines.len());
    let places = twins::each_its_own(lines, places);
    for (index, ((hunk, lines), (old, new))) in hunks.iter().zip(lines).zip(places).enumerate() {
        verdicts.push(if lines.old.is_empty() {
            insertion(file, index, hunk, lines)
        } else {
            let numbered = match &old {
                Some(Found { places, .. }) if is_base => places.first().copied(),
                _ => hunk.start_line.and_then(|line| (line as usize).checked_sub(1)),
            };
            decide(forms, index, lines, numbered, old, new)
        });
    }
    doubt::weak_ones(forms, lines, &mut verdicts);
    doubt::deletions(forms, lines, &mut verdicts);
    doubt::still_pending(forms, lines, &mut verdicts);
    neighbours::settle(forms, hunks, lines, &mut verdicts);
    let mut seats = Vec::with_capacity(verdicts.len());
    for (index, (verdict, hunk)) in verdicts.into_iter().zip(lines).enumerate() {
        seats.push(match verdict {
            Verdict::Seated(seat) => seat,
            Verdict::Refused(refusal) => return Err(refusal),
            Verdict::Doubtful { somewhere: Some(seat), .. } => seat,
            // Where `new` stands, an `old` that is only alike may be another's.
            Verdict::Doubtful { refusal, .. } => match partly(forms, index, hunk) {
                Ok(seat) if seat.landed => seat,
                _ => return Err(refusal),
            },
            Verdict::Nowhere => partly(forms, index, hunk)?,
        });
    }
    Ok(in_habit(file, lines, seats))
}

/// A hunk that shows nothing of how the file writes tabs or quotes is written like the others of its edit.
fn in_habit<'hunk>(
    file: &Lines<'_>,
    lines: &[HunkLines<'hunk>],
    seats: Vec<Seat<'hunk>>,
) -> Vec<Seat<'hunk>> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (seat, hunk) in seats.iter().zip(lines) {
        if seat.form >= Form::Indentation
            && !seat.partial
            && !seat.landed
            && seat.full.len() == hunk.old.len()
        {
            pairs.extend(hunk.old.iter().zip(seat.full.clone().map(|line| file.get(line))));
        }
    }
    if pairs.is_empty() && lines.iter().all(|hunk| hunk.old.iter().all(|line| indentation(line).is_empty())) {
        let new = || lines.iter().flat_map(|hunk| hunk.new.iter());
        pairs.extend(style::habit_of(file, new));
    }
    if pairs.is_empty() || !style::Style::observe(&pairs).is_some_and(|style| style.is_habit()) {
        return seats;
    }
    seats.into_iter().zip(lines).map(|(seat, hunk)| seat.in_habit(hunk, file, &pairs)).collect()
}

/// By its edited context; one whose `new` stands so has landed.
fn partly<'hunk>(
    forms: &mut Forms<'_, '_>,
    number: usize,
    hunk: &HunkLines<'hunk>,
) -> Result<Seat<'hunk>, OperationOutcome> {
    let file = forms.file;
    let index = forms.index(Form::Punctuation);
    let pending = partial::partial(number, hunk, index, file);
    let landed = partial::landed(number, hunk, index, file);
    match (pending, landed) {
        (Some(seat), None) => Ok(seat),
        (None, Some(seat)) => Ok(seat),
        (Some(pending), Some(landed)) => {
            let places = [pending.full.start, landed.full.start];
            Err(ambiguous(file, number, &hunk.old, &places, hints::landed_or_not(number)))
        }
        (None, None) => Err(refusal::nowhere(file, index, number, hunk)),
    }
}

#[cfg(test)]
mod tests;
