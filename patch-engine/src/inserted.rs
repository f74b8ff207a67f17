//! Lines that are named otherwise than by their surroundings: by a marker that one line contains, or by number and hash.

use std::ops::Range;

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{LineEdit, LineTag, MarkerPlace, OperationOutcome};

use crate::hints;
use crate::hunks::{malformed_as, to_u32};
use crate::lines::{Lines, content};
use crate::place::{Form, Placement, Seat, assemble, candidate, check_collisions, no_match, terminator_near};

const CANDIDATES_MAX: usize = 10;
/// Hexadecimal digits of a line tag.
const HASH_DIGITS: usize = 6;

pub(crate) fn insert(text: &str, at: &MarkerPlace, new: &str) -> Result<Placement, OperationOutcome> {
    let file = Lines::new(text);
    let new = Lines::new(new);
    let place = match at {
        MarkerPlace::Before { marker } => {
            let line = marked(&file, marker, Some(&new), Side::Above)?;
            if line >= new.len() && same(&file, line - new.len(), &new) {
                return Ok(Placement::Landed);
            }
            line..line
        }
        MarkerPlace::After { marker } => {
            let line = marked(&file, marker, Some(&new), Side::Below)?;
            if same(&file, line + 1, &new) {
                return Ok(Placement::Landed);
            }
            line + 1..line + 1
        }
        MarkerPlace::Between { first, last } => {
            let (first, last) =
                (marked(&file, first, None, Side::Below)?, marked(&file, last, None, Side::Above)?);
            if first >= last {
                return Err(no_match(0, None, hints::markers_backwards()));
            }
            if last - first - 1 == new.len() && same(&file, first + 1, &new) {
                return Ok(Placement::Landed);
            }
            first + 1..last
        }
    };
    let seat = seat(&file, 0, place, &new);
    assemble(&file, vec![seat], None)
}

#[derive(Clone, Copy)]
enum Side {
    Above,
    Below,
}

/// The one line that contains the marker; lines of a text that is already inserted beside another do not count.
fn marked(
    file: &Lines<'_>,
    marker: &str,
    inserted: Option<&Lines<'_>>,
    side: Side,
) -> Result<usize, OperationOutcome> {
    let found: Vec<usize> =
        (0..file.len()).filter(|line| file.get(*line).contains(marker)).take(CANDIDATES_MAX).collect();
    let beside = |line: usize, new: &Lines<'_>| match side {
        Side::Above => {
            line.checked_sub(new.len()).filter(|first| same(file, *first, new)).map(|first| first..line)
        }
        Side::Below => same(file, line + 1, new).then(|| line + 1..line + 1 + new.len()),
    };
    let covered: Vec<Range<usize>> = inserted
        .filter(|new| new.iter().any(|line| line.contains(marker)))
        .map_or(Vec::new(), |new| found.iter().filter_map(|line| beside(*line, new)).collect());
    let own = |line: &&usize| !covered.iter().any(|range| range.contains(*line));
    let own: Vec<usize> = found.iter().filter(own).copied().collect();
    match own.as_slice() {
        [line] => Ok(*line),
        [] if found.is_empty() => Err(no_match(0, None, hints::marker_nowhere(marker))),
        _ => {
            let candidates = found.iter().map(|line| candidate(file, *line..line + 1, 100)).collect();
            Err(OperationOutcome::Ambiguous { hunk: 0, candidates, hint: hints::marker_often(marker) })
        }
    }
}

/// Whether these lines stand there, blanks at their ends aside.
fn same(file: &Lines<'_>, at: usize, lines: &Lines<'_>) -> bool {
    let key = |line| Form::Trailing.key(line);
    at + lines.len() <= file.len()
        && lines.iter().enumerate().all(|(offset, line)| key(line) == key(file.get(at + offset)))
}

/// Whole lines in place of others, with the file's terminators.
fn seat(file: &Lines<'_>, index: usize, place: Range<usize>, new: &Lines<'_>) -> Seat<'static> {
    let end = terminator_near(file, place.start);
    let mut text = String::new();
    for line in new.iter() {
        text.push_str(content(line));
        text.push_str(end);
    }
    let mut lines = place;
    if lines.end == file.len() && file.is_open() {
        text.truncate(content(&text).len());
        if lines.is_empty() && !new.is_empty() {
            lines = file.len() - 1..file.len();
            text = format!("{}{end}{text}", file.get(lines.start));
        }
    }
    Seat::lines(index, lines, text)
}

