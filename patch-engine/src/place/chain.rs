//! Edits of one file in a row, each made on what the ones before it left: looked for together, in one pass over the file,
//! and put in together. An edit that what was changed before it could concern ends the chain: the file is made first.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use shared_contracts::limits::FILE_BYTES_MAX;
use shared_contracts::patches::{Hunk, LineRange, OperationOutcome};

use super::assemble::{assemble, check_collisions, coarsest};
use super::exact::{exact_places, is_all, runs};
use super::form::{Form, Forms, Index, Mixing, mixed};
use super::near::{RARE_MAX, REACH};
use super::seat::{Seat, Splice};
use super::{Placement, Places, found_beyond, seated};
use crate::TEXT_BYTES_MAX;
use crate::hunks::{HunkLines, to_u32};
use crate::lines::{Lines, is_telling};

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
            let is_first = changes.splices.is_empty();
            if !is_first && (needs_whole_file(hunks, lines) || changes.may_hold(lines)) {
                break 'rows;
            }
            if is_first && is_all(&file, lines) {
                outcomes.push(OperationOutcome::AlreadyApplied);
                continue;
            }
            let places = found_beyond(&mut forms, hunks, lines, exact);
            if !is_first && changes.touch(&places, lines) {
                break 'rows;
            }
            let seats = seated(&mut forms, hunks, lines, places, false).and_then(|seats| {
                check_collisions(&seats)?;
                Ok(seats)
            });
            let is_plain =
                seats.as_ref().is_ok_and(|seats| seats.iter().all(|seat| !seat.landed && !seat.partial));
            if !is_first && !is_plain && changes.concern(lines, forms.index(Form::Punctuation)) {
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

/// What the edits so far change in the file, and what could be found there now that was not before.
struct Changes<'file, 'text, 'hunk> {
    file: &'file Lines<'text>,
    /// By first line; none touches another edit's.
    splices: BTreeMap<usize, Vec<Splice<'hunk>>>,
    /// Lines that were added.
    added: HashSet<u64, Mixing>,
    /// Lines that stand one below the other since.
    pairs: HashSet<u64, Mixing>,
    /// By how many lines the file has grown above a line: a Fenwick tree.
    grown: Vec<i64>,
    bytes: usize,
}

impl<'file, 'text, 'hunk> Changes<'file, 'text, 'hunk> {
    fn new(file: &'file Lines<'text>) -> Self {
        let (added, pairs) = (HashSet::default(), HashSet::default());
        let bytes = file.text().len();
        Self { file, splices: BTreeMap::new(), added, pairs, grown: Vec::new(), bytes }
    }

    /// Whether these lines could stand where something was changed. Lines are compared in the coarsest form: what differs
    /// in it differs in all.
    fn may_hold(&self, lines: &[HunkLines<'_>]) -> bool {
        let holds = |run: &Lines<'_>| {
            let mut above = None;
            run.iter().any(|line| {
                let line = sum(line);
                let pair = above.replace(line).map(|above| pair(above, line));
                match pair {
                    Some(pair) => self.pairs.contains(&pair),
                    None => run.len() == 1 && self.added.contains(&line),
                }
            })
        };
        lines.iter().any(|hunk| holds(&hunk.old) || holds(&hunk.new))
    }

