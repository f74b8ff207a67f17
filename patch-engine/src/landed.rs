//! What of a batch is in the tree already, where operations build on one another: a created file that a later
//! operation edits is no longer the file created, so each by itself would be refused when a landed batch is sent again.
//!
//! Operations that touch common paths form a group. A group has landed if the tree can be followed back through it,
//! last operation first, each finding exactly what it leaves behind. Operations alone in their group need none of
//! this; `apply` knows when they have landed.

use std::collections::{BTreeMap, BTreeSet};

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Hunk, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::hunks::{HunkLines, malformed, touched};
use crate::lines::Lines;
use crate::ordered::set;
use crate::place::{Base, Direction, Placement, place, take_back, through};
use crate::{File, Snapshot, TEXT_BYTES_MAX};

/// A file at some moment before the present.
#[derive(Clone)]
enum Earlier {
    Absent,
    /// It was there or not; a later operation wiped out what it was.
    Unknown,
    /// None where a later operation set the mode.
    File {
        bytes: Vec<u8>,
        mode: Option<FileMode>,
    },
}

/// The operations that are in the tree already as parts of a group.
pub(crate) fn landed_operations(operations: &[&PatchOperation], snapshot: &impl Snapshot) -> BTreeSet<usize> {
    let groups = groups(operations).into_values().filter(|group| group.len() > 1);
    let landed = groups.filter(|group| has_landed(operations, group, snapshot));
    set(landed.flatten())
}

/// The text that these hunks made into the one given, if that is the file of this hash. The proof needs no search: the
/// hunks' line numbers are those of that very file.
pub(crate) fn without_hunks(text: &str, base: Sha256, hunks: &[Hunk]) -> Option<String> {
    let file = Lines::new(text);
    let (mut before, mut done, mut removed, mut added) = (String::new(), 0, 0, 0);
    for hunk in hunks {
        let lines = HunkLines::new(hunk);
        let at = ((hunk.start_line? as usize).checked_sub(1)? + added).checked_sub(removed)?;
        let end = at.checked_add(lines.new.len())?;
        if at < done || end > file.len() || file.slice(at..end) != lines.new.text() {
            return None;
        }
        before.push_str(file.slice(done..at));
        before.push_str(&hunk.old);
        done = end;
        removed += lines.old.len();
        added += lines.new.len();
    }
    before.push_str(file.slice(done..file.len()));
    (Sha256::of(before.as_bytes()) == base).then_some(before)
}

/// The operations' indexes, by the smallest of each group.
fn groups(operations: &[&PatchOperation]) -> BTreeMap<usize, Vec<usize>> {
    let mut first_with: BTreeMap<&str, usize> = BTreeMap::new();
    let mut leaders: Vec<usize> = (0..operations.len()).collect();
    for (index, operation) in operations.iter().enumerate() {
        for path in touched(operation) {
            let other = *first_with.entry(path.as_str()).or_insert(index);
            join(&mut leaders, index, other);
        }
    }
    // A file in a directory's place depends on what happens below that directory.
    for (index, operation) in operations.iter().enumerate() {
        for directory in touched(operation).flat_map(WorkspacePath::ancestors) {
            if let Some(other) = first_with.get(directory) {
                join(&mut leaders, index, *other);
            }
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..operations.len() {
        groups.entry(leader(&leaders, index)).or_default().push(index);
    }
    groups
}

fn join(leaders: &mut [usize], one: usize, other: usize) {
    let (one, other) = (leader(leaders, one), leader(leaders, other));
    if let Some(leads) = leaders.get_mut(one.max(other)) {
        *leads = one.min(other);
    }
}

fn leader(leaders: &[usize], mut index: usize) -> usize {
    while let Some(above) = leaders.get(index).filter(|above| **above != index) {
        index = *above;
    }
    index
}

fn has_landed(operations: &[&PatchOperation], group: &[usize], snapshot: &impl Snapshot) -> bool {
    let members: Vec<&PatchOperation> =
        group.iter().filter_map(|index| operations.get(*index).copied()).collect();
    if members.iter().any(|operation| malformed(operation).is_some()) {
        return false;
    }
    if let Some((path, row)) = row_of_edits(&members) {
        return snapshot
            .file(path)
            .and_then(|file| editable(&file.bytes))
            .is_some_and(|text| row_has_landed(text, row));
    }
    let mut past = Past { snapshot, earlier: BTreeMap::new() };
    let newest_first = (0..members.len()).rev();
    newest_first.into_iter().all(|index| {
        let (earlier, from_here) = members.split_at(index);
        from_here.first().is_some_and(|operation| past.take_back(operation, earlier))
    })
}

/// Edits of one file, all placed by their text alone.
fn row_of_edits<'batch>(
    members: &[&'batch PatchOperation],
) -> Option<(&'batch WorkspacePath, Vec<&'batch [Hunk]>)> {
    let path = members.first()?.path();
    let hunks = |member: &&'batch PatchOperation| match *member {
        PatchOperation::Edit { path: own, base_sha256: None, hunks } if own == path => Some(hunks.as_slice()),
        _ => None,
    };
    Some((path, members.iter().map(hunks).collect::<Option<_>>()?))
}

/// Taken back, newest first, and put in again, they lead to the same text.
fn row_has_landed(text: &str, mut row: Vec<&[Hunk]>) -> bool {
    row.reverse();
    let Some(before) = through(text, &row, Direction::Back) else { return false };
    row.reverse();
    through(&before, &row, Direction::Forth).is_some_and(|after| after == text)
}

/// The tree before the operations that were taken back.
struct Past<'snapshot, S> {
    snapshot: &'snapshot S,
    earlier: BTreeMap<WorkspacePath, Earlier>,
}

