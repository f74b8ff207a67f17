//! An operation looked at by itself, without any tree: its paths, its hunks taken apart into lines, its faults.

use std::ops::Range;

use shared_contracts::patches::{Hunk, MarkerPlace, OperationOutcome, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use crate::hints;
use crate::lines::{Lines, is_telling};

/// The lines of a text with their terminators; only the last may lack its own.
pub(crate) fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

pub(crate) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A hunk as lines: the context that `old` and `new` share at both ends, and between them the core that changes.
pub(crate) struct HunkLines<'hunk> {
    pub(crate) old: Lines<'hunk>,
    pub(crate) new: Lines<'hunk>,
    /// Context lines before the core.
    pub(crate) before: usize,
    /// Context lines after the core.
    pub(crate) after: usize,
}

impl<'hunk> HunkLines<'hunk> {
    pub(crate) fn new(hunk: &'hunk Hunk) -> Self {
        let (old, new) = (Lines::new(&hunk.old), Lines::new(&hunk.new));
        let same = |pair: &(&'hunk str, &'hunk str)| pair.0 == pair.1;
        let before = old.iter().zip(new.iter()).take_while(same).count();
        let rest = old.len().min(new.len()) - before;
        let after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(same).count();
        Self { old, new, before, after }
    }

    /// The core's lines in the file, where `old` begins at this line (from 0).
    pub(crate) fn old_core(&self, at: usize) -> Range<usize> {
        at + self.before..at + self.old.len() - self.after
    }

    /// The core's lines in the file, where `new` begins at this line (from 0).
    pub(crate) fn new_core(&self, at: usize) -> Range<usize> {
        at + self.before..at + self.new.len() - self.after
    }

    /// The lines that the core becomes, as one text.
    pub(crate) fn new_core_text(&self) -> &'hunk str {
        self.new.slice(self.new_core(0))
    }

    /// Whether lines only go away.
    pub(crate) fn only_deletes(&self) -> bool {
        self.new_core(0).is_empty()
    }

    /// The core's old lines that say something.
    pub(crate) fn telling_deleted(&self) -> impl Iterator<Item = &'hunk str> {
        self.old_core(0).map(|line| self.old.get(line)).filter(|line| is_telling(line))
    }

    /// The hunk that takes this one back.
    pub(crate) fn turned(&self) -> Self {
        Self { old: self.new.clone(), new: self.old.clone(), before: self.before, after: self.after }
    }
}

/// Directories above a file. Every one of them is looked at, so that deeper paths would make 500 operations take minutes.
const DIRECTORIES_ABOVE_MAX: usize = 128;

/// Whether the path has more directories above it than the engine looks at; operations on it are refused.
pub(crate) fn is_too_deep(path: &WorkspacePath) -> bool {
    path.as_str().matches('/').count() > DIRECTORIES_ABOVE_MAX
}

/// The paths that an operation changes: its own, and a rename's target.
pub(crate) fn touched(operation: &PatchOperation) -> impl Iterator<Item = &WorkspacePath> {
    let target = match operation {
        PatchOperation::Rename { to, .. } => Some(to),
        _ => None,
    };
    std::iter::once(operation.path()).chain(target)
}

/// What is wrong with an operation by itself.
pub(crate) fn malformed(operation: &PatchOperation) -> Option<OperationOutcome> {
    let (what, hint) = match operation {
        PatchOperation::Create { content, .. }
        | PatchOperation::Replace { content, .. }
        | PatchOperation::Write { content, .. } => content.to_bytes().is_none().then(hints::bad_base64)?,
        PatchOperation::Edit { hunks, .. } if hunks.is_empty() => hints::no_hunks(),
        PatchOperation::Edit { hunks, .. } => {
            let count = hunks.len();
            hunks
                .iter()
                .enumerate()
                .find_map(|(index, hunk)| malformed_hunk(index, index + 1 == count, hunk))?
        }
        PatchOperation::Rename { from, to, .. } if from == to => hints::renamed_onto_itself(),
        PatchOperation::Insert { at, text, .. } => malformed_insert(at, text)?,
        PatchOperation::EditLines { edits, .. } if edits.is_empty() => hints::no_edits(),
        PatchOperation::Rename { .. }
        | PatchOperation::Delete { .. }
        | PatchOperation::SetMode { .. }
        | PatchOperation::EditLines { .. } => {
            return None;
        }
    };
    Some(malformed_as((what, hint)))
}

pub(crate) fn malformed_as((what, hint): (String, String)) -> OperationOutcome {
    OperationOutcome::Malformed { line: None, column: None, what, hint }
}

fn malformed_insert(at: &MarkerPlace, text: &str) -> Option<(String, String)> {
    let is_bad = |marker: &String| marker.trim().is_empty() || marker.contains('\n');
    match at {
        MarkerPlace::Before { marker } | MarkerPlace::After { marker } if is_bad(marker) => {
            Some(hints::empty_marker())
        }
        MarkerPlace::Between { first, last } if is_bad(first) || is_bad(last) => Some(hints::empty_marker()),
        // Nothing between two lines is what a deletion wants.
        MarkerPlace::Between { .. } => None,
        _ => text.is_empty().then(hints::nothing_to_insert),
    }
}

fn malformed_hunk(index: usize, is_last: bool, hunk: &Hunk) -> Option<(String, String)> {
    if hunk.old == hunk.new {
        return Some(hints::changes_nothing(index));
    }
    // Only the end of a file may lack a terminator, and only the last hunk can reach it.
    let lacks = |text: &str| !text.is_empty() && !text.ends_with('\n');
    (!is_last && (lacks(&hunk.old) || lacks(&hunk.new))).then(|| hints::lacks_terminator(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunk(old: &str, new: &str) -> Hunk {
        Hunk { old: old.into(), new: new.into(), ..Hunk::default() }
    }

    #[test]
    fn finds_the_core_between_the_context() {
        for (old, new, before, after) in [
            ("a\nb\nc\n", "a\nX\nc\n", 1, 1),
            ("a\n", "a\na\n", 1, 0),
            ("a\na\n", "a\n", 1, 0),
            ("a\nb\n", "b\n", 0, 1),
            ("", "a\n", 0, 0),
            ("a\r\nb", "a\nb", 0, 1),
            ("a", "a\n", 0, 0),
        ] {
            let hunk = hunk(old, new);
            let lines = HunkLines::new(&hunk);
            assert_eq!((lines.before, lines.after), (before, after), "{old:?} {new:?}");
        }
    }

    #[test]
    fn only_the_last_hunk_may_lack_a_terminator() {
        assert!(malformed_hunk(0, false, &hunk("a", "b\n")).is_some());
        assert!(malformed_hunk(0, false, &hunk("a\n", "b")).is_some());
        assert!(malformed_hunk(0, false, &hunk("a\n", "")).is_none());
        assert!(malformed_hunk(0, true, &hunk("a", "b")).is_none());
        assert!(malformed_hunk(0, true, &hunk("a\n", "a\n")).is_some());
    }
}
