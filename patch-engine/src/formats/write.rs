//! Operations as the text of a format, so that reading the text does to a tree what the operations do.
//!
//! Where the files are known, every operation is planned on them, what it changes is written, and the text is read back
//! and compared. Where they are not, it is written as it stands, if the format can say it.

mod blocks;
mod tree;

use shared_contracts::patches::{PatchBatch, PatchFormat, PatchOperation};

use self::blocks::{Context, blind, from_change, unified};
use self::tree::Overlay;
use super::read;
use crate::{FileChange, Snapshot, plan};

/// Why an operation has no text in a format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unwritable {
    /// Its position, from 0.
    pub operation: usize,
    pub path: String,
    pub why: String,
}

/// Writes the operations in order. `files` is the tree they are for, as far as it is known; it may be empty.
pub fn write(
    format: PatchFormat,
    operations: &[PatchOperation],
    files: &impl Snapshot,
) -> Result<String, Unwritable> {
    if format == PatchFormat::Json {
        let batch = PatchBatch { operations: operations.to_vec() };
        // Nothing in an operation can fail to be written.
        return Ok(serde_json::to_string_pretty(&batch).unwrap_or_default() + "\n");
    }
    // As one change: of two sections for one file the second would count lines that the first has moved.
    if format == PatchFormat::UnifiedDiff
        && let Ok(planned) = plan(&PatchBatch { operations: operations.to_vec() }, files)
        && let Ok(text) = unified(&planned.changes)
    {
        return Ok(text);
    }
    let mut tree = Overlay::new(files);
    let mut texts = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        let unwritable =
            |why: String| Unwritable { operation: index, path: operation.path().as_str().to_owned(), why };
        let planned = plan(&PatchBatch { operations: vec![operation.clone()] }, &tree);
        match planned {
            Ok(planned) => {
                texts.push(changed(format, &planned.changes, &tree).map_err(unwritable)?);
                tree.write(planned.changes);
            }
            Err(_) => texts.push(blind(format, operation).map_err(unwritable)?),
        }
    }
    let parts = texts.concat();
    Ok(match format {
        PatchFormat::Codex => format!("*** Begin Patch\n{parts}*** End Patch\n"),
        _ => parts,
    })
}

/// The text of changes to a known tree.
fn changed(format: PatchFormat, changes: &[FileChange], tree: &impl Snapshot) -> Result<String, String> {
    if changes.is_empty() {
        return Ok(String::new());
    }
    if format == PatchFormat::UnifiedDiff {
        return unified(changes);
    }
    // With few lines around a change it may stand in several places; with the whole file it cannot.
    for context in [Context::Near, Context::WholeFile] {
        let text = from_change(format, changes, context)?;
        if leads_to(format, &text, changes, tree) {
            return Ok(text);
        }
    }
    Err("read back, the text would not make the same change; send JSON or a unified diff".into())
}

fn leads_to(format: PatchFormat, text: &str, changes: &[FileChange], tree: &impl Snapshot) -> bool {
    let Ok(read) = read(text, Some(format)) else { return false };
    let operations: Result<Vec<_>, _> = read.operations.into_iter().collect();
    let planned = operations.ok().and_then(|operations| plan(&PatchBatch { operations }, tree).ok());
    planned.is_some_and(|planned| planned.changes == changes)
}
