//! Which places of a file come near to a hunk's lines: its rare lines vote for where it would begin, then the few places
//! with the most votes are compared line by line. Linear in file and hunk, whatever either repeats.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::form::{Form, Index};
use crate::lines::{Lines, is_blank, is_telling};
use crate::ordered::map;

/// Places that are compared line by line.
const WINDOWS_MAX: usize = 8;
/// A line that stands more often than this casts no vote, unless all of the hunk's do.
pub(crate) const RARE_MAX: usize = 64;
/// Votes are counted by stretches of so many lines.
const STRETCH_LINES: usize = 16;
/// Lines that may have come or gone within a hunk's place.
const SLACK_LINES: usize = 24;
/// How far beyond a hunk's own length its place is looked at.
pub(crate) const REACH: usize = 2 * (SLACK_LINES + STRETCH_LINES);
/// Longer hunks are not compared line by line.
pub(crate) const HUNK_LINES_MAX: usize = 2_000;
/// What it costs that a line has come or gone.
const GAP: i32 = 2;
const NONE: i32 = i32::MIN / 4;

/// How much it says that a line stands: little for blanks and brackets.
pub(crate) fn weight(line: &str) -> i32 {
    if is_blank(line) {
        1
    } else if !is_telling(line) {
        2
    } else {
        6 + (line.trim().len() / 8).min(8) as i32
    }
}

/// A hunk's lines held against one stretch of the file.
pub(crate) struct Alignment {
    /// The file's first line that was looked at.
    low: isize,
    width: usize,
    rows: usize,
    /// The best score of what is above, and of what is below, by line of the hunk and offset in the band.
    above: Vec<i32>,
    below: Vec<i32>,
    pub(crate) score: i32,
    /// Where each line of the hunk stands.
    pub(crate) lines: Vec<Option<usize>>,
}

/// A hunk's lines as numbers, with what each weighs.
pub(crate) struct Wanted<'hunk> {
    pub(crate) ids: Vec<u32>,
    pub(crate) weights: Vec<i32>,
    pub(crate) lines: &'hunk Lines<'hunk>,
}

impl<'hunk> Wanted<'hunk> {
    pub(crate) fn new(index: &Index<'_>, lines: &'hunk Lines<'hunk>) -> Self {
        let weights = lines.iter().map(weight).collect();
        Self { ids: index.run(lines), weights, lines }
    }

    pub(crate) fn total(&self) -> i32 {
        self.weights.iter().sum::<i32>().max(1)
    }
}

/// The places with the most votes, best first, each compared.
pub(crate) fn near(index: &Index<'_>, wanted: &Wanted<'_>) -> Vec<Alignment> {
    if wanted.ids.len() > HUNK_LINES_MAX {
        return Vec::new();
    }
    let mut found: Vec<Alignment> = Vec::new();
    for low in windows(index, wanted) {
        let alignment = Alignment::new(index, wanted, low);
        let same_spot = |known: &Alignment| {
            known.lines.iter().zip(&alignment.lines).any(|(one, other)| one.is_some() && one == other)
        };
        match found.iter_mut().find(|known| same_spot(known)) {
            Some(known) if known.score < alignment.score => *known = alignment,
            Some(_) => {}
            None => found.push(alignment),
        }
    }
    found.sort_by_key(|alignment| -alignment.score);
    found
}

/// The first lines of the stretches with the most votes.
fn windows(index: &Index<'_>, wanted: &Wanted<'_>) -> Vec<isize> {
    let often = |id: u32| index.postings.of(id).len();
    let rare = wanted.ids.iter().any(|id| (1..=RARE_MAX).contains(&often(*id)));
    let mut votes: HashMap<isize, i64> = HashMap::new();
    for (line, id) in wanted.ids.iter().enumerate() {
        let postings = index.postings.of(*id);
        if rare && postings.len() > RARE_MAX {
            continue;
        }
        let Some(weight) = wanted.weights.get(line) else { continue };
        let vote = i64::from(*weight) * 1_000 / postings.len().max(1) as i64;
        for at in postings.iter().take(RARE_MAX) {
            let begin = *at as isize - line as isize;
            *votes.entry(begin.div_euclid(STRETCH_LINES as isize)).or_default() += vote.max(1);
        }
    }
    let two = |stretch: isize| {
        votes.get(&stretch).copied().unwrap_or(0) + votes.get(&(stretch + 1)).copied().unwrap_or(0)
    };
    let mut ranked: Vec<(i64, isize)> = votes
        .keys()
        .flat_map(|stretch| [*stretch, stretch - 1])
        .map(|stretch| (-two(stretch), stretch))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.truncate(WINDOWS_MAX);
    ranked.into_iter().map(|(_, stretch)| stretch * STRETCH_LINES as isize - SLACK_LINES as isize).collect()
}

