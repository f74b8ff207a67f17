//! What the right answer to a case is. By provenance: the generator knows where every line of the base went. Without
//! the base the same, but only as far as the text alone can tell: where the text has another answer that is as good, a
//! refusal is right as well, and where it can only be guessed, the case is left out.

use crate::drift::Drifted;
use crate::edit::{Change, Hunk, Sign};
use crate::text::{Line, Origin, Text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// This text.
    Right(String),
    /// This text, or a refusal.
    RightOrRefused(String),
    /// The file untouched, and said to be so already.
    AlreadyApplied,
    AlreadyAppliedOrRefused,
    /// The text stands there more than once. Whoever places it here by luck is not wrong.
    Ambiguous(String),
    /// What the edit was about is gone.
    Conflict,
}

pub struct Truth {
    pub with_base: Expected,
    /// None where the text without its base says something else than its provenance.
    pub without_base: Option<Expected>,
}

impl Truth {
    /// What the base tells where the patch does not say where in it a hunk belongs, and it could belong to two places:
    /// no more than the text does.
    pub fn with_doubtful_base(self) -> Self {
        let with_base = match &self.without_base {
            Some(Expected::Right(right) | Expected::Ambiguous(right)) => {
                Expected::RightOrRefused(right.clone())
            }
            Some(Expected::AlreadyApplied) => Expected::AlreadyAppliedOrRefused,
            Some(other) => other.clone(),
            None => match self.with_base {
                Expected::Right(right) => Expected::RightOrRefused(right),
                Expected::AlreadyApplied => Expected::AlreadyAppliedOrRefused,
                other => other,
            },
        };
        Self { with_base, ..self }
    }
}

/// How often the old side of a hunk stands in the base.
pub fn count_in(base: &Text, hunk: &Hunk) -> usize {
    let old = Parts::of(hunk).old_side();
    matches(&base.texts(), &old).iter().filter(|(_, fold)| *fold == Fold::Exact).count()
}

/// Where a change belongs in the drifted file.
enum Place {
    At { start: usize, length: usize },
    Landed,
    Gone,
}

/// How well the text alone knows a hunk's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Knowable {
    Surely,
    Hardly,
    /// The same lines stand at two places, or more.
    Twice,
    /// Another place looks better than the right one.
    Misleading,
}

pub fn truth(base: &Text, changes: &[Change], hunks: &[Hunk], drifted: &Drifted) -> Option<Truth> {
    let current = &drifted.current;
    let places: Vec<Place> = changes
        .iter()
        .zip(&drifted.landed)
        .map(|(change, landed)| if *landed { Some(Place::Landed) } else { place(base, change, current) })
        .collect::<Option<_>>()?;
    let knowable: Vec<Knowable> = hunks
        .iter()
        .zip(changes)
        .zip(&places)
        .enumerate()
        .map(|(index, ((hunk, _), place))| knowable(&Parts::of(hunk), index, place, current))
        .collect();
    let worst = knowable.iter().copied().max()?;
    if places.iter().any(|place| matches!(place, Place::Gone)) {
        let without_base = (worst != Knowable::Misleading).then_some(Expected::Conflict);
        return Some(Truth { with_base: Expected::Conflict, without_base });
    }
    if places.iter().all(|place| matches!(place, Place::Landed)) {
        let without_base = match worst {
            Knowable::Surely => Some(Expected::AlreadyApplied),
            Knowable::Hardly => Some(Expected::AlreadyAppliedOrRefused),
            Knowable::Twice | Knowable::Misleading => None,
        };
        return Some(Truth { with_base: Expected::AlreadyApplied, without_base });
    }
    let right = result(current, changes, &places, drifted);
    // What stands within, in order, or at the end of the file is a hint of its own that an engine may take.
    let is_at_end = |hunk: &Hunk| hunk.lines.iter().any(|(_, line)| !line.ends_with('\n'));
    let is_alone = hunks.len() == 1 && hunks[0].within.is_none() && !is_at_end(&hunks[0]);
    let without_base = match worst {
        Knowable::Surely => Some(Expected::Right(right.clone())),
        Knowable::Twice if is_alone => Some(Expected::Ambiguous(right.clone())),
        Knowable::Hardly | Knowable::Twice => Some(Expected::RightOrRefused(right.clone())),
        Knowable::Misleading => None,
    };
    // What stands beside an insertion is all that says where it belongs.
    let is_beside_edit = |change: &Change| {
        let mut beside = change.old.start.saturating_sub(1)..(change.old.end + 1).min(base.lines.len());
        let is_edited = |number: usize| {
            current
                .find(number)
                .is_none_or(|at| loosely(&current.lines[at].text) != loosely(&base.lines[number].text))
        };
        change.old.is_empty() && beside.any(is_edited)
    };
    let with_base = match changes.iter().any(is_beside_edit) {
        true => Expected::RightOrRefused(right),
        false => Expected::Right(right),
    };
    Some(Truth { with_base, without_base })
}