pub(crate) fn edit_lines(text: &str, edits: &[LineEdit]) -> Result<Placement, OperationOutcome> {
    let file = Lines::new(text);
    let mut tags = Tags { file: &file, hashes: None };
    let mut seats = Vec::with_capacity(edits.len());
    for (index, edit) in edits.iter().enumerate() {
        let new = Lines::new(&edit.new);
        let (first, last) = (parse(&edit.first)?, parse(&edit.last)?);
        let place = tags.find(index, &edit.first, &first).and_then(|first| {
            let last = tags.find(index, &edit.last, &last)?;
            if last < first { Err(malformed_as(hints::lines_backwards(index))) } else { Ok(first..last + 1) }
        });
        match place {
            Ok(place) => {
                let mut seat = seat(&file, index, place.clone(), &new);
                if new.len() == place.len() && same(&file, place.start, &new) {
                    seat.landed = true;
                    seat.splices.clear();
                }
                seats.push(seat);
            }
            // The old lines are nowhere and the new ones stand at their number, moved by the edits above.
            Err(refusal @ OperationOutcome::NoMatch { .. }) => {
                let at = landed_at(&file, edits, index, first.0);
                let at = at.filter(|at| !new.is_empty() && same(&file, *at, &new)).ok_or(refusal)?;
                let mut seat = Seat::lines(index, at..at + new.len(), String::new());
                seat.landed = true;
                seat.splices.clear();
                seats.push(seat);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    check_collisions(&seats)?;
    assemble(&file, seats, None)
}

/// Where an edit's new lines begin if it and those before it have landed.
fn landed_at(file: &Lines<'_>, edits: &[LineEdit], index: usize, line: usize) -> Option<usize> {
    let mut at = line as isize - 1;
    for edit in edits.iter().take(index) {
        let (first, last) = (parse(&edit.first).ok()?.0, parse(&edit.last).ok()?.0);
        at += Lines::new(&edit.new).len() as isize - (last as isize - first as isize + 1);
    }
    usize::try_from(at).ok().filter(|at| *at < file.len())
}

fn parse(tag: &LineTag) -> Result<(usize, String), OperationOutcome> {
    let parsed = tag.0.split_once(':').and_then(|(number, hash)| {
        let number = number.trim().parse::<usize>().ok().filter(|number| *number > 0)?;
        let hash = hash.trim().to_ascii_lowercase();
        let is_hash = hash.len() == HASH_DIGITS && hash.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hash.then_some((number, hash))
    });
    parsed.ok_or_else(|| malformed_as(hints::bad_line_tag(&tag.0)))
}

struct Tags<'file, 'text> {
    file: &'file Lines<'text>,
    /// Of every line; made once a line is not at its number.
    hashes: Option<Vec<String>>,
}

impl Tags<'_, '_> {
    /// The line at the tag's number if it has the hash, else the only line that has it.
    fn find(
        &mut self,
        edit: usize,
        tag: &LineTag,
        parsed: &(usize, String),
    ) -> Result<usize, OperationOutcome> {
        let (number, hash) = parsed;
        if *number <= self.file.len() && line_hash(self.file.get(number - 1)) == *hash {
            return Ok(number - 1);
        }
        let hashes = self.hashes.get_or_insert_with(|| self.file.iter().map(line_hash).collect());
        let found: Vec<usize> =
            (0..hashes.len()).filter(|line| hashes.get(*line) == Some(hash)).take(CANDIDATES_MAX).collect();
        match found.as_slice() {
            [line] => Ok(*line),
            [] => Err(no_match(edit, None, hints::tag_nowhere(edit, &tag.0))),
            _ => {
                let candidates =
                    found.iter().map(|line| candidate(self.file, *line..line + 1, 100)).collect();
                let hint = hints::tag_often(edit, &tag.0);
                Err(OperationOutcome::Ambiguous { hunk: to_u32(edit), candidates, hint })
            }
        }
    }
}

fn line_hash(line: &str) -> String {
    let mut hash = Sha256::of(Form::Trailing.key(line).as_bytes()).to_string();
    hash.truncate(HASH_DIGITS);
    hash
}
