//! One file of a unified diff: its header and hunks as operations.

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Content, Hunk, OperationOutcome, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use super::header::{Header, Mode, mode};
use super::names::{NameFault, Names};
use crate::Parsed;
use crate::formats::{Malformed, Refused, fault, hints, path};
use crate::lines::count_lines;

pub(super) struct Section<'text> {
    pub(super) header: Header<'text>,
    pub(super) hunks: Vec<Hunk>,
    /// The first fault in a hunk: all of the file is refused with it.
    pub(super) fault: Option<Malformed>,
}

impl Section<'_> {
    /// What is done to the file, in order.
    pub(super) fn operations(self) -> Vec<Parsed> {
        let names = match Names::of(&self.header) {
            Ok(names) => names,
            Err(why) => return vec![Err(self.unnamed(why))],
        };
        let name = names.new.as_deref().or(names.old.as_deref()).unwrap_or_default().to_owned();
        match self.named(names) {
            Ok(operations) => operations.into_iter().map(Ok).collect(),
            Err(Fault::Path(refused)) => vec![Err(refused)],
            Err(Fault::Outcome(outcome)) => vec![Err((name, outcome))],
        }
    }

    fn unnamed(&self, why: NameFault) -> Refused {
        let (path, words) = match why {
            NameFault::Missing => (String::new(), hints::no_name_in_header()),
            NameFault::Two(old, new) => (new.clone(), hints::two_names(&old, &new)),
            NameFault::NotUtf8(name) => (name, hints::name_not_utf8()),
        };
        (path, fault(self.header.line, words).into())
    }

    fn named(self, names: Names) -> Result<Vec<PatchOperation>, Fault> {
        let line = self.header.line;
        let header = &self.header;
        if header.is_binary {
            return Err(Fault::Outcome(OperationOutcome::NotText { hint: hints::BINARY.into() }));
        }
        let words = match () {
            () if header.is_combined => Some(hints::combined_diff()),
            () if header.is_submodule => Some(hints::submodule()),
            () if header.copied.1.is_some() => Some(hints::copy()),
            () => None,
        };
        if let Some(words) = words {
            return Err(fault(line, words).into());
        }
        let modes = [header.created_mode, header.deleted_mode, header.old_mode, header.new_mode];
        let [created, deleted, _, changed] = modes.map(|digits| digits.map(mode));
        for mode in [&created, &deleted, &changed].into_iter().flatten() {
            match mode {
                Mode::File(_) => {}
                Mode::Submodule => return Err(fault(line, hints::submodule()).into()),
                Mode::Unknown => return Err(fault(line, hints::unknown_mode()).into()),
            }
        }
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let changed = match changed {
            Some(Mode::File(mode)) => Some(mode),
            _ => None,
        };
        match (names.old, names.new) {
            (Some(old), None) => delete(line, &old, &self.hunks),
            (Some(old), Some(_)) if deleted.is_some() => delete(line, &old, &self.hunks),
            (_, Some(new)) if created.is_some() => create(line, &new, created, &self.hunks),
            (None, Some(new)) => create(line, &new, None, &self.hunks),
            (Some(old), Some(new)) => keep(line, &old, &new, changed, self.hunks),
            (None, None) => Err(fault(line, hints::no_name_in_header()).into()),
        }
    }
}

enum Fault {
    Path(Refused),
    Outcome(OperationOutcome),
}

impl From<Malformed> for Fault {
    fn from(fault: Malformed) -> Self {
        Self::Outcome(fault.into())
    }
}

fn create(line: usize, name: &str, mode: Option<Mode>, hunks: &[Hunk]) -> Result<Vec<PatchOperation>, Fault> {
    let path = path(name).map_err(Fault::Path)?;
    if hunks.iter().any(|hunk| !hunk.old.is_empty()) {
        return Err(fault(line, hints::created_with_old_lines()).into());
    }
    let mut text: String = hunks.iter().map(|hunk| hunk.new.as_str()).collect();
    let mode = match mode {
        Some(Mode::File(mode)) => mode,
        _ => FileMode::Regular,
    };
    if mode == FileMode::Symlink {
        // A link's target has no terminator, marked or not.
        text.truncate(text.trim_end_matches('\n').len());
    }
    Ok(vec![PatchOperation::Create { path, content: Content::Text(text), mode }])
}