impl Alignment {
    fn new(index: &Index<'_>, wanted: &Wanted<'_>, low: isize) -> Self {
        let rows = wanted.ids.len();
        let width = 2 * SLACK_LINES + 2 * STRETCH_LINES + 1;
        let mut this = Self {
            low,
            width,
            rows,
            above: vec![NONE; (rows + 1) * width],
            below: vec![NONE; (rows + 1) * width],
            score: 0,
            lines: vec![None; rows],
        };
        this.fill_above(index, wanted);
        this.fill_below(index, wanted);
        this.trace(index, wanted);
        this
    }

    /// The file's line at an offset of the band, in a row.
    fn line(&self, row: usize, offset: usize) -> Option<usize> {
        usize::try_from(self.low + row as isize + offset as isize).ok()
    }

    fn stands(&self, index: &Index<'_>, wanted: &Wanted<'_>, row: usize, offset: usize) -> bool {
        let id = wanted.ids.get(row);
        id.is_some() && self.line(row, offset).is_some_and(|line| index.file.get(line) == id)
    }

    fn at(cells: &[i32], width: usize, row: usize, offset: isize) -> i32 {
        match usize::try_from(offset) {
            Ok(offset) if offset < width => cells.get(row * width + offset).copied().unwrap_or(NONE),
            _ => NONE,
        }
    }

    fn fill_above(&mut self, index: &Index<'_>, wanted: &Wanted<'_>) {
        let width = self.width;
        for row in 0..=self.rows {
            for offset in 0..width {
                let o = offset as isize;
                let mut best = if row == 0 { 0 } else { NONE };
                if let Some(above) = row.checked_sub(1) {
                    let weight = wanted.weights.get(above).copied().unwrap_or_default();
                    let gain = if self.stands(index, wanted, above, offset) { weight } else { 0 };
                    best = best.max(Self::at(&self.above, width, above, o) + gain);
                    best = best.max(Self::at(&self.above, width, above, o + 1) - GAP);
                    best = best.max(Self::at(&self.above, width, row, o - 1) - GAP);
                }
                if let Some(cell) = self.above.get_mut(row * width + offset) {
                    *cell = best;
                }
            }
        }
    }

    fn fill_below(&mut self, index: &Index<'_>, wanted: &Wanted<'_>) {
        let width = self.width;
        for row in (0..=self.rows).rev() {
            for offset in (0..width).rev() {
                let o = offset as isize;
                let mut best = if row == self.rows { 0 } else { NONE };
                if row < self.rows {
                    let weight = wanted.weights.get(row).copied().unwrap_or_default();
                    let gain = if self.stands(index, wanted, row, offset) { weight } else { 0 };
                    best = best.max(Self::at(&self.below, width, row + 1, o) + gain);
                    best = best.max(Self::at(&self.below, width, row + 1, o - 1) - GAP);
                    best = best.max(Self::at(&self.below, width, row, o + 1) - GAP);
                }
                if let Some(cell) = self.below.get_mut(row * width + offset) {
                    *cell = best;
                }
            }
        }
    }

    fn trace(&mut self, index: &Index<'_>, wanted: &Wanted<'_>) {
        let width = self.width;
        let start = (0..width).max_by_key(|offset| Self::at(&self.below, width, 0, *offset as isize));
        let Some(mut offset) = start else { return };
        self.score = Self::at(&self.below, width, 0, offset as isize);
        let mut row = 0;
        while row < self.rows {
            let o = offset as isize;
            let here = Self::at(&self.below, width, row, o);
            let stands = self.stands(index, wanted, row, offset);
            let weight = if stands { wanted.weights.get(row).copied().unwrap_or_default() } else { 0 };
            if here == Self::at(&self.below, width, row + 1, o) + weight {
                let line = if stands { self.line(row, offset) } else { None };
                if let Some(slot) = self.lines.get_mut(row) {
                    *slot = line;
                }
                row += 1;
            } else if offset > 0 && here == Self::at(&self.below, width, row + 1, o - 1) - GAP {
                row += 1;
                offset -= 1;
            } else if offset + 1 < width {
                offset += 1;
            } else {
                break;
            }
        }
    }

