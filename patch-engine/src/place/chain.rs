//! Edits of one file in a row, each made on what the ones before it left: looked for together, in one pass over the file,
//! and put in together. An edit that what was changed before it could concern ends the chain: the file is made first.

mod changes;

use std::borrow::Cow;

use shared_contracts::patches::{Hunk, OperationOutcome};

use super::assemble::{assemble, check_collisions};
use super::exact::{exact_places, is_all, runs};
use super::form::{Form, Forms};
use super::found::found_beyond;
use super::seat::Seat;
use super::{Placement, seated};
use crate::hunks::HunkLines;
use crate::lines::Lines;
use changes::Changes;

/// So many edits are looked for at first, then so many times as many.
const AHEAD: usize = 16;

/// What became of the first edits of a row; at least of one.
pub(crate) struct Chain {
    pub(crate) outcomes: Vec<OperationOutcome>,
    /// None where they changed nothing.
    pub(crate) text: Option<String>,
}

/// Whether hunks are put in or taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Forth,
    Back,
}

/// The text after all of the edits, if each of them changes it.
pub(crate) fn through(text: &str, edits: &[&[Hunk]], direction: Direction) -> Option<String> {
    // One alone mostly tells.
    let (mut now, mut done, mut ahead) = (Cow::Borrowed(text), 0, 1);
    while let Some(rest) = edits.get(done..).filter(|rest| !rest.is_empty()) {
        let chain = chain(&now, rest.get(..ahead).unwrap_or(rest), direction);
        if !chain.outcomes.iter().all(|outcome| matches!(outcome, OperationOutcome::Applied { .. })) {
            return None;
        }
        ahead = usize::MAX;
        done += chain.outcomes.len();
        now = Cow::Owned(chain.text?);
    }
    Some(now.into_owned())
}

/// Places as many of the edits as do not depend on one another.
pub(crate) fn chain(text: &str, edits: &[&[Hunk]], direction: Direction) -> Chain {
    let file = Lines::new(text);
    let mut forms = Forms::lasting(&file);
    let taken = match direction {
        Direction::Forth => HunkLines::new,
        Direction::Back => |hunk| HunkLines::new(hunk).turned(),
    };
    let mut changes = Changes::new(&file);
    let mut outcomes = Vec::with_capacity(edits.len());
    // Where the first few edits build on one another, having looked for all of them would be in vain.
    let mut ahead = AHEAD;
    'rows: while let Some(rest) = edits.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
        let rest = rest.get(..ahead).unwrap_or(rest);
        ahead = ahead.saturating_mul(AHEAD);
        let lines: Vec<Vec<HunkLines<'_>>> =
            rest.iter().map(|hunks| hunks.iter().map(taken).collect()).collect();
        let runs: Vec<&Lines<'_>> = lines.iter().flat_map(|lines| runs(lines)).collect();
        let mut exact = exact_places(&mut forms, &runs).into_iter();
        for (hunks, lines) in rest.iter().zip(&lines) {
            let exact: Vec<Vec<usize>> = exact.by_ref().take(2 * lines.len()).collect();
            let is_first = changes.is_empty();
            if !is_first && (needs_whole_file(hunks, lines) || changes.may_hold(lines, &mut forms)) {
                break 'rows;
            }
            if is_first && is_all(&file, lines) {
                outcomes.push(OperationOutcome::AlreadyApplied);
                continue;
            }
            let places = found_beyond(&mut forms, hunks, lines, exact);
            let is_near = !is_first && changes.are_near(&places, lines);
            if is_near && changes.touch(&places, lines) {
                break 'rows;
            }
            let seats = seated(&mut forms, hunks, lines, places, false).and_then(|seats| {
                check_collisions(&seats)?;
                Ok(seats)
            });
            let is_plain =
                seats.as_ref().is_ok_and(|seats| seats.iter().all(|seat| !seat.landed && !seat.partial));
            let concern = match &seats {
                _ if is_first => false,
                Ok(seats) if is_plain => changes.are_alike_beside(seats, lines, &mut forms),
                _ => is_near || changes.concern(lines, forms.index(Form::Punctuation)),
            };
            if concern {
                break 'rows;
            }
            match seats {
                Err(refusal) => outcomes.push(changes.moved(refusal)),
                Ok(seats) if seats.iter().all(|seat| seat.landed) => {
                    outcomes.push(OperationOutcome::AlreadyApplied)
                }
                Ok(seats) if changes.admit(&seats) => outcomes.push(changes.add(seats)),
                Ok(seats) if is_first => {
                    let (outcome, text) = alone(&file, seats);
                    outcomes.push(outcome);
                    return Chain { outcomes, text };
                }
                Ok(_) => break 'rows,
            }
        }
    }
    Chain { outcomes, text: changes.into_text() }
}

fn alone(file: &Lines<'_>, seats: Vec<Seat<'_>>) -> (OperationOutcome, Option<String>) {
    match assemble(file, seats, None) {
        Ok(Placement::Changed { text, step, lines }) => {
            (OperationOutcome::Applied { step, lines }, Some(text))
        }
        Ok(Placement::Landed) => (OperationOutcome::AlreadyApplied, None),
        Err(refusal) => (refusal, None),
    }
}

/// Whether an edit is placed by more than the lines of its hunks.
fn needs_whole_file(hunks: &[Hunk], lines: &[HunkLines<'_>]) -> bool {
    hunks.iter().any(|hunk| hunk.at_end || !hunk.within.is_empty())
        || lines.iter().any(|hunk| hunk.old.is_empty())
}

#[cfg(test)]
mod tests;
