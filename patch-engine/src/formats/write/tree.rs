//! The tree as the operations written so far leave it.

use std::collections::BTreeMap;
use std::ops::Bound;

use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;

use crate::{File, FileChange, Rules, Snapshot};

pub(super) struct Overlay<'files, S> {
    files: &'files S,
    /// None where the file was removed.
    written: BTreeMap<WorkspacePath, Option<File>>,
}

impl<'files, S: Snapshot> Overlay<'files, S> {
    pub(super) fn new(files: &'files S) -> Self {
        Self { files, written: BTreeMap::new() }
    }

    pub(super) fn write(&mut self, changes: Vec<FileChange>) {
        self.written.extend(changes.into_iter().map(|change| (change.path, change.after)));
    }
}

impl<S: Snapshot> Snapshot for Overlay<'_, S> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        match self.written.get(path) {
            Some(file) => file.as_ref(),
            None => self.files.file(path),
        }
    }

    fn base(&self, sha256: Sha256) -> Option<&[u8]> {
        self.files.base(sha256)
    }

    fn rules(&self) -> Option<&Rules> {
        self.files.rules()
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        self.files_below(path) > 0
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        let directory = format!("{path}/");
        let below = self.written.range::<str, _>((Bound::Included(directory.as_str()), Bound::Unbounded));
        let change: i64 = below
            .take_while(|(path, _)| path.as_str().starts_with(&directory))
            .map(|(path, file)| i64::from(file.is_some()) - i64::from(self.files.file(path).is_some()))
            .sum();
        self.files.files_below(path).saturating_add_signed(change)
    }
}
