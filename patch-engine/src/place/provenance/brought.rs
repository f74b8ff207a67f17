//! What the hunk brings may have come by another way: it must not come twice.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use shared_contracts::patches::OperationOutcome;

use super::super::BaseText;
use super::super::form::{Form, Index};
use super::super::refusal::ambiguous;
use super::super::seat::{Seat, changes};
use super::touch;
use crate::hints;
use crate::hunks::HunkLines;
use crate::lines::{Lines, is_telling};
use crate::ordered::set;

/// Of the lines that a hunk brings and the base had not, so many in a hundred are there: it has landed.
const BROUGHT_PERCENT: usize = 80;
/// Less text than this may have come by chance.
const TEXT_BYTES_MIN: usize = 16;

/// So many lines tell by themselves; fewer must stand in a row.
const LINES_TELLING: usize = 5;

const FORM: Form = Form::Punctuation;

/// The lines that came into the file since its base.
pub(super) struct Known<'text> {
    base: BTreeSet<Cow<'text, str>>,
    file: BTreeSet<Cow<'text, str>>,
    /// Lines that several of the hunks bring: one may have landed without the other.
    common: BTreeSet<Cow<'text, str>>,
}

impl<'text> Known<'text> {
    pub(super) fn new(base: BaseText<'text>, file: &Lines<'text>, hunks: &[HunkLines<'text>]) -> Self {
        let keys = |text: &'text str| set(text.split_inclusive('\n').map(|line| FORM.key(line)));
        let mut bring: BTreeMap<Cow<'text, str>, usize> = BTreeMap::new();
        for hunk in hunks {
            keys(hunk.new_core_text()).into_iter().for_each(|line| *bring.entry(line).or_default() += 1);
        }
        let common = set(bring.into_iter().filter(|(_, hunks)| *hunks > 1).map(|(line, _)| line));
        Self { base: keys(base.text), file: keys(base.untouched.unwrap_or(file.text())), common }
    }

    /// The hunk where it is about to be put in, or where it has landed; refused if only most of it is there.
    pub(super) fn not_twice<'hunk>(
        &self,
        index: &Index<'_>,
        file: &Lines<'_>,
        hunk: &HunkLines<'hunk>,
        seat: Seat<'hunk>,
    ) -> Result<Seat<'hunk>, OperationOutcome> {
        let changes = changes(hunk);
        let new = changes.iter().flat_map(|(_, new)| new.clone()).map(|line| FORM.key(hunk.new.get(line)));
        let brought: Vec<_> = new
            .filter(|line| is_telling(line) && !self.base.contains(line) && !self.common.contains(line))
            .collect();
        let there: Vec<_> = brought.iter().filter(|line| self.file.contains(*line)).collect();
        let bytes: usize = there.iter().map(|line| line.len()).sum();
        let has_landed = bytes >= TEXT_BYTES_MIN
            && there.len() * 100 >= brought.len() * BROUGHT_PERCENT
            && (brought.len() >= LINES_TELLING
                || changes.iter().all(|(_, new)| stands(index, &hunk.new, new)));
        if seat.landed || !has_landed {
            return Ok(seat);
        }
        match landed_at(index, hunk).filter(|at| touch(&(*at..at + hunk.new.len()), &seat.full)) {
            Some(at) => Ok(Seat::landed(seat.index, hunk, at, FORM)),
            None => {
                let hint = hints::landed_or_not(seat.index);
                Err(ambiguous(file, seat.index, &hunk.old, &[seat.full.start], hint))
            }
        }
    }
}

fn stands(index: &Index<'_>, new: &Lines<'_>, lines: &Range<usize>) -> bool {
    lines.is_empty() || !index.places_of(new, lines.clone()).is_empty()
}

/// Where all of the hunk's `new` but its outer context stands, once.
fn landed_at(index: &Index<'_>, hunk: &HunkLines<'_>) -> Option<usize> {
    let (above, below) = (hunk.before.min(1), hunk.after.min(1));
    let core = hunk.new_core(0);
    match index.places_of(&hunk.new, core.start - above..core.end + below).as_slice() {
        [at] => (at + above).checked_sub(hunk.before),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use shared_contracts::patches::Hunk;

    use super::super::super::came::{Came, at, came_in_batch, came_over, text};

    const BASE: &str = "top();\nabove();\nbelow();\nmiddle();\nlow();\nend();\n";
    const BLOCK: &str = "open_the_door();\nwalk_through_it();\nclose_the_door();\n";

    fn insertion() -> [Hunk; 1] {
        [at(2, "above();\nbelow();\n", &format!("above();\n{BLOCK}below();\n"))]
    }

    fn inserted(file: &str) -> Came {
        text(&file.replace("below", &format!("{BLOCK}below")))
    }

    #[test]
    fn a_block_that_came_elsewhere_since_is_not_inserted_a_second_time() {
        let elsewhere = format!("{BASE}{BLOCK}");
        assert_eq!(came_over(BASE, &elsewhere, &insertion()), Came::Ambiguous);
        let other = format!("{BASE}something_else();\n");
        assert_eq!(came_over(BASE, &other, &insertion()), inserted(&other));
    }

    #[test]
    fn a_block_that_the_base_has_already_is_inserted() {
        let base = format!("{BASE}{BLOCK}");
        let file = format!("head();\n{base}");
        assert_eq!(came_over(&base, &file, &insertion()), inserted(&file));
    }

    #[test]
    fn what_the_batch_itself_brought_earlier_does_not_count() {
        let file = format!("{BASE}{BLOCK}");
        assert_eq!(came_in_batch(BASE, Some(BASE), &file, &insertion()), inserted(&file));
    }
}
