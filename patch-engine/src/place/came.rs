//! What became of an edit, for the tests of single rules.

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Hunk, OperationOutcome};

use super::{Base, BaseText, Placement, place};

#[derive(Debug, PartialEq)]
pub(super) enum Came {
    Text(String),
    Landed,
    Ambiguous,
    NoMatch,
    Otherwise(OperationOutcome),
}

pub(super) fn hunk(old: &str, new: &str) -> Hunk {
    Hunk { old: old.into(), new: new.into(), ..Hunk::default() }
}

/// A hunk that names its line.
pub(super) fn at(line: u32, old: &str, new: &str) -> Hunk {
    Hunk { start_line: Some(line), ..hunk(old, new) }
}

pub(super) fn text(text: &str) -> Came {
    Came::Text(text.to_owned())
}

/// By the file alone.
pub(super) fn came(file: &str, hunks: &[Hunk]) -> Came {
    of(place(file, Base::Unknown, hunks))
}

pub(super) fn came_over(base: &str, file: &str, hunks: &[Hunk]) -> Came {
    came_in_batch(base, None, file, hunks)
}

/// `untouched` is the file before the batch's own operations on it.
pub(super) fn came_in_batch(base: &str, untouched: Option<&str>, file: &str, hunks: &[Hunk]) -> Came {
    let (wanted, found) = (Sha256::of(base.as_bytes()), Sha256::of(file.as_bytes()));
    let base = Base::Stale { wanted, found, text: Some(BaseText { text: base, untouched }) };
    of(place(file, base, hunks))
}

fn of(placed: Result<Placement, OperationOutcome>) -> Came {
    match placed {
        Ok(Placement::Changed { text, .. }) => Came::Text(text),
        Ok(Placement::Landed) => Came::Landed,
        Err(OperationOutcome::Ambiguous { .. }) => Came::Ambiguous,
        Err(OperationOutcome::NoMatch { .. }) => Came::NoMatch,
        Err(outcome) => Came::Otherwise(outcome),
    }
}
