//! What the edits so far change in the file, and what could be found there now that was not before.

use std::collections::{BTreeMap, HashMap, HashSet};

use shared_contracts::limits::FILE_BYTES_MAX;
use shared_contracts::patches::{LineRange, OperationOutcome};

use super::super::assemble::coarsest;
use super::super::beside::{Around, Beside, InFile, beside, has_sides};
use super::super::decide::{Found, Places};
use super::super::form::{Form, Forms, Index, Mixing, mixed};
use super::super::near::{RARE_MAX, REACH};
use super::super::seat::{Seat, Splice};
use crate::TEXT_BYTES_MAX;
use crate::hunks::{HunkLines, to_u32};
use crate::lines::{Lines, is_telling};

pub(super) struct Changes<'file, 'text, 'hunk> {
    file: &'file Lines<'text>,
    /// By first line; none touches another.
    splices: BTreeMap<usize, Splice<'hunk>>,
    /// Lines that were added, and by how many times each stands there more often, or more seldom, all in all.
    added: HashSet<u64, Mixing>,
    more: HashMap<u64, isize, Mixing>,
    /// Lines that stand one below the other since.
    pairs: HashSet<u64, Mixing>,
    /// By how many lines the file has grown above a line: a Fenwick tree.
    grown: Vec<i64>,
    bytes: usize,
}

impl<'file, 'text, 'hunk> Changes<'file, 'text, 'hunk> {
    pub(super) fn new(file: &'file Lines<'text>) -> Self {
        let (added, more, pairs) = (HashSet::default(), HashMap::default(), HashSet::default());
        let bytes = file.text().len();
        Self { file, splices: BTreeMap::new(), added, more, pairs, grown: Vec::new(), bytes }
    }

