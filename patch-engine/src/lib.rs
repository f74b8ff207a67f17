//! The patch core: it owns what a patch batch means. From a batch and a tree it plans the whole change or refuses all
//! of it, with a receipt for every operation; from changed files it makes a batch, or a unified diff for people.
//!
//! Pure: no I/O, no clock, no panic. Trees come in through [`Snapshot`], changes go out in a [`Plan`]; who reads and
//! writes them is the caller (the Workspace in WASM, the container agent natively).
//!
//! The way of a batch: `landed` (what is in the tree already) → `apply` (one operation against `tree`, the snapshot
//! with the operations so far) → `place` (the hunks of an edit, found by `occurrences`) → `plan` (all or nothing).
//! The way back: `rename` (which files moved) → `line_diff` → `diff` and `unified`, cut to size by `split`.

mod apply;
#[cfg(any(test, feature = "attacks"))]
pub mod attacks;
mod diff;
pub mod formats;
mod globs;
mod hints;
mod hunks;
mod inserted;
mod landed;
mod line_diff;
mod lines;
mod ordered;
mod place;
mod plan;
#[cfg(test)]
mod properties;
mod rename;
mod split;
mod tree;
mod unified;

use std::collections::BTreeMap;
use std::ops::Bound;

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{OperationReceipt, PatchBatch};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

pub use crate::diff::diff;
pub use crate::globs::Rules;
pub use crate::plan::{Parsed, paths_needed, plan, plan_parsed};
pub use crate::split::split;
pub use crate::unified::unified_diff;

/// The largest file that is edited or diffed by lines; a larger one is replaced whole. The index of its lines has to
/// fit an isolate's 128 MB beside the file, even where every byte is a line of its own.
pub const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One file of a snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// The content; of a symbolic link its target.
    pub bytes: Vec<u8>,
    pub mode: FileMode,
}

impl File {
    /// The content as text, if lines of it can be edited: not a link, UTF-8, without NUL (what git calls binary).
    pub(crate) fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        (self.mode != FileMode::Symlink && memchr::memchr(0, &self.bytes).is_none()).then_some(text)
    }
}

/// What the engine may ask of a tree. It asks only about the paths of [`paths_needed`].
pub trait Snapshot {
    fn file(&self, path: &WorkspacePath) -> Option<&File>;

    /// Whether any file lies below this path.
    fn is_directory(&self, path: &WorkspacePath) -> bool;

    /// The content with this hash, as far as old contents are at hand: an edit whose base it is finds its place by it.
    fn base(&self, _sha256: Sha256) -> Option<&[u8]> {
        None
    }

    /// What the project allows beyond what is always refused.
    fn rules(&self) -> Option<&Rules> {
        None
    }

    /// How many files lie below this path. With it a file may take the place of a directory whose last file the same
    /// batch removes; without it (as here) a directory counts as never emptied. Counting may stop above the number of
    /// operations in the batch.
    fn files_below(&self, path: &WorkspacePath) -> u64 {
        if self.is_directory(path) { u64::MAX } else { 0 }
    }
}

impl Snapshot for BTreeMap<WorkspacePath, File> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.get(path)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        self.files_below(path) > 0
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        let directory = format!("{path}/");
        let below = self.range::<str, _>((Bound::Included(directory.as_str()), Bound::Unbounded));
        below.take_while(|(path, _)| path.as_str().starts_with(&directory)).count() as u64
    }
}

/// A file before and after; none where it does not exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileChange {
    pub path: WorkspacePath,
    pub before: Option<File>,
    pub after: Option<File>,
}

impl FileChange {
    /// The change that takes this one back.
    pub fn reversed(&self) -> Self {
        Self { path: self.path.clone(), before: self.after.clone(), after: self.before.clone() }
    }
}

/// What a batch does to a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One for each operation, in order; all of them successes.
    pub operations: Vec<OperationReceipt>,
    /// Only files that differ, ordered by path. Empty where everything was already applied.
    pub changes: Vec<FileChange>,
}

impl Plan {
    /// The batch that takes the changes back; without operations where nothing changed. Made when asked for, because it
    /// holds the old content of every file again.
    pub fn inverse(&self) -> PatchBatch {
        inverse(&self.changes)
    }
}

/// The batch that takes these changes back.
pub fn inverse(changes: &[FileChange]) -> PatchBatch {
    let reversed: Vec<FileChange> = changes.iter().map(FileChange::reversed).collect();
    diff(&reversed)
}

/// Why a batch changes nothing: one receipt for every operation, refused or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub operations: Vec<OperationReceipt>,
}
