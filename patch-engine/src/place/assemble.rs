//! Puts the hunks into the file, top to bottom, once each has its place.

use shared_contracts::patches::{LineRange, OperationOutcome, PlacementStep};

use super::Placement;
use super::form::Form;
use super::seat::Seat;
use crate::hints;
use crate::hunks::{malformed_as, to_u32};
use crate::lines::Lines;

/// Of hunks that do not collide. `step` is how they were found, if not by their text.
pub(crate) fn assemble(
    file: &Lines<'_>,
    mut seats: Vec<Seat<'_>>,
    step: Option<PlacementStep>,
) -> Result<Placement, OperationOutcome> {
    seats.sort_by_key(|seat| (seat.core.start, seat.core.end, seat.full.start, seat.index));
    if seats.iter().all(|seat| seat.landed) {
        return Ok(Placement::Landed);
    }
    let grown: usize = seats.iter().flat_map(|seat| &seat.splices).map(|splice| splice.text.len()).sum();
    let mut text = String::with_capacity(file.text().len() + grown);
    let mut ranges: Vec<(usize, LineRange)> = Vec::with_capacity(seats.len());
    let (mut done, mut removed, mut added) = (0, 0, 0);
    for seat in &seats {
        let first = seat.full.start + added - removed;
        for splice in &seat.splices {
            append(&mut text, file.slice(done..splice.lines.start), seat.index)?;
            append(&mut text, &splice.text, seat.index)?;
            done = splice.lines.end;
            removed += splice.lines.len();
            added += splice.text_lines;
        }
        let last = seat.full.end + added - removed;
        ranges.push((seat.index, LineRange { first: to_u32(first + 1), last: to_u32(last) }));
    }
    append(&mut text, file.slice(done..file.len()), seats.last().map_or(0, |seat| seat.index))?;
    ranges.sort_by_key(|(index, _)| *index);
    let step = step.unwrap_or_else(|| coarsest(&seats));
    Ok(Placement::Changed { text, step, lines: ranges.into_iter().map(|(_, range)| range).collect() })
}

/// Two hunks that change the same lines, or one the other's context.
pub(crate) fn check_collisions(seats: &[Seat<'_>]) -> Result<(), OperationOutcome> {
    let mut order: Vec<&Seat<'_>> = seats.iter().collect();
    order.sort_by_key(|seat| (seat.core.start, seat.core.end, seat.full.start, seat.index));
    for (above, below) in order.iter().zip(order.iter().skip(1)) {
        if above.collides_with(below) {
            let (first, second) = (above.index.min(below.index), above.index.max(below.index));
            let hint = hints::overlaps(first, second);
            return Err(OperationOutcome::Overlaps { with: to_u32(first), hint });
        }
    }
    Ok(())
}

pub(super) fn coarsest(seats: &[Seat<'_>]) -> PlacementStep {
    let pending = || seats.iter().filter(|seat| !seat.landed);
    if pending().any(|seat| seat.partial) {
        return PlacementStep::Partial;
    }
    pending().map(|seat| seat.form).max().unwrap_or(Form::Exact).step()
}

fn append(text: &mut String, lines: &str, hunk: usize) -> Result<(), OperationOutcome> {
    if !lines.is_empty() && !text.is_empty() && !text.ends_with('\n') {
        return Err(malformed_as(hints::runs_into_next_line(hunk)));
    }
    text.push_str(lines);
    Ok(())
}