/// By origin alone. None where nobody could say, as between two lines that are no longer neighbours.
fn place(base: &Text, change: &Change, current: &Text) -> Option<Place> {
    if change.old.is_empty() {
        let above = change.old.start.checked_sub(1).and_then(|line| current.find(line));
        let below = current.find(change.old.start);
        let start = match (above, below) {
            (Some(above), Some(below)) if below == above + 1 => below,
            (None, Some(below)) => below,
            (Some(above), None) => above + 1,
            _ => return None,
        };
        return Some(Place::At { start, length: 0 });
    }
    let Some(start) = current.find(change.old.start) else { return Some(Place::Gone) };
    let here = |offset: usize| current.lines.get(start + offset);
    let is_whole = change.old.clone().enumerate().all(|(offset, number)| {
        here(offset).is_some_and(|line| {
            line.origin == Origin::Base(number) && loosely(&line.text) == loosely(&base.lines[number].text)
        })
    });
    Some(if is_whole { Place::At { start, length: change.old.len() } } else { Place::Gone })
}

fn result(current: &Text, changes: &[Change], places: &[Place], drifted: &Drifted) -> String {
    let mut text = current.clone();
    let mut pending: Vec<(usize, usize, &Change)> = places
        .iter()
        .zip(changes)
        .filter_map(|(place, change)| match place {
            Place::At { start, length } => Some((*start, *length, change)),
            Place::Landed | Place::Gone => None,
        })
        .collect();
    pending.sort_by_key(|(start, ..)| std::cmp::Reverse(*start));
    for (start, length, change) in pending {
        let new = change.new.iter().map(|line| Line::foreign(drifted.reindent.line(line)));
        text.lines.splice(start..start + length, new);
    }
    text.written()
}

/// A hunk's lines without their terminators.
struct Parts<'hunk> {
    above: Vec<&'hunk str>,
    removed: Vec<&'hunk str>,
    added: Vec<&'hunk str>,
    below: Vec<&'hunk str>,
}

impl<'hunk> Parts<'hunk> {
    fn of(hunk: &'hunk Hunk) -> Self {
        let mut parts = Self { above: Vec::new(), removed: Vec::new(), added: Vec::new(), below: Vec::new() };
        for (sign, line) in &hunk.lines {
            let is_below = !parts.removed.is_empty() || !parts.added.is_empty();
            let part = match sign {
                Sign::Removed => &mut parts.removed,
                Sign::Added => &mut parts.added,
                Sign::Context if is_below => &mut parts.below,
                Sign::Context => &mut parts.above,
            };
            part.push(line.trim_end_matches(['\n', '\r']));
        }
        parts
    }

    fn old_side(&self) -> Vec<&'hunk str> {
        [self.above.as_slice(), &self.removed, &self.below].concat()
    }

    fn new_side(&self) -> Vec<&'hunk str> {
        [self.above.as_slice(), &self.added, &self.below].concat()
    }
}

fn knowable(parts: &Parts<'_>, index: usize, place: &Place, current: &Text) -> Knowable {
    let lines = current.texts();
    let old_matches = matches(&lines, &parts.old_side());
    match place {
        Place::Landed => landed_knowable(parts, index, current, &lines, &old_matches),
        // A place that looks whole but is another one.
        Place::Gone if !old_matches.is_empty() => Knowable::Misleading,
        Place::Gone => {
            let best = rivals(&lines, parts, None).max().unwrap_or(0);
            let is_there = parts.removed.iter().any(|line| !matches(&lines, &[line]).is_empty());
            let looks_good = 2 * best >= parts.above.len() + parts.below.len() && best > 0;
            // Edited lines still show where they were; deleted ones leave only the rival.
            if looks_good && is_there && !edited_core_stands(&lines, parts) {
                Knowable::Misleading
            } else {
                Knowable::Surely
            }
        }
        Place::At { start, .. } => placed_knowable(parts, *start, &lines, &old_matches),
    }
}

fn placed_knowable(
    parts: &Parts<'_>,
    start: usize,
    lines: &[&str],
    old_matches: &[(usize, Fold)],
) -> Knowable {
    let first = start.checked_sub(parts.above.len());
    let own = old_matches.iter().find(|(place, _)| Some(*place) == first);
    let others = || old_matches.iter().filter(|(place, _)| Some(*place) != first);
    if let Some((_, fold)) = own {
        return match others().map(|(_, other)| *other).min() {
            Some(other) if other < *fold => Knowable::Misleading,
            Some(other) if other == *fold && other == Fold::Exact => Knowable::Twice,
            Some(other) if other == *fold => Knowable::Hardly,
            _ => Knowable::Surely,
        };
    }
    if others().next().is_some() {
        return Knowable::Misleading;
    }
    let context = parts.above.len() + parts.below.len();
    let score = context_score(lines, parts, start);
    let rival = rivals(lines, parts, Some(start)).max();
    let least = if parts.removed.is_empty() { 2 } else { 1 };
    if rival.is_some_and(|rival| rival >= score + 2) {
        return Knowable::Misleading;
    }
    let is_clear = rival.is_none_or(|rival| score >= rival + 2);
    // Where the whole context stands around other lines, those may be the right ones, edited.
    let is_clear = is_clear && !edited_core_stands(lines, parts);
    if is_clear && score >= least && 2 * score >= context { Knowable::Surely } else { Knowable::Hardly }
}

