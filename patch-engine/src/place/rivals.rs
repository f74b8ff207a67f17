//! Whether a place found by edited context is better than every other by the context lines that stand around it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::form::Index;
use super::near::{alike, weight};
use super::occurrences::{OCCURRENCES_MAX, occurrences};
use super::seat::changes;
use crate::hunks::HunkLines;
use crate::lines::Lines;

/// Context lines that count on each side.
const CONTEXT_MAX: usize = 8;
/// Lines that may have come between them.
const STRANGERS: usize = 4;
/// How many more context lines must stand than at the next best place.
const LEAD: usize = 2;
/// A line of the context that stands more often than this points to no place.
const RARE_MAX: usize = 64;
/// From how much in common on the lines to replace count as edited.
const ALIKE_MIN: f64 = 0.5;

/// What of the context stands around a place.
#[derive(Clone, Copy, Default)]
struct Standing {
    lines: usize,
    weight: i32,
}

/// The lines of `old` around a change.
struct Around<'a> {
    index: &'a Index<'a>,
    ids: &'a [u32],
    weights: &'a [i32],
    core: Range<usize>,
}

/// Where each line of `old` stands is given.
pub(crate) fn is_clear(
    hunk: &HunkLines<'_>,
    lines: &[Option<usize>],
    index: &Index<'_>,
    file: &Lines<'_>,
) -> bool {
    let ids = index.run(&hunk.old);
    let weights: Vec<i32> = hunk.old.iter().map(weight).collect();
    changes(hunk).into_iter().all(|(core, _)| {
        let around = Around { index, ids: &ids, weights: &weights, core };
        around.place(lines).is_some_and(|own| around.is_clear(own, hunk, file))
    })
}

