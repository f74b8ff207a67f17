//! What became of each line of a base: followed by a line diff of both texts in one form, checked against lines that
//! repeat.

mod twins;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use super::form::{Form, Index};
use super::occurrences::{OCCURRENCES_MAX, occurrences};
use super::seat::{Seat, Splice, intersect};
use crate::line_diff::{Change, line_diff};
use crate::lines::{Lines, is_telling};

/// Lines beside a change that may tell it from its twins.
const NEIGHBOURS_MAX: usize = 12;
/// How near lines must be that stand once in both texts, to vouch for one between them that does not.
const ANCHOR_LINES_MAX: usize = 24;
/// By how many lines the surroundings of a twin must be more like those in the base to cast doubt.
const LEAD: usize = 2;

/// What the other side did to the base.
pub(crate) struct Way<'lines, 'text> {
    base: &'lines Lines<'text>,
    file: &'lines Lines<'text>,
    /// In which form lines count as the same.
    pub(crate) form: Form,
    changes: Vec<Theirs>,
    /// The lines of the base.
    known: HashSet<Cow<'text, str>>,
}

struct Theirs {
    before: Range<usize>,
    after: Range<usize>,
    /// The lines of the base that it covers wherever it is slid to with the same result.
    slid: Range<usize>,
}

impl<'lines, 'text> Way<'lines, 'text> {
    pub(crate) fn new(base: &'lines Lines<'text>, file: &'lines Lines<'text>, form: Form) -> Self {
        let changes = match form {
            Form::Exact => line_diff(base.text(), file.text()).changes,
            _ => line_diff(&folded(base, form), &folded(file, form)).changes,
        };
        let ends = changes.iter().skip(1).map(|next| next.before.start).chain([base.len()]);
        let mut above = 0;
        let theirs = changes.iter().zip(ends).map(|(change, below)| {
            let slid = slid(base, file, form, change, above, below);
            above = change.before.end;
            Theirs { before: change.before.clone(), after: change.after.clone(), slid }
        });
        let changes = theirs.collect();
        let known = (0..base.len()).map(|line| form.key(base.get(line))).collect();
        Self { base, file, form, changes, known }
    }

    /// The line of the file that a line of the base is, if it is there.
    pub(crate) fn line(&self, line: usize) -> Option<usize> {
        let begun = self.changes.partition_point(|theirs| theirs.before.start <= line);
        // Insertions at the line stand above it.
        match begun.checked_sub(1).and_then(|last| self.changes.get(last)) {
            Some(last) if last.before.end > line => None,
            Some(last) => Some(line + last.after.end - last.before.end),
            None => Some(line),
        }
    }

    /// The line of the base that a line of the file is, if it is one.
    pub(crate) fn origin(&self, line: usize) -> Option<usize> {
        let begun = self.changes.partition_point(|theirs| theirs.after.start <= line);
        match begun.checked_sub(1).and_then(|last| self.changes.get(last)) {
            Some(last) if last.after.end > line => None,
            Some(last) => (line + last.before.end).checked_sub(last.after.end),
            None => Some(line),
        }
    }

    /// The changes that touch or could be slid to touch these lines of the base.
    fn touching(&self, lines: &Range<usize>) -> impl Iterator<Item = &Theirs> {
        let first = self.changes.partition_point(|theirs| theirs.slid.end < lines.start);
        let end = lines.end;
        self.changes.iter().skip(first).take_while(move |theirs| theirs.slid.start <= end)
    }

    /// Whether the other side changed these lines of the base as well, or inserted in the same gap.
    pub(crate) fn is_changed(&self, lines: &Range<usize>) -> bool {
        self.touching(lines).any(|theirs| conflicts(lines, theirs))
    }

    /// Whether a line of the file stands nowhere in the base.
    pub(crate) fn is_new(&self, line: usize) -> bool {
        !self.known.contains(&self.form.key(self.file.get(line)))
    }

    /// Whether the other side brought to these lines any that the hunk brings.
    pub(crate) fn brings(&self, lines: &Range<usize>, added: &BTreeSet<&str>) -> bool {
        let there = |theirs: &Theirs| {
            theirs.after.clone().any(|line| {
                let line = self.file.get(line).trim();
                is_telling(line) && added.contains(line)
            })
        };
        self.touching(lines).any(there)
    }