fn landed_knowable(
    parts: &Parts<'_>,
    index: usize,
    current: &Text,
    lines: &[&str],
    old_matches: &[(usize, Fold)],
) -> Knowable {
    let new = parts.new_side();
    let new_matches = matches(lines, &new);
    let is_own = |place: usize| {
        let block = &current.lines[place..place + new.len()];
        parts.added.is_empty() || block.iter().any(|line| line.origin == Origin::Landed { change: index })
    };
    let Some((at, _)) = new_matches.iter().find(|(place, _)| is_own(*place)) else { return Knowable::Hardly };
    // Old lines within the new ones are no place of their own.
    let is_within = |place: usize| *at <= place && place + parts.old_side().len() <= at + new.len();
    if old_matches.iter().any(|(place, _)| !is_within(*place)) {
        return Knowable::Misleading;
    }
    Knowable::Surely
}

/// By how little two lines may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fold {
    Exact,
    TrailingSpace,
    Loose,
}

/// Every place where all lines stand, and by which fold.
fn matches(lines: &[&str], wanted: &[&str]) -> Vec<(usize, Fold)> {
    if wanted.is_empty() || wanted.len() > lines.len() {
        return Vec::new();
    }
    let fold = |(one, other): (&&str, &&str)| match () {
        () if one == other => Some(Fold::Exact),
        () if one.trim_end() == other.trim_end() => Some(Fold::TrailingSpace),
        () if loosely(one) == loosely(other) => Some(Fold::Loose),
        () => None,
    };
    let at = |(place, window): (usize, &[&str])| {
        let worst: Option<Fold> = window
            .iter()
            .zip(wanted)
            .map(fold)
            .try_fold(Fold::Exact, |worst, fold| fold.map(|fold| worst.max(fold)));
        worst.map(|fold| (place, fold))
    };
    lines.windows(wanted.len()).enumerate().filter_map(at).collect()
}

fn loosely(line: &str) -> String {
    without_typography(line.trim())
}

/// With the punctuation of a keyboard.
pub fn without_typography(text: &str) -> String {
    let plain = |character| match character {
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2013}' | '\u{2014}' => '-',
        '\u{a0}' => ' ',
        other => other,
    };
    text.chars().map(plain).collect()
}

/// How much context stands around every other place that holds the lines to remove; around every other place at all
/// where nothing is removed.
fn rivals(lines: &[&str], parts: &Parts<'_>, own: Option<usize>) -> impl Iterator<Item = usize> {
    let places: Vec<usize> = if parts.removed.is_empty() {
        (0..=lines.len()).collect()
    } else {
        matches(lines, &parts.removed).into_iter().map(|(place, _)| place).collect()
    };
    let scores: Vec<usize> = places
        .into_iter()
        .filter(|place| Some(*place) != own)
        .map(|place| context_score(lines, parts, place))
        .collect();
    scores.into_iter()
}

/// How many context lines stand in order near a place, a few strangers between them allowed.
fn context_score(lines: &[&str], parts: &Parts<'_>, place: usize) -> usize {
    const STRANGERS: usize = 4;
    let above = &lines[place.saturating_sub(parts.above.len() + STRANGERS)..place];
    let start = (place + parts.removed.len()).min(lines.len());
    let below = &lines[start..(start + parts.below.len() + STRANGERS).min(lines.len())];
    common(above, &parts.above) + common(below, &parts.below)
}

/// The length of the longest common subsequence.
fn common(one: &[&str], other: &[&str]) -> usize {
    let mut row = vec![0; other.len() + 1];
    for line in one {
        let mut diagonal = 0;
        for (index, wanted) in other.iter().enumerate() {
            let above = row[index + 1];
            let is_same = loosely(line) == loosely(wanted);
            row[index + 1] = if is_same { diagonal + 1 } else { above.max(row[index]) };
            diagonal = above;
        }
    }
    row[other.len()]
}

/// Whether the context still stands around about as many lines as the hunk removes.
fn edited_core_stands(lines: &[&str], parts: &Parts<'_>) -> bool {
    let ends = |(place, fold): (usize, Fold)| (fold < Fold::Loose).then_some(place + parts.above.len());
    let starts: Vec<usize> = matches(lines, &parts.above).into_iter().filter_map(ends).collect();
    let stops: Vec<usize> = matches(lines, &parts.below).into_iter().map(|(place, _)| place).collect();
    starts.iter().any(|start| stops.contains(&(start + parts.removed.len())))
}