impl<S: Snapshot> Past<'_, S> {
    fn at(&self, path: &WorkspacePath) -> Earlier {
        let now = |file: &File| Earlier::File { bytes: file.bytes.clone(), mode: Some(file.mode) };
        let known = self.earlier.get(path).cloned();
        known.unwrap_or_else(|| self.snapshot.file(path).map_or(Earlier::Absent, now))
    }

    /// False where the tree is not what the operation leaves behind.
    fn take_back(&mut self, operation: &PatchOperation, earlier: &[&PatchOperation]) -> bool {
        let path = operation.path();
        let before = match (operation, self.at(path)) {
            (PatchOperation::Rename { from, to, base_sha256 }, Earlier::Absent | Earlier::Unknown) => {
                return self.take_back_rename(from, to, *base_sha256, earlier);
            }
            (PatchOperation::Create { content, mode, .. }, Earlier::File { bytes, mode: found }) => {
                (content.to_bytes() == Some(bytes) && found.is_none_or(|found| found == *mode))
                    .then_some(Earlier::Absent)
            }
            (PatchOperation::Create { .. }, Earlier::Unknown) => Some(Earlier::Absent),
            (PatchOperation::Edit { base_sha256, hunks, .. }, Earlier::File { bytes, mode }) => {
                let text = before_edit(&bytes, *base_sha256, hunks);
                text.map(|text| Earlier::File { bytes: text.into_bytes(), mode })
            }
            (
                PatchOperation::Replace { content, .. } | PatchOperation::Write { content, .. },
                Earlier::File { bytes, .. },
            ) => (content.to_bytes() == Some(bytes)).then_some(Earlier::Unknown),
            (PatchOperation::Delete { .. }, Earlier::Absent) => Some(Earlier::Unknown),
            (PatchOperation::SetMode { mode, .. }, Earlier::File { bytes, mode: found }) => {
                found.is_none_or(|found| found == *mode).then_some(Earlier::File { bytes, mode: None })
            }
            (
                PatchOperation::Edit { .. }
                | PatchOperation::Replace { .. }
                | PatchOperation::Write { .. }
                | PatchOperation::SetMode { .. },
                Earlier::Unknown,
            ) => Some(Earlier::Unknown),
            _ => None,
        };
        before.map(|before| self.earlier.insert(path.clone(), before)).is_some()
    }

    /// Without a base there is no proof of which file was moved. That is good enough for a lone rename, but not where
    /// the batch itself emptied the target first: two files that swap names look swapped both before and after.
    fn take_back_rename(
        &mut self,
        from: &WorkspacePath,
        to: &WorkspacePath,
        base_sha256: Option<Sha256>,
        earlier: &[&PatchOperation],
    ) -> bool {
        let moved = self.at(to);
        let admitted = match (&moved, base_sha256) {
            (Earlier::Absent, _) => false,
            (Earlier::File { bytes, .. }, Some(base)) => Sha256::of(bytes) == base,
            (_, _) => !earlier.iter().any(|operation| match operation {
                PatchOperation::Delete { path, .. } | PatchOperation::Rename { from: path, .. } => path == to,
                _ => false,
            }),
        };
        if admitted {
            self.earlier.insert(from.clone(), moved);
            self.earlier.insert(to.clone(), Earlier::Absent);
        }
        admitted
    }
}

/// A file's content, where it is text and small enough.
fn editable(bytes: &[u8]) -> Option<&str> {
    if bytes.len() > TEXT_BYTES_MAX { None } else { std::str::from_utf8(bytes).ok() }
}

/// The text that the edit made into this one: proven by its base, else by the hunks leading back and forth without
/// ambiguity.
fn before_edit(bytes: &[u8], base_sha256: Option<Sha256>, hunks: &[Hunk]) -> Option<String> {
    let text = editable(bytes)?;
    if let Some(before) = base_sha256.and_then(|base| without_hunks(text, base, hunks)) {
        return Some(before);
    }
    let Ok(Placement::Changed { text: before, .. }) = take_back(text, hunks) else { return None };
    let forth = place(&before, Base::Unknown, hunks);
    matches!(forth, Ok(Placement::Changed { text: after, .. }) if after == text).then_some(before)
}

#[cfg(test)]
mod tests;
