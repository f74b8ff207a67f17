//! Changed files as a patch batch that leads from before to after: deletions first, so that their places are free, then
//! moves, then changes of content and mode, then new files.

use shared_contracts::hash::Sha256;
use shared_contracts::patches::{Content, Hunk, PatchBatch, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::hunks::to_u32;
use crate::line_diff::{line_diff, texts};
use crate::{File, FileChange, rename};

/// The batch that turns `before` into `after`; without operations where nothing differs. Every operation carries its
/// base where it can. The order is the same for the same changes, however they are ordered. A batch above the wire's
/// limits is cut by [`crate::split`].
pub fn diff(changes: &[FileChange]) -> PatchBatch {
    let sorted = rename::sort(changes);
    let mut operations = Vec::new();
    for side in &sorted.deleted {
        let base_sha256 = Some(Sha256::of(&side.file.bytes));
        operations.push(PatchOperation::Delete { path: side.path.clone(), base_sha256 });
    }
    for moved in &sorted.moved {
        operations.push(PatchOperation::Rename {
            from: moved.from.path.clone(),
            to: moved.to.path.clone(),
            base_sha256: Some(Sha256::of(&moved.from.file.bytes)),
        });
    }
    let moved = sorted.moved.iter().map(|moved| (moved.from, moved.to));
    let mut kept: Vec<_> = sorted.modified.iter().copied().chain(moved).collect();
    kept.sort_by_key(|(_, after)| after.path);
    for (before, after) in kept {
        change_file(after.path, before.file, after.file, &mut operations);
    }
    for side in &sorted.created {
        operations.push(PatchOperation::Create {
            path: side.path.clone(),
            content: Content::from_bytes(&side.file.bytes),
            mode: side.file.mode,
        });
    }
    PatchBatch { operations }
}

/// Content and mode. A file is a link only while its content is a target: the mode leaves first and comes last.
fn change_file(path: &WorkspacePath, before: &File, after: &File, operations: &mut Vec<PatchOperation>) {
    let content = (before.bytes != after.bytes).then(|| change_content(path, before, after));
    let mode =
        (before.mode != after.mode).then(|| PatchOperation::SetMode { path: path.clone(), mode: after.mode });
    let in_order = if before.mode == FileMode::Symlink { [mode, content] } else { [content, mode] };
    operations.extend(in_order.into_iter().flatten());
}

/// By lines where both are text and any line stays, else whole.
fn change_content(path: &WorkspacePath, before: &File, after: &File) -> PatchOperation {
    let (path, base_sha256) = (path.clone(), Some(Sha256::of(&before.bytes)));
    if let Some((before, after)) = texts(before, after) {
        let difference = line_diff(before, after);
        if !difference.is_rewrite() {
            let text = |lines: Option<&[&str]>| lines.unwrap_or_default().concat();
            let hunks = difference.groups().map(|group| Hunk {
                start_line: Some(to_u32(group.before.start + 1)),
                old: text(difference.before.get(group.before)),
                new: text(difference.after.get(group.after)),
                ..Hunk::default()
            });
            return PatchOperation::Edit { path, base_sha256, hunks: hunks.collect() };
        }
    }
    PatchOperation::Replace { path, base_sha256, content: Content::from_bytes(&after.bytes) }
}

#[cfg(test)]
mod tests;
