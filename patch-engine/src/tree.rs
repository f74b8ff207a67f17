//! The tree as the operations so far have left it: the snapshot below, what was written above. It owns what a path may
//! stand on; nothing of it outlives a plan.

use std::collections::BTreeMap;

use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::{File, FileChange, Snapshot, TEXT_BYTES_MAX};

pub(crate) struct Tree<'snapshot, S> {
    snapshot: &'snapshot S,
    /// None where the batch removed the file.
    written: BTreeMap<WorkspacePath, Option<File>>,
    /// By how much the batch changed the number of files below a directory.
    files_below_change: BTreeMap<String, i64>,
}

impl<'snapshot, S: Snapshot> Tree<'snapshot, S> {
    pub(crate) fn new(snapshot: &'snapshot S) -> Self {
        Self { snapshot, written: BTreeMap::new(), files_below_change: BTreeMap::new() }
    }

    pub(crate) fn file(&self, path: &WorkspacePath) -> Option<&File> {
        match self.written.get(path) {
            Some(written) => written.as_ref(),
            None => self.snapshot.file(path),
        }
    }

    /// The file as the batch found it.
    pub(crate) fn untouched(&self, path: &WorkspacePath) -> Option<&'snapshot File> {
        self.snapshot.file(path)
    }

    /// The text of a file as it once was, if the snapshot still has it.
    pub(crate) fn base(&self, sha256: Sha256) -> Option<&'snapshot str> {
        let bytes = self.snapshot.base(sha256)?;
        if bytes.len() > TEXT_BYTES_MAX || Sha256::of(bytes) != sha256 {
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }

    /// Puts a file there, or removes it.
    pub(crate) fn write(&mut self, path: &WorkspacePath, file: Option<File>) {
        let change = i64::from(file.is_some()) - i64::from(self.file(path).is_some());
        for directory in path.ancestors() {
            *self.files_below_change.entry(directory.to_owned()).or_default() += change;
        }
        self.written.insert(path.clone(), file);
    }

    /// Whether any file lies below; a directory whose last file was removed is none, as in git.
    pub(crate) fn is_directory(&self, path: &WorkspacePath) -> bool {
        let change = self.files_below_change.get(path.as_str()).copied().unwrap_or_default();
        self.snapshot.files_below(path).saturating_add_signed(change) > 0
    }

    /// The file or link that stands where the path needs a directory.
    pub(crate) fn blocked_by(&self, path: &WorkspacePath) -> Option<(WorkspacePath, FileMode)> {
        path.ancestors().find_map(|directory| {
            let directory = WorkspacePath::parse(directory).ok()?;
            let mode = self.file(&directory)?.mode;
            Some((directory, mode))
        })
    }

    /// What differs from the snapshot, ordered by path.
    pub(crate) fn into_changes(self) -> Vec<FileChange> {
        let snapshot = self.snapshot;
        let changed = self.written.into_iter().filter_map(|(path, after)| {
            let before = snapshot.file(&path);
            (before != after.as_ref()).then(|| FileChange { before: before.cloned(), path, after })
        });
        changed.collect()
    }
}