/// The diff holds the whole file, so it is deleted only as that.
fn delete(line: usize, name: &str, hunks: &[Hunk]) -> Result<Vec<PatchOperation>, Fault> {
    let path = path(name).map_err(Fault::Path)?;
    if hunks.iter().any(|hunk| !hunk.new.is_empty()) {
        return Err(fault(line, hints::deleted_with_new_lines()).into());
    }
    let text: String = hunks.iter().map(|hunk| hunk.old.as_str()).collect();
    let base_sha256 = (!hunks.is_empty()).then(|| Sha256::of(text.as_bytes()));
    Ok(vec![PatchOperation::Delete { path, base_sha256 }])
}

/// A rename, then changes of content and mode under the new name, as the engine's own differences have them.
fn keep(
    line: usize,
    old: &str,
    new: &str,
    mode: Option<FileMode>,
    hunks: Vec<Hunk>,
) -> Result<Vec<PatchOperation>, Fault> {
    let (from, to) = (path(old).map_err(Fault::Path)?, path(new).map_err(Fault::Path)?);
    let mut operations = Vec::new();
    if from != to {
        operations.push(PatchOperation::Rename { from, to: to.clone(), base_sha256: None });
    }
    if !hunks.is_empty() {
        operations.push(PatchOperation::Edit { path: to.clone(), base_sha256: None, hunks });
    }
    if let Some(mode) = mode {
        operations.push(PatchOperation::SetMode { path: to, mode });
    }
    if operations.is_empty() { Err(fault(line, hints::no_change()).into()) } else { Ok(operations) }
}

/// How far down an edit reaches, in the file before it and after it.
#[derive(Clone, Copy, Default)]
pub(super) struct Reach {
    /// The first line below every hunk, in both; none where a hunk does not say where it is.
    below: Option<usize>,
    /// By how many lines the hunks made the file longer.
    grown: isize,
}

impl Reach {
    pub(super) fn of(operations: &[Parsed]) -> Self {
        match operations {
            [.., Ok(PatchOperation::Edit { hunks, .. })] => Self { below: Some(0), grown: 0 }.with(hunks),
            _ => Self::default(),
        }
    }

    fn with(self, hunks: &[Hunk]) -> Self {
        hunks.iter().fold(self, |reach, hunk| {
            let (old, new) = (count_lines(&hunk.old), count_lines(&hunk.new));
            let end = hunk.start_line.map(|start| {
                (start as usize + old).max((start as usize + new).saturating_add_signed(reach.grown))
            });
            Self {
                below: reach.below.zip(end).map(|(below, end)| below.max(end)),
                grown: reach.grown.saturating_add_unsigned(new).saturating_sub_unsigned(old),
            }
        })
    }

    /// Joins two edits of one file where the second is below the first, whether it was made beside it or on top of it:
    /// one operation then says all of it.
    pub(super) fn join(&mut self, first: &mut PatchOperation, second: &PatchOperation) -> bool {
        let (PatchOperation::Edit { path, hunks, .. }, PatchOperation::Edit { path: other, hunks: more, .. }) =
            (first, second)
        else {
            return false;
        };
        if path != other {
            return false;
        }
        let start = more.first().and_then(|hunk| hunk.start_line);
        let is_below = self.below.zip(start).is_some_and(|(below, start)| below <= start as usize);
        if !is_below {
            return false;
        }
        hunks.extend(more.iter().cloned());
        *self = self.with(more);
        true
    }
}

/// Deletions first, so that their places are free, then renames, then changes, then new files; as they were sent where
/// one path comes twice, because then each builds on the one before.
pub(super) fn arrange(operations: &mut [Parsed], touches_twice: bool) {
    if !touches_twice {
        operations.sort_by_key(|operation| match operation {
            Ok(PatchOperation::Delete { .. }) => 0,
            Ok(PatchOperation::Rename { .. }) => 1,
            Ok(PatchOperation::Create { .. }) => 3,
            _ => 2,
        });
    }
}

/// The paths of a section's operations, each once.
pub(super) fn paths(operations: &[Parsed]) -> impl Iterator<Item = &WorkspacePath> {
    let mut previous = None;
    operations
        .iter()
        .flatten()
        .flat_map(|operation| match operation {
            PatchOperation::Rename { from, to, .. } => [Some(from), Some(to)],
            other => [Some(other.path()), None],
        })
        .flatten()
        .filter(move |path| previous.replace(*path) != Some(*path))
}
