//! Whether lines of the base could as well be others of the file that look like them.

use std::ops::Range;

use super::super::form::Index;
use super::super::occurrences::OCCURRENCES_MAX;
use super::Way;
use crate::lines::is_telling;

/// How far the surroundings of two twins are compared.
const EXTENT_LINES_MAX: usize = 24;
/// Lines beside a change among which the other side may have put its twin.
const BESIDE_LINES: usize = 3;

impl Way<'_, '_> {
    /// Whether the change's lines and their neighbours stand elsewhere among lines that are more like those around them
    /// in the base on one side, as where a block was moved and its end is that of another; or in what the other side put
    /// beside them.
    pub(crate) fn has_rival(
        &self,
        file: &Index<'_>,
        from: &Range<usize>,
        to: &Range<usize>,
        lead: usize,
    ) -> bool {
        let own = self.extent(file, from, to.start);
        let is_more = |at: usize| {
            let other = self.extent(file, from, at);
            let followed = self.followed(from, to, other);
            other.0 >= followed.0.max(own.0) + lead || other.1 >= followed.1.max(own.1) + lead
        };
        let (above, below) = (from.start.min(1), (self.base.len() - from.end).min(1));
        // A rival has more lines than the place on one side.
        let rows = [
            (self.reaching((0..from.start).rev(), own.0 + lead), Some(below)),
            (Some(above), self.reaching(from.end..self.base.len(), own.1 + lead)),
        ];
        for (above, below) in rows {
            let (Some(above), Some(below)) = (above, below) else { continue };
            let places = file.places_of(self.base, from.start - above..from.end + below);
            let mut rivals = places.iter().map(|at| at + above).filter(|at| *at != to.start);
            if places.len() >= OCCURRENCES_MAX || rivals.any(is_more) {
                return true;
            }
        }
        let near = from.start.saturating_sub(BESIDE_LINES)..from.end + BESIDE_LINES;
        let row = from.start - above..from.end + below;
        self.touching(&near).flat_map(|theirs| theirs.after.clone()).any(|at| {
            let other = || self.extent(file, from, at + above);
            at + above != to.start
                && self.stands_at(file, &row, at)
                && (other().0 >= own.0 || other().1 >= own.1)
        })
    }

    /// How many of these lines it takes until so many say something.
    fn reaching(&self, lines: impl Iterator<Item = usize>, telling: usize) -> Option<usize> {
        let mut reached = lines.take(EXTENT_LINES_MAX).enumerate();
        let by = reached.by_ref().filter(|(_, line)| is_telling(self.base.get(*line))).map(|(by, _)| by + 1);
        by.take(telling).nth(telling.checked_sub(1)?)
    }

    fn stands_at(&self, file: &Index<'_>, row: &Range<usize>, at: usize) -> bool {
        let stands = |(offset, line): (usize, usize)| {
            file.number(self.base.get(line)).is_some_and(|id| file.file.get(at + offset) == Some(&id))
        };
        row.clone().enumerate().all(stands)
    }

    /// Whether these lines are the one of two twins that the other side left, and which of them cannot be told.
    pub(crate) fn is_left_twin(&self, from: &Range<usize>, to: &Range<usize>) -> bool {
        self.touching(from).filter(|theirs| theirs.after.is_empty()).any(|theirs| {
            let (up, down) = (theirs.before.start - theirs.slid.start, theirs.slid.end - theirs.before.end);
            let left = theirs.after.start.saturating_sub(up)..theirs.after.end + down;
            let in_slid = theirs.slid.start <= from.start && from.end <= theirs.slid.end;
            in_slid && left.start <= to.start && to.end <= left.end
        })
    }

    /// Whether these lines of the file stood all in a row elsewhere than there in the base.
    pub(crate) fn stood_elsewhere(&self, lines: &Range<usize>, there: usize) -> bool {
        let Some(first) = self.origin(lines.start).filter(|first| *first != there) else { return false };
        lines.clone().enumerate().all(|(offset, line)| self.origin(line) == Some(first + offset))
    }

    /// How many of so many next lines that say something, above and below, were followed to the same place.
    fn followed(&self, from: &Range<usize>, to: &Range<usize>, of: (usize, usize)) -> (usize, usize) {
        let telling = |line: &usize| is_telling(self.base.get(*line));
        let near = to.start.saturating_sub(2 * EXTENT_LINES_MAX)..to.end + 2 * EXTENT_LINES_MAX;
        let is_near = |line: &usize| self.line(*line).is_some_and(|there| near.contains(&there));
        let above = (0..from.start).rev().filter(telling).take(of.0);
        let below = (from.end..self.base.len()).filter(telling).take(of.1);
        (above.filter(is_near).count(), below.filter(is_near).count())
    }

    /// How many lines that say something stand above and below as they do around a place of the base.
    pub(crate) fn extent(&self, file: &Index<'_>, from: &Range<usize>, at: usize) -> (usize, usize) {
        let same = |line: usize, there: usize| {
            file.number(self.base.get(line)).is_some_and(|id| file.file.get(there) == Some(&id))
        };
        let telling = |line: &usize| is_telling(self.base.get(*line));
        let above = (1..=EXTENT_LINES_MAX.min(from.start).min(at))
            .take_while(|by| same(from.start - by, at - by))
            .filter(|by| telling(&(from.start - by)))
            .count();
        let end = at + from.len();
        let below = (0..EXTENT_LINES_MAX.min(self.base.len() - from.end))
            .take_while(|by| same(from.end + by, end + by))
            .filter(|by| telling(&(from.end + by)))
            .count();
        (above, below)
    }
}