    /// Whether these lines could stand where something was changed. Lines are compared in the coarsest form: what differs
    /// in it differs in all.
    pub(super) fn may_hold(&self, lines: &[HunkLines<'_>], forms: &mut Forms<'_, '_>) -> bool {
        let mut runs = lines.iter().flat_map(|hunk| [&hunk.old, &hunk.new]);
        runs.any(|run| self.has_part_of(run) && !self.is_elsewhere(run, forms.index(Form::Punctuation)))
    }

    fn has_part_of(&self, run: &Lines<'_>) -> bool {
        let mut above = None;
        run.iter().any(|line| {
            let line = sum(line);
            let pair = above.replace(line).map(|above| pair(above, line));
            match pair {
                Some(pair) => self.pairs.contains(&pair),
                None => run.len() == 1 && self.added.contains(&line),
            }
        })
    }

    /// Whether one of its lines was not added and stands nowhere near a change: then no change made it a place.
    fn is_elsewhere(&self, run: &Lines<'_>, index: &Index<'_>) -> bool {
        let near =
            |at: &u32| self.touched((*at as usize).saturating_sub(run.len()), *at as usize + run.len());
        run.iter().any(|line| {
            let there = index.lines_of(line);
            there.len() <= RARE_MAX && !self.added.contains(&sum(line)) && !there.iter().any(near)
        })
    }

    /// Whether a place that is found by likeness could be another since: lines came or went that the edit has too, or
    /// something was changed near those of its lines that tell where to look.
    pub(super) fn concern(&self, lines: &[HunkLines<'_>], index: &Index<'_>) -> bool {
        lines.iter().any(|hunk| {
            let around = hunk.old.len().max(hunk.new.len()) + REACH;
            let near = |at: &u32| self.touched((*at as usize).saturating_sub(around), *at as usize + around);
            let all = || hunk.old.iter().chain(hunk.new.iter());
            let rare = || {
                all().map(|line| index.lines_of(line)).filter(|there| (1..=RARE_MAX).contains(&there.len()))
            };
            rare().next().is_none()
                || all().any(|line| is_telling(line) && self.more.contains_key(&sum(line)))
                || rare().flatten().any(near)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.splices.is_empty()
    }

    /// Whether something was changed so near to one of the places that it may count for whether the hunk has landed.
    pub(super) fn are_near(&self, places: &[Places], lines: &[HunkLines<'_>]) -> bool {
        places.iter().zip(lines).any(|((old, new), hunk)| {
            let around = hunk.old.len().max(hunk.new.len()) + 1;
            let mut all = [old, new].into_iter().flatten().flat_map(|found| &found.places);
            all.any(|at| self.touched(at.saturating_sub(around), at + 2 * around))
        })
    }

    /// Whether something was changed at one of the places, or an insertion stands that could have come from elsewhere.
    pub(super) fn touch(&self, places: &[Places], lines: &[HunkLines<'_>]) -> bool {
        places.iter().zip(lines).any(|((old, new), hunk)| {
            let changed = |found: &Option<Found>, run: &Lines<'_>| {
                let mut places = found.iter().flat_map(|found| &found.places);
                places.any(|at| self.touched(at.saturating_sub(1), at + run.len() + 1))
            };
            let inserts = hunk.old_core(0).is_empty();
            changed(old, &hunk.old) || changed(new, &hunk.new) || (inserts && new.is_some())
        })
    }

    /// Whether a hunk has lines like those that stand around its place now.
    pub(super) fn are_alike_beside(
        &self,
        seats: &[Seat<'_>],
        lines: &[HunkLines<'_>],
        forms: &mut Forms<'_, '_>,
    ) -> bool {
        let mut hunks = seats.iter().filter_map(|seat| Some((seat.full.start, lines.get(seat.index)?)));
        hunks.any(|(at, hunk)| {
            has_sides(hunk)
                && beside(hunk, &mut Changed::around(self, at, hunk.new.len(), forms)) != Beside::Other
        })
    }

    fn touched(&self, first: usize, last: usize) -> bool {
        let above = self.splices.range(..=last).next_back();
        above.is_some_and(|(_, splice)| splice.lines.end >= first)
    }

    /// Whether the edit can be one of several.
    pub(super) fn admit(&self, seats: &[Seat<'_>]) -> bool {
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
    pub(super) fn add(&mut self, mut seats: Vec<Seat<'hunk>>) -> OperationOutcome {
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
                self.splices.insert(splice.lines.start, splice);
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
            *self.more.entry(line).or_default() += 1;
            self.pairs.extend(above.replace(line).map(|above| pair(above, line)));
        }
        for line in splice.lines.clone() {
            *self.more.entry(sum(file.get(line))).or_default() -= 1;
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
    pub(super) fn moved(&self, mut refusal: OperationOutcome) -> OperationOutcome {
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

    pub(super) fn into_text(self) -> Option<String> {
        if self.splices.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.bytes);
        let mut done = 0;
        for splice in self.splices.into_values() {
            text.push_str(self.file.slice(done..splice.lines.start));
            text.push_str(&splice.text);
            done = splice.lines.end;
        }
        text.push_str(self.file.slice(done..self.file.len()));
        Some(text)
    }
}

/// The lines around a place as they are now. Nothing was changed at the place itself.
struct Changed<'forms, 'changes, 'file, 'text> {
    /// From the nearest on.
    above: Vec<&'changes str>,
    /// From the place on.
    below: Vec<&'changes str>,
    before: InFile<'forms, 'file, 'text>,
    more: &'changes HashMap<u64, isize, Mixing>,
}

impl<'forms, 'changes, 'file, 'text> Changed<'forms, 'changes, 'file, 'text> {
    /// So many lines above and below.
    fn around(
        changes: &'changes Changes<'_, '_, '_>,
        at: usize,
        lines: usize,
        forms: &'forms mut Forms<'file, 'text>,
    ) -> Self {
        let file = changes.file;
        let (mut above, mut line) = (Vec::new(), at);
        let mut splices = changes.splices.range(..at).rev().map(|(_, splice)| splice).peekable();
        while above.len() < lines {
            if let Some(splice) = splices.next_if(|splice| splice.lines.end == line) {
                above.extend(splice.text.split_inclusive('\n').rev());
                line = splice.lines.start;
            } else if let Some(next) = line.checked_sub(1) {
                above.push(file.get(next));
                line = next;
            } else {
                break;
            }
        }
        let (mut below, mut line) = (Vec::new(), at);
        let mut splices = changes.splices.range(at..).map(|(_, splice)| splice).peekable();
        while below.len() < lines {
            if let Some(splice) = splices.next_if(|splice| splice.lines.start == line) {
                below.extend(splice.text.split_inclusive('\n'));
                line = splice.lines.end;
            } else if line < file.len() {
                below.push(file.get(line));
                line += 1;
            } else {
                break;
            }
        }
        Self { above, below, before: InFile::new(forms, at), more: &changes.more }
    }
}

impl Around for Changed<'_, '_, '_, '_> {
    fn line(&self, offset: isize) -> Option<&str> {
        let lines = if offset < 0 { &self.above } else { &self.below };
        let at = if offset < 0 { offset.unsigned_abs() - 1 } else { offset.unsigned_abs() };
        lines.get(at).copied()
    }

    fn count(&mut self, line: &str) -> usize {
        let before = self.before.count(line);
        before.saturating_add_signed(self.more.get(&sum(line)).copied().unwrap_or_default())
    }
}

fn sum(line: &str) -> u64 {
    mixed(&Form::Punctuation.key(line))
}

fn pair(above: u64, below: u64) -> u64 {
    above.rotate_left(23) ^ below.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
