//! Hunks of which only the others of the edit tell where they have landed.

use shared_contracts::patches::Hunk;

use super::decide::{Found, Verdict, is_gone};
use super::form::Forms;
use super::occurrences::OCCURRENCES_MAX;
use super::seat::Seat;
use super::stands_at;
use crate::hunks::HunkLines;
use crate::lines::Lines;

/// Where every hunk has landed or may have, a doubtful one has where its `new` stands between its neighbours'.
pub(super) fn settle<'hunk>(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
    verdicts: &mut [Verdict<'hunk>],
) {
    let may_have_landed = |verdict: &Verdict<'_>| match verdict {
        Verdict::Seated(seat) => seat.landed,
        Verdict::Doubtful { .. } => true,
        Verdict::Refused(_) | Verdict::Nowhere => false,
    };
    if !verdicts.iter().all(may_have_landed) {
        return;
    }
    for at in 0..verdicts.len() {
        if let (Some(Verdict::Doubtful { new, somewhere, .. }), Some(hunk)) =
            (verdicts.get(at), lines.get(at))
            && let Some(seat) = at_its_number(forms, hunks, lines, at, hunk, new, somewhere.is_some())
                .or_else(|| between_landed(forms.file, verdicts, hunks, lines, at, hunk, new))
            && let Some(verdict) = verdicts.get_mut(at)
        {
            *verdict = Verdict::Seated(seat);
        }
    }
}

/// Where its number says, if it has landed in any case or what it deletes is not near.
fn at_its_number<'hunk>(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
    index: usize,
    hunk: &HunkLines<'hunk>,
    new: &Found,
    has_landed: bool,
) -> Option<Seat<'hunk>> {
    let file = forms.file;
    let at = usize::try_from(new_start(hunks, lines, index)? - 1).ok()?;
    let near = at.saturating_sub(hunk.old.len())..(at + hunk.new.len() + hunk.old.len()).min(file.len());
    let stands = !hunk.new.is_empty() && stands_at(file, at, &hunk.new);
    (stands && (has_landed || (hunk.only_deletes() && is_gone(forms, hunk, near))))
        .then(|| Seat::landed(index, hunk, at, new.form))
}

fn between_landed<'hunk>(
    file: &Lines<'_>,
    verdicts: &[Verdict<'hunk>],
    hunks: &[Hunk],
    lines: &[HunkLines<'hunk>],
    index: usize,
    hunk: &HunkLines<'hunk>,
    new: &Found,
) -> Option<Seat<'hunk>> {
    let landed = |verdict: &Verdict<'hunk>| match verdict {
        Verdict::Seated(seat) if seat.landed => Some((seat.index, seat.full.clone())),
        _ => None,
    };
    let above = verdicts.iter().take(index).rev().find_map(landed);
    let below = verdicts.iter().skip(index + 1).find_map(landed);
    if above.is_none() && below.is_none() {
        return None;
    }
    let gap = above.as_ref().map_or(0, |(_, lines)| lines.end)
        ..below.as_ref().map_or(file.len(), |(_, lines)| lines.start);
    let inside = |at: usize| gap.start <= at && at + hunk.new.len() <= gap.end;
    // As far from a neighbour as the hunks' line numbers say, or nowhere else in the gap.
    let by_number = above.iter().chain(&below).find_map(|(neighbour, spot)| {
        let (mine, theirs) = (new_start(hunks, lines, index)?, new_start(hunks, lines, *neighbour)?);
        usize::try_from(spot.start as isize + mine - theirs).ok()
    });
    let by_number =
        by_number.filter(|at| inside(*at) && !hunk.new.is_empty() && stands_at(file, *at, &hunk.new));
    let mut in_gap = new.places.iter().copied().filter(|at| inside(*at));
    let only = in_gap.next().filter(|_| in_gap.next().is_none() && new.places.len() < OCCURRENCES_MAX);
    by_number.or(only).map(|at| Seat::landed(index, hunk, at, new.form))
}

/// The line of a hunk's `new` in the file that all hunks together make, from its line in the one they were made against.
fn new_start(hunks: &[Hunk], lines: &[HunkLines<'_>], index: usize) -> Option<isize> {
    let start = hunks.get(index)?.start_line? as isize;
    let grown: isize =
        lines.iter().take(index).map(|hunk| hunk.new.len() as isize - hunk.old.len() as isize).sum();
    Some(start + grown)
}

#[cfg(test)]
mod tests {
    use super::super::came::{Came, at, came, hunk};

    const OLD: &str = "begin();\ngone();\nend();\n";
    const NEW: &str = "begin();\nend();\n";

    #[test]
    fn a_doubtful_deletion_at_its_number_has_landed() {
        let landed = "begin();\nend();\nnext();\nbegin();\nend();\n";
        assert_eq!(came(landed, &[hunk(OLD, NEW)]), Came::NoMatch);
        assert_eq!(came(landed, &[at(4, OLD, NEW)]), Came::Landed);
        assert_eq!(came(landed, &[at(3, OLD, NEW)]), Came::NoMatch);
    }

    #[test]
    fn a_doubtful_deletion_has_not_landed_where_its_lines_stand_nearby() {
        let moved = "begin();\nend();\nnext();\nbegin();\nend();\ngone();\n";
        assert_eq!(came(moved, &[at(4, OLD, NEW)]), Came::NoMatch);
    }
}