    /// The hunk where the other side did the same: all of ours in the stretch around it make the text that is there.
    pub(crate) fn landed<'hunk>(&self, seat: &Seat<'hunk>, all: &[Seat<'hunk>]) -> Option<Seat<'hunk>> {
        let mut hull = seat.core.clone();
        loop {
            let before = hull.clone();
            for theirs in self.touching(&before) {
                hull = hull.start.min(theirs.slid.start)..hull.end.max(theirs.slid.end);
            }
            for ours in
                all.iter().filter(|ours| ours.core.start <= before.end && before.start <= ours.core.end)
            {
                hull = hull.start.min(ours.core.start)..hull.end.max(ours.core.end);
            }
            if hull == before {
                break;
            }
        }
        let mut splices: Vec<&Splice<'hunk>> = all.iter().flat_map(|seat| &seat.splices).collect();
        splices.retain(|splice| hull.start <= splice.lines.start && splice.lines.end <= hull.end);
        splices.sort_by_key(|splice| (splice.lines.start, splice.lines.end));
        let (mut text, mut done) = (String::new(), hull.start);
        for splice in splices {
            text.push_str(self.base.slice(done..splice.lines.start));
            text.push_str(&splice.text);
            done = splice.lines.end;
        }
        text.push_str(self.base.slice(done..hull.end));
        let there = self.there(&hull);
        let ours = Lines::new(&text);
        let same = |(line, ours): (usize, &str)| self.form.key(self.file.get(line)) == self.form.key(ours);
        let stands = ours.len() == there.len() && there.clone().zip(ours.iter()).all(same);
        stands.then(|| Seat {
            landed: true,
            splices: Vec::new(),
            full: there.clone(),
            core: there,
            ..seat.clone()
        })
    }

    /// The lines of the file for lines of the base, with what the other side put at their edges.
    pub(crate) fn there(&self, lines: &Range<usize>) -> Range<usize> {
        let above = self.changes.partition_point(|theirs| theirs.before.start < lines.start);
        let start = match above.checked_sub(1).and_then(|last| self.changes.get(last)) {
            Some(last) if last.before.end > lines.start => last.after.start,
            Some(last) => lines.start + last.after.end - last.before.end,
            None => lines.start,
        };
        let begun = self.changes.partition_point(|theirs| theirs.before.start <= lines.end);
        let end = match begun.checked_sub(1).and_then(|last| self.changes.get(last)) {
            Some(last) if last.before.end > lines.end => last.after.end,
            Some(last) => lines.end + last.after.end - last.before.end,
            None => lines.end,
        };
        start..end.max(start)
    }

    /// Whether the line directly above or below came along: brackets and blanks by themselves are followed to others.
    pub(crate) fn is_beside_its_own(&self, from: &Range<usize>, to: &Range<usize>) -> bool {
        let above = match from.start.checked_sub(1) {
            Some(above) => self.line(above).is_some_and(|there| there + 1 == to.start),
            None => to.start == 0,
        };
        let below = match from.end == self.base.len() {
            true => to.end == self.file.len(),
            false => self.line(from.end) == Some(to.end),
        };
        above || below
    }

    /// Whether a change was followed to the right one of its twins: with the lines beside it that were followed in one
    /// row it stands once in both texts; or the nearest lines around it that stand once in both were followed as well,
    /// and no twin between them came or went.
    pub(crate) fn is_sure(
        &self,
        base: &Index<'_>,
        file: &Index<'_>,
        from: &Range<usize>,
        to: &Range<usize>,
    ) -> bool {
        if self.changes.is_empty() {
            return true;
        }
        let beside = |line: Option<usize>, there: Option<usize>| {
            line.zip(there).is_some_and(|(line, there)| self.line(line) == Some(there))
        };
        let above = (1..=NEIGHBOURS_MAX)
            .take_while(|by| beside(from.start.checked_sub(*by), to.start.checked_sub(*by)))
            .count();
        let below = (0..NEIGHBOURS_MAX)
            .take_while(|by| {
                from.end + by < self.base.len() && beside(Some(from.end + by), Some(to.end + by))
            })
            .count();
        let row = from.start - above..from.end + below;
        let Some(ids) = base.file.get(row.clone()).filter(|ids| !ids.is_empty()) else { return false };
        let there = to.start - above..to.end + below;
        let Some(ids_there) = file.file.get(there) else { return false };
        if self.has_rival(file, from, to, LEAD) {
            return false;
        }
        let places = |index: &Index<'_>, ids: &[u32]| {
            occurrences(&index.file, &index.postings, &[ids]).pop().unwrap_or_default()
        };
        let (in_base, in_file) = (places(base, ids), places(file, ids_there));
        if in_base.len() == 1 && in_file.len() == 1 && row.clone().any(|line| is_telling(self.base.get(line)))
        {
            return true;
        }
        // The line of the file for a line that stands once in both.
        let anchor = |line: usize| {
            let text = self.base.get(line);
            let there = file.postings.of(file.number(text)?);
            match (base.postings.of(*base.file.get(line)?), there) {
                ([_], [there]) if is_telling(text) => Some((line, *there as usize)),
                _ => None,
            }
        };
        let top = from.start.saturating_sub(ANCHOR_LINES_MAX);
        let bottom = self.base.len().min(from.end + ANCHOR_LINES_MAX);
        let above = (top..from.start).rev().find_map(anchor);
        let below = (from.end..bottom).find_map(anchor);
        if (above.is_none() && top > 0) || (below.is_none() && bottom < self.base.len()) {
            return false;
        }
        let followed = |anchor: Option<(usize, usize)>| {
            anchor.is_none_or(|(line, there)| self.origin(there) == Some(line))
        };
        let between = |places: &[usize], first: Option<usize>, last: Option<usize>| {
            let inside =
                |at: &&usize| first.is_none_or(|first| **at > first) && last.is_none_or(|last| **at < last);
            (places.len() < OCCURRENCES_MAX).then(|| places.iter().filter(inside).count())
        };
        let line = |anchor: Option<(usize, usize)>| anchor.map(|(line, _)| line);
        let there = |anchor: Option<(usize, usize)>| anchor.map(|(_, there)| there);
        let twins = between(&in_base, line(above), line(below));
        followed(above)
            && followed(below)
            && twins.is_some_and(|twins| twins > 0)
            && twins == between(&in_file, there(above), there(below))
    }
}

