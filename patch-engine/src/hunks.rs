//! An operation looked at by itself, without any tree: its paths, its hunks taken apart into lines, its faults.

use std::ops::Range;

use shared_contracts::patches::{Hunk, OperationOutcome, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use crate::hints;

/// The lines of a text with their terminators; only the last may lack its own.
pub(crate) fn lines_of(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

pub(crate) fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A hunk as lines: the context that `old` and `new` share at both ends, and between them the core that changes.
pub(crate) struct HunkLines<'hunk> {
    pub(crate) old: Vec<&'hunk str>,
    pub(crate) new: Vec<&'hunk str>,
    /// Context lines before the core.
    pub(crate) before: usize,
    /// Context lines after the core.
    pub(crate) after: usize,
}

impl<'hunk> HunkLines<'hunk> {
    pub(crate) fn new(hunk: &'hunk Hunk) -> Self {
        let (old, new) = (lines_of(&hunk.old), lines_of(&hunk.new));
        let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
        let before = old.iter().zip(&new).take_while(same).count();
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

    /// The lines that the core becomes.
    pub(crate) fn new_core_lines(&self) -> &[&'hunk str] {
        self.new.get(self.new_core(0)).unwrap_or_default()
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
        PatchOperation::Create { content, .. } | PatchOperation::Replace { content, .. } => {
            content.to_bytes().is_none().then(hints::bad_base64)?
        }
        PatchOperation::Edit { hunks, .. } if hunks.is_empty() => hints::no_hunks(),
        PatchOperation::Edit { hunks, .. } => {
            let count = hunks.len();
            hunks
                .iter()
                .enumerate()
                .find_map(|(index, hunk)| malformed_hunk(index, index + 1 == count, hunk))?
        }
        PatchOperation::Rename { from, to, .. } if from == to => hints::renamed_onto_itself(),
        PatchOperation::Rename { .. } | PatchOperation::Delete { .. } | PatchOperation::SetMode { .. } => {
            return None;
        }
    };
    Some(OperationOutcome::Malformed { what, hint })
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
        Hunk { start_line: 1, old: old.into(), new: new.into() }
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
