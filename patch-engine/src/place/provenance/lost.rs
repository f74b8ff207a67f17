//! Hunks that were neither followed nor have landed as a whole: landed among other changes, moved as a block, or a
//! conflict.

use std::ops::Range;

use shared_contracts::patches::{LineRange, Nearest, OperationOutcome};

use super::super::decide::{Places, Verdict, decide};
use super::super::form::Forms;
use super::super::near::alike;
use super::super::partly;
use super::super::refusal::{line_diff_text, no_match};
use super::super::seat::Seat;
use super::super::way::Way;
use super::InBase;
use crate::hints;
use crate::hunks::{HunkLines, to_u32};
use crate::lines::{Lines, is_telling};

/// From how much in common on a line counts as another one edited.
const ALIKE_MIN: f64 = 0.5;
/// By how many lines the surroundings of a twin must be more like those in the base to be the place as well.
const LEAD: usize = 1;

pub(super) struct Lost<'a, 'text, 'hunk> {
    pub(super) base: &'a Lines<'text>,
    pub(super) way: &'a Way<'a, 'text>,
    pub(super) placed: &'a InBase<'hunk>,
    pub(super) hunk: &'a HunkLines<'hunk>,
    /// Where it was followed to, unless that is its twin's place.
    pub(super) doubtful: Option<Seat<'hunk>>,
}

impl<'hunk> Lost<'_, '_, 'hunk> {
    /// Its place by its text, given where that stands in the file and whether it stands once in the base.
    pub(super) fn seat(
        self,
        forms: &mut Forms<'_, '_>,
        (old, new): Places,
        is_once: bool,
    ) -> Result<Seat<'hunk>, OperationOutcome> {
        let (file, hunk, index) = (forms.file, self.hunk, self.placed.seat.index);
        let there = self.way.there(&self.placed.seat.core);
        if let (None, Some(new)) = (&old, &new) {
            let spot = there.start.saturating_sub(hunk.new.len())..there.end + hunk.new.len();
            let mut inside =
                new.places.iter().filter(|at| spot.start <= **at && **at + hunk.new.len() <= spot.end);
            if let (Some(at), None) = (inside.next(), inside.next())
                && hunk.before + hunk.after > 0
            {
                return Ok(Seat::landed(index, hunk, *at, new.form));
            }
        }
        if is_once && !self.is_edited(file, &there) && !hunk.old.is_empty() {
            let seat = match decide(forms, index, hunk, None, old, new) {
                Verdict::Seated(seat) => Some(seat),
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::Doubtful { somewhere: Some(seat), .. } => Some(seat),
                Verdict::Doubtful { .. } | Verdict::Nowhere => {
                    partly(forms, index, hunk).ok().filter(|seat| self.may_be(file, seat))
                }
            };
            if let Some(seat) = seat.filter(|seat| seat.landed || self.was_moved_to(forms, seat)) {
                return Ok(seat);
            }
        }
        let lines = LineRange { first: to_u32(there.start + 1), last: to_u32(there.end) };
        let shown = there.start.saturating_sub(hunk.before)..(there.end + hunk.after).min(file.len());
        let diff = line_diff_text(hunk.old.text(), file.slice(shown));
        let nearest = Nearest { lines, score_percent: 0, diff };
        Err(no_match(index, Some(nearest), hints::changed_otherwise(index, there.start + 1, there.end)))
    }

    /// Brand new lines that are like the hunk's own, or its context where it was: what looks like it is a copy.
    fn is_edited(&self, file: &Lines<'_>, there: &Range<usize>) -> bool {
        let core = self.placed.seat.core.clone().map(|line| self.base.get(line));
        let core: Vec<&str> = core.filter(|line| is_telling(line)).collect();
        there
            .clone()
            .filter(|line| self.way.is_new(*line))
            .map(|line| file.get(line))
            .any(|line| is_telling(line) && core.iter().any(|ours| alike(ours, line) >= ALIKE_MIN))
    }

    /// Where it may have been followed to, and not other lines of the base.
    fn may_be(&self, file: &Lines<'_>, seat: &Seat<'_>) -> bool {
        let is_other = |line: usize| {
            let origin = self.way.origin(line);
            is_telling(file.get(line)) && origin.is_some_and(|line| !self.placed.seat.core.contains(&line))
        };
        self.doubtful.as_ref().is_none_or(|doubtful| doubtful.core == seat.core)
            && !seat.core.clone().any(is_other)
    }

    /// Its surroundings came along, and no other place is as good.
    fn was_moved_to(&self, forms: &mut Forms<'_, '_>, seat: &Seat<'_>) -> bool {
        let (way, from, at) = (self.way, &self.placed.seat, &seat.full);
        let index = forms.index(way.form);
        let context = || (0..self.hunk.old.len()).filter(|line| is_telling(self.hunk.old.get(*line)));
        let stays = |line: &usize| {
            let there = self.placed.lines.get(*line).copied().flatten().and_then(|line| way.line(line));
            there.is_some_and(|there| !at.contains(&there))
        };
        let came_along = way.extent(index, &from.full, at.start) != (0, 0)
            || 2 * context().filter(stays).count() < context().count().max(1);
        came_along
            && !way.stood_elsewhere(at, from.full.start)
            && !way.is_left_twin(&from.core, &seat.core)
            && !way.has_rival(index, &from.core, &seat.core, LEAD)
    }
}