fn folded(lines: &Lines<'_>, form: Form) -> String {
    let mut text = String::with_capacity(lines.text().len());
    for line in lines.iter() {
        text.push_str(&form.key(line));
        text.push('\n');
    }
    text
}

/// Whether both sides changed the same lines, or it cannot be told which of two twins the other side changed.
fn conflicts(ours: &Range<usize>, theirs: &Theirs) -> bool {
    let one_sided = theirs.before.is_empty() || theirs.after.is_empty();
    if ours.is_empty() {
        let gap = ours.start;
        let within = theirs.before.start < gap && gap < theirs.before.end;
        let touches = gap == theirs.before.start || gap == theirs.before.end;
        let inserted_too = theirs.before.is_empty() && theirs.slid.start <= gap && gap <= theirs.slid.end;
        let grown = theirs.after.len() > theirs.before.len();
        return within || inserted_too || (touches && grown);
    }
    let twins = one_sided && theirs.slid.start <= ours.start && ours.end <= theirs.slid.end;
    intersect(ours, &theirs.before) || twins
}

/// Insertions and deletions can be slid over lines that repeat.
fn slid(
    base: &Lines<'_>,
    file: &Lines<'_>,
    form: Form,
    change: &Change,
    above: usize,
    below: usize,
) -> Range<usize> {
    let Change { before, after } = change;
    let (lines, span) = match (before.is_empty(), after.is_empty()) {
        (true, false) => (file, after),
        (false, true) => (base, before),
        _ => return before.clone(),
    };
    let same = |one: usize, other: usize| form.key(lines.get(one)) == form.key(lines.get(other));
    let room_above = before.start.saturating_sub(above).min(span.start);
    let up = (1..=room_above).take_while(|by| same(span.start - by, span.end - by)).count();
    let room_below = below.saturating_sub(before.end);
    let down = (0..room_below).take_while(|by| same(span.start + by, span.end + by)).count();
    before.start - up..before.end + down
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_line_at_the_end_of_the_base_is_followed_only_to_the_end() {
        let base = Lines::new("first();\n\n");
        let came_along = |file: &str, blank: usize| {
            let file = Lines::new(file);
            let way = Way::new(&base, &file, Form::Punctuation);
            assert_eq!(way.line(1), Some(blank));
            way.is_beside_its_own(&(1..2), &(blank..blank + 1))
        };
        assert!(came_along("first();\nsecond();\n\n", 2));
        assert!(!came_along("first();\nsecond();\n\nthird();\n", 2));
        assert!(came_along("first();\n\nthird();\n", 1), "beside the line above");
    }
}