    /// The best score with this line of the hunk at each line of the file where it stands.
    pub(crate) fn through_line(
        &self,
        index: &Index<'_>,
        wanted: &Wanted<'_>,
        row: usize,
    ) -> BTreeMap<usize, i32> {
        let weight = wanted.weights.get(row).copied().unwrap_or_default();
        let mut scores = BTreeMap::new();
        for offset in 0..self.width {
            if let (true, Some(line)) = (self.stands(index, wanted, row, offset), self.line(row, offset)) {
                let o = offset as isize;
                let score = Self::at(&self.above, self.width, row, o)
                    + weight
                    + Self::at(&self.below, self.width, row + 1, o);
                scores.insert(line, score);
            }
        }
        scores
    }

    /// The best score with the gap above this line of the hunk at each gap of the file beside which a neighbour stands.
    pub(crate) fn through_gap(
        &self,
        index: &Index<'_>,
        wanted: &Wanted<'_>,
        row: usize,
    ) -> BTreeMap<usize, i32> {
        let mut scores = match row.checked_sub(1) {
            Some(above) => {
                let above = self.through_line(index, wanted, above);
                map(above.into_iter().map(|(line, score)| (line + 1, score)))
            }
            None => BTreeMap::new(),
        };
        for (line, score) in self.through_line(index, wanted, row) {
            let known = scores.entry(line).or_insert(score);
            *known = score.max(*known);
        }
        scores
    }

    /// The lines of the file from the first to the last that stands; where none does, what was looked at.
    pub(crate) fn range(&self, file_lines: usize) -> Range<usize> {
        let lines = || self.lines.iter().enumerate().filter_map(|(row, line)| line.map(|line| (row, line)));
        match (lines().next(), lines().next_back()) {
            (Some((above, first)), Some((row, last))) => {
                let end = last + 1 + (self.rows - 1 - row);
                first.saturating_sub(above)..end.min(file_lines)
            }
            _ => 0..0,
        }
    }

    /// How alike the place is in percent, where lines that were only edited count for what they kept.
    pub(crate) fn likeness(&self, file: &Lines<'_>, wanted: &Wanted<'_>) -> u8 {
        let mut sum: i32 = 0;
        for (row, (line, weight)) in self.lines.iter().zip(&wanted.weights).enumerate() {
            sum += match line {
                Some(_) => *weight,
                None => (f64::from(*weight) * self.kept(file, wanted.lines, row) * 0.8) as i32,
            };
        }
        (sum * 100 / wanted.total()).clamp(0, 100) as u8
    }

    /// How many lines that say something neither stand nor stand edited in their place.
    pub(crate) fn strangers(&self, file: &Lines<'_>, lines: &Lines<'_>) -> usize {
        let gone = |row: &usize| self.lines.get(*row).is_some_and(Option::is_none);
        let telling = |row: &usize| is_telling(lines.get(*row));
        (0..self.rows).filter(gone).filter(telling).filter(|row| self.kept(file, lines, *row) < 0.5).count()
    }

    /// What a line that does not stand has in common with the one in its place, if it was edited where it stood: the
    /// nearest lines above and below that stand are as far apart here as there.
    fn kept(&self, file: &Lines<'_>, lines: &Lines<'_>, row: usize) -> f64 {
        let standing = |row: usize| self.lines.get(row).copied().flatten().map(|line| (row, line));
        let above = (0..row).rev().find_map(standing);
        let below = (row + 1..self.rows).find_map(standing);
        let line = match (above, below) {
            (Some((first, line)), Some((last, next))) if next - line == last - first => line + row - first,
            (Some((first, line)), None) => line + row - first,
            (None, Some((last, next))) if next >= last - row => next - (last - row),
            _ => return 0.0,
        };
        alike(lines.get(row), file.get(line))
    }
}

/// The share of pairs of letters that two lines have in common.
pub(crate) fn alike(one: &str, other: &str) -> f64 {
    const BYTES_MAX: usize = 400;
    let pairs = |line: &str| {
        let line = Form::Punctuation.key(line);
        let bytes: Vec<u8> = line.bytes().take(BYTES_MAX).collect();
        let mut pairs: Vec<(u8, u8)> = bytes.iter().copied().zip(bytes.iter().copied().skip(1)).collect();
        pairs.sort_unstable();
        pairs
    };
    let (one, other) = (pairs(one), pairs(other));
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    let mut common = 0;
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                common += 1;
                left.next();
                right.next();
            }
        }
    }
    2.0 * f64::from(common) / (one.len() + other.len()).max(1) as f64
}