impl Around<'_> {
    /// Where the change begins.
    fn place(&self, lines: &[Option<usize>]) -> Option<usize> {
        let at = |line: usize| lines.get(line).copied().flatten();
        at(self.core.start).or_else(|| at(self.core.start.checked_sub(1)?).map(|above| above + 1))
    }

    fn above(&self) -> Range<usize> {
        self.core.start.saturating_sub(CONTEXT_MAX)..self.core.start
    }

    fn below(&self) -> Range<usize> {
        self.core.end..self.ids.len().min(self.core.end + CONTEXT_MAX)
    }

    fn is_clear(&self, own: usize, hunk: &HunkLines<'_>, file: &Lines<'_>) -> bool {
        let standing = self.standing(own, STRANGERS);
        let context = self.above().len() + self.below().len();
        let least = if self.core.is_empty() { 2 } else { 1 };
        if standing.lines < least || 2 * standing.lines < context {
            return false;
        }
        let near = self.near();
        let core = self.ids.get(self.core.clone()).unwrap_or_default();
        let rivals: Vec<usize> = if core.is_empty() {
            near.iter().copied().collect()
        } else {
            occurrences(&self.index.file, &self.index.postings, &[core]).pop().unwrap_or_default()
        };
        if !core.is_empty() && rivals.len() >= OCCURRENCES_MAX {
            return false;
        }
        // A gap nearby sees the same context, but not what stands directly above and below.
        let sees_the_same = |at: usize| at.abs_diff(own) <= CONTEXT_MAX + STRANGERS;
        let is_rival = |at: &usize| {
            *at != own
                && self.standing(*at, STRANGERS).lines + LEAD > standing.lines
                && !(core.is_empty() && sees_the_same(*at) && self.beside(*at) < self.beside(own))
        };
        // The lines to replace may be there edited, in more of their context than here.
        let tight = self.standing(own, 0).weight;
        let is_edited = |at: &usize| {
            !core.is_empty()
                && at.abs_diff(own) >= core.len()
                && self.standing(*at, 0).weight > tight
                && self.likeness(*at, hunk, file) >= ALIKE_MIN
        };
        !rivals.iter().any(is_rival) && !near.iter().any(is_edited)
    }

    /// The places that single lines of the context point to.
    fn near(&self) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        for line in self.above().chain(self.below()) {
            let Some(id) = self.ids.get(line) else { continue };
            let postings = self.index.postings.of(*id);
            if postings.len() <= RARE_MAX {
                let place = |at: &u32| (*at as usize + self.core.start).checked_sub(line);
                places.extend(postings.iter().filter_map(place));
            }
        }
        places
    }

    /// How many of the lines directly above and below a gap stand there.
    fn beside(&self, at: usize) -> usize {
        let same = |ours: Option<usize>, there: Option<usize>| {
            let (ours, there) =
                (ours.and_then(|line| self.ids.get(line)), there.and_then(|line| self.index.file.get(line)));
            ours.is_some() && ours == there
        };
        usize::from(same(self.core.start.checked_sub(1), at.checked_sub(1)))
            + usize::from(same(Some(self.core.end), Some(at)))
    }

    fn standing(&self, at: usize, strangers: usize) -> Standing {
        let file = &self.index.file;
        let at = at.min(file.len());
        let end = (at + self.core.len()).min(file.len());
        let (above, below) = (self.above(), self.below());
        let there_above = at.saturating_sub(above.len() + strangers)..at;
        let there_below = end..file.len().min(end + below.len() + strangers);
        let (one, other) = (self.common(above, there_above), self.common(below, there_below));
        Standing { lines: one.lines + other.lines, weight: one.weight + other.weight }
    }

    /// The longest common subsequence.
    fn common(&self, ours: Range<usize>, there: Range<usize>) -> Standing {
        let mut row = vec![Standing::default(); ours.len() + 1];
        let ids = self.ids.get(ours.clone()).unwrap_or_default();
        let weights = self.weights.get(ours).unwrap_or_default();
        for line in self.index.file.get(there).unwrap_or_default() {
            let mut diagonal = Standing::default();
            let mut left = Standing::default();
            for ((id, weight), cell) in ids.iter().zip(weights).zip(row.iter_mut().skip(1)) {
                let above = *cell;
                *cell = if id == line {
                    Standing { lines: diagonal.lines + 1, weight: diagonal.weight + weight }
                } else if above.lines >= left.lines {
                    above
                } else {
                    left
                };
                diagonal = above;
                left = *cell;
            }
        }
        row.last().copied().unwrap_or_default()
    }

    /// How alike the lines to replace are to those in their place.
    fn likeness(&self, at: usize, hunk: &HunkLines<'_>, file: &Lines<'_>) -> f64 {
        let pairs = self.core.clone().enumerate();
        let sum: f64 = pairs.map(|(offset, line)| alike(hunk.old.get(line), file.get(at + offset))).sum();
        sum / self.core.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use shared_contracts::patches::{Hunk, OperationOutcome};

    use super::super::{Base, Placement, place};

    #[test]
    fn as_much_context_elsewhere_is_a_rival() {
        let old = "alpha();\nbeta();\ntotal = 1;\ngamma();\ndelta();\n";
        let hunk = Hunk { old: old.into(), new: old.replace('1', "2"), ..Hunk::default() };
        let here = "alpha();\nbeta_too();\ntotal = 1;\ngamma();\ndelta();\n";
        let little = "other();\nnone();\ntotal = 1;\nelse();\nwhere();\n";
        let rival = "alpha_too();\nbeta();\ntotal = 1;\ngamma();\ndelta();\n";
        let between = "between();\n".repeat(40);
        let file = |other: &str| format!("{here}{between}{other}");
        let came = place(&file(little), Base::Unknown, std::slice::from_ref(&hunk));
        let right = file(little).replacen('1', "2", 1);
        assert!(matches!(came, Ok(Placement::Changed { text, .. }) if text == right));
        let came = place(&file(rival), Base::Unknown, &[hunk]);
        assert!(
            matches!(came, Err(OperationOutcome::NoMatch { .. } | OperationOutcome::Ambiguous { .. })),
            "{came:?}"
        );
    }

    #[test]
    fn a_gap_nearby_is_no_rival_of_one_between_its_own_neighbours() {
        let (above, below) = ("alpha();\nbeta();\ngamma();\n", "delta();\nzeta();\neta();\n");
        let old = format!("{above}{below}");
        let hunk = Hunk { new: format!("{above}brought();\n{below}"), old, ..Hunk::default() };
        let file = format!("{above}{below}").replace("beta", "foreign();\nbeta");
        let came = place(&file, Base::Unknown, &[hunk]);
        let right = file.replace("delta", "brought();\ndelta");
        assert!(matches!(&came, Ok(Placement::Changed { text, .. }) if *text == right), "{came:?}");
    }
}