    /// Whether a place that is found by likeness could be another since: lines were added that the edit has too, or
    /// something was changed near those of its lines that tell where to look.
    fn concern(&self, lines: &[HunkLines<'_>], index: &Index<'_>) -> bool {
        lines.iter().any(|hunk| {
            let around = hunk.old.len().max(hunk.new.len()) + REACH;
            let near = |at: &u32| self.touched((*at as usize).saturating_sub(around), *at as usize + around);
            let all = || hunk.old.iter().chain(hunk.new.iter());
            let there = |line| index.number(line).map_or(&[][..], |id| index.postings.of(id));
            let rare = || all().map(there).filter(|there| (1..=RARE_MAX).contains(&there.len()));
            rare().next().is_none()
                || all().any(|line| is_telling(line) && self.added.contains(&sum(line)))
                || rare().flatten().any(near)
        })
    }

    /// Whether something was changed at one of the places, or so near that it counts for whether the hunk has landed.
    fn touch(&self, places: &[Places], lines: &[HunkLines<'_>]) -> bool {
        places.iter().zip(lines).any(|((old, new), hunk)| {
            let around = hunk.old.len().max(hunk.new.len()) + 1;
            let mut all = [old, new].into_iter().flatten().flat_map(|found| &found.places);
            all.any(|at| self.touched(at.saturating_sub(around), at + 2 * around))
        })
    }

    fn touched(&self, first: usize, last: usize) -> bool {
        let above = self.splices.range(..=last).next_back();
        above.and_then(|(_, splices)| splices.last()).is_some_and(|splice| splice.lines.end >= first)
    }

    /// Whether the edit can be one of several.
    fn admit(&self, seats: &[Seat<'_>]) -> bool {
        let mut bytes = self.bytes;
        let mut previous: Option<&Splice<'_>> = None;
        let mut ordered: Vec<&Splice<'_>> = seats.iter().flat_map(|seat| &seat.splices).collect();
        ordered.sort_by_key(|splice| (splice.lines.start, splice.lines.end));
        let all_fit = ordered.into_iter().all(|splice| {
            let (lines, text) = (&splice.lines, &splice.text);
            bytes = bytes.saturating_add(text.len());
            let apart = previous.replace(splice).is_none_or(|above| above.lines.end < lines.start);
            let runs_on = !text.is_empty()
                && ((!text.ends_with('\n') && lines.end < self.file.len())
                    || (lines.start == self.file.len() && self.file.is_open()));
            apart
                && !runs_on
                && memchr::memchr(0, text.as_bytes()).is_none()
                && !self.touched(lines.start.saturating_sub(1), lines.end + 1)
        });
        all_fit && bytes as u64 <= FILE_BYTES_MAX.min(TEXT_BYTES_MAX as u64)
    }

    /// Takes up the edit: what it is told is as the file is then.
    fn add(&mut self, mut seats: Vec<Seat<'hunk>>) -> OperationOutcome {
        seats.sort_by_key(|seat| (seat.core.start, seat.core.end, seat.full.start, seat.index));
        let step = coarsest(&seats);
        let mut ranges: Vec<(usize, LineRange)> = Vec::with_capacity(seats.len());
        let mut own = 0;
        let mut grown = Vec::new();
        for seat in seats {
            let before = own + self.grown_above(seat.full.start);
            for splice in seat.splices {
                let by = splice.text_lines as i64 - splice.lines.len() as i64;
                own += by;
                grown.push((splice.lines.start, by));
                self.note(&splice);
                self.bytes += splice.text.len();
                self.splices.entry(splice.lines.start).or_default().push(splice);
            }
            let after = own + self.grown_above(seat.full.end);
            let first = seat.full.start.saturating_add_signed(before as isize) + 1;
            let last = seat.full.end.saturating_add_signed(after as isize);
            ranges.push((seat.index, LineRange { first: to_u32(first), last: to_u32(last) }));
        }
        grown.into_iter().for_each(|(line, by)| self.grow(line, by));
        ranges.sort_by_key(|(index, _)| *index);
        OperationOutcome::Applied { step, lines: ranges.into_iter().map(|(_, range)| range).collect() }
    }

    /// What stands in the file now that did not before.
    fn note(&mut self, splice: &Splice<'_>) {
        let file = self.file;
        let mut above = splice.lines.start.checked_sub(1).map(|line| sum(file.get(line)));
        for line in splice.text.split_inclusive('\n') {
            let line = sum(line);
            self.added.insert(line);
            self.pairs.extend(above.replace(line).map(|above| pair(above, line)));
        }
        if let (Some(above), true) = (above, splice.lines.end < file.len()) {
            self.pairs.insert(pair(above, sum(file.get(splice.lines.end))));
        }
    }

    fn grow(&mut self, line: usize, by: i64) {
        self.grown.resize(self.file.len() + 2, 0);
        let mut at = line + 1;
        while let Some(slot) = self.grown.get_mut(at) {
            *slot += by;
            at += at & at.wrapping_neg();
        }
    }

    fn grown_above(&self, line: usize) -> i64 {
        let (mut at, mut sum) = (line, 0);
        while at > 0 {
            sum += self.grown.get(at).copied().unwrap_or_default();
            at &= at - 1;
        }
        sum
    }

    /// A refusal whose lines are those of the file as it is then.
    fn moved(&self, mut refusal: OperationOutcome) -> OperationOutcome {
        let moved = |lines: &mut LineRange| {
            let by = self.grown_above(lines.first.saturating_sub(1) as usize);
            let by = i32::try_from(by).unwrap_or_default();
            lines.first = lines.first.saturating_add_signed(by);
            lines.last = lines.last.saturating_add_signed(by);
        };
        match &mut refusal {
            OperationOutcome::Ambiguous { candidates, .. } => {
                candidates.iter_mut().for_each(|candidate| moved(&mut candidate.lines));
            }
            OperationOutcome::NoMatch { nearest: Some(nearest), .. } => moved(&mut nearest.lines),
            _ => {}
        }
        refusal
    }

    fn into_text(self) -> Option<String> {
        if self.splices.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.bytes);
        let mut done = 0;
        for splice in self.splices.into_values().flatten() {
            text.push_str(self.file.slice(done..splice.lines.start));
            text.push_str(&splice.text);
            done = splice.lines.end;
        }
        text.push_str(self.file.slice(done..self.file.len()));
        Some(text)
    }
}

fn sum(line: &str) -> u64 {
    mixed(&Form::Punctuation.key(line))
}

fn pair(above: u64, below: u64) -> u64 {
    above.rotate_left(23) ^ below.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests;
