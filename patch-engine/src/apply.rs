//! One operation against the tree as the operations before it left it. It owns the rules of each kind of operation; a
//! refused one leaves the tree as it was.

use shared_contracts::hash::Sha256;
use shared_contracts::limits::{FILE_BYTES_MAX, LINK_TARGET_BYTES_MAX};
use shared_contracts::patches::{Content, Hunk, OperationOutcome, PatchOperation, PlacementStep};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::landed::without_hunks;
use crate::place::{Base, BaseText, Direction, Placement, chain, place};
use crate::tree::Tree;
use crate::{File, Snapshot, TEXT_BYTES_MAX, hints, hunks, inserted};

/// A success or a refusal; the tree holds the change only after the former.
type Outcome = Result<OperationOutcome, OperationOutcome>;

pub(crate) fn apply<S: Snapshot>(tree: &mut Tree<'_, S>, operation: &PatchOperation) -> OperationOutcome {
    if let Some(malformed) = hunks::malformed(operation) {
        return malformed;
    }
    let outcome = match operation {
        PatchOperation::Create { path, content, mode } => create(tree, path, content, *mode),
        PatchOperation::Edit { path, base_sha256, hunks } => edit(tree, path, *base_sha256, hunks),
        PatchOperation::Replace { path, base_sha256, content } => replace(tree, path, *base_sha256, content),
        PatchOperation::Write { path, base_sha256, content } => write(tree, path, *base_sha256, content),
        PatchOperation::Delete { path, base_sha256 } => delete(tree, path, *base_sha256),
        PatchOperation::Rename { from, to, base_sha256 } => rename(tree, from, to, *base_sha256),
        PatchOperation::SetMode { path, mode } => set_mode(tree, path, *mode),
        PatchOperation::Insert { path, base_sha256: _, at, text } => {
            change_text(tree, path, |file| inserted::insert(file, at, text))
        }
        PatchOperation::EditLines { path, base_sha256: _, edits } => {
            change_text(tree, path, |file| inserted::edit_lines(file, edits))
        }
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

fn create<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    content: &Content,
    mode: FileMode,
) -> Outcome {
    let file = File { bytes: content.to_bytes().unwrap_or_default(), mode };
    check_way(tree, path)?;
    if let Some(found) = tree.file(path) {
        if *found == file {
            return Ok(OperationOutcome::AlreadyApplied);
        }
        let same_bytes = found.bytes == file.bytes;
        let hint = if same_bytes { hints::exists_with_mode(path, found.mode) } else { hints::exists(path) };
        return Err(OperationOutcome::FileExists { hint });
    }
    if tree.is_directory(path) {
        return Err(OperationOutcome::FileExists { hint: hints::exists_as_directory(path) });
    }
    check_file(path, &file)?;
    tree.write(path, Some(file));
    Ok(applied(PlacementStep::Exact))
}

fn edit<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    base_sha256: Option<Sha256>,
    hunks: &[Hunk],
) -> Outcome {
    let base_text = base_sha256.and_then(|wanted| tree.base(wanted));
    let known = base_text.map(|text| BaseText { text, untouched: tree.untouched(path).and_then(File::text) });
    change_text(tree, path, |text| {
        let base = base_sha256.map_or(Base::Unknown, |wanted| match Sha256::of(text.as_bytes()) {
            found if found == wanted => Base::Current,
            found => Base::Stale { wanted, found, text: known },
        });
        // Its own base with the hunks put in is proof, even where the hunks by themselves would be ambiguous.
        if let Base::Stale { wanted, .. } = base
            && without_hunks(text, wanted, hunks).is_some()
        {
            return Ok(Placement::Landed);
        }
        place(text, base, hunks)
    })
}

/// Edits of one file in a row, made against no named base: as each by itself, in time linear in file and edits where they
/// do not build on one another.
pub(crate) fn apply_edits<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    edits: &[&[Hunk]],
) -> Vec<OperationOutcome> {
    let mut outcomes = Vec::with_capacity(edits.len());
    while let Some(rest) = edits.get(outcomes.len()..).filter(|rest| !rest.is_empty()) {
        let (chain, mode) = match text_of(tree, path) {
            Ok((text, mode)) => (chain(text, rest, Direction::Forth), mode),
            // What no edit can be made in is no other for the next.
            Err(refusal) => {
                outcomes.resize(edits.len(), refusal);
                break;
            }
        };
        let mut done = chain.outcomes;
        if let Some(text) = chain.text {
            let file = File { bytes: text.into_bytes(), mode };
            match check_file(path, &file) {
                Ok(()) => tree.write(path, Some(file)),
                Err(refusal) => done.iter_mut().last().into_iter().for_each(|last| *last = refusal.clone()),
            }
        }
        outcomes.append(&mut done);
    }
    outcomes
}

/// Changes the lines of a file.
fn change_text<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    change: impl FnOnce(&str) -> Result<Placement, OperationOutcome>,
) -> Outcome {
    let (text, mode) = text_of(tree, path)?;
    match change(text)? {
        Placement::Landed => Ok(OperationOutcome::AlreadyApplied),
        Placement::Changed { text, step, lines } => {
            let file = File { bytes: text.into_bytes(), mode };
            check_file(path, &file)?;
            tree.write(path, Some(file));
            Ok(OperationOutcome::Applied { step, lines })
        }
    }
}

/// The file's text, where its lines can be edited.
fn text_of<'tree, S: Snapshot>(
    tree: &'tree Tree<'_, S>,
    path: &WorkspacePath,
) -> Result<(&'tree str, FileMode), OperationOutcome> {
    let file = existing(tree, path)?;
    if file.mode == FileMode::Symlink {
        return Err(OperationOutcome::NotText { hint: hints::edit_of_link(&file.bytes) });
    }
    if file.bytes.len() > TEXT_BYTES_MAX {
        return Err(OperationOutcome::TooLarge { hint: hints::too_large_to_edit(file.bytes.len()) });
    }
    let text = file.text().ok_or_else(|| OperationOutcome::NotText { hint: hints::not_text() })?;
    Ok((text, file.mode))
}

fn replace<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    base_sha256: Option<Sha256>,
    content: &Content,
) -> Outcome {
    let found = existing(tree, path)?;
    let file = File { bytes: content.to_bytes().unwrap_or_default(), mode: found.mode };
    if *found == file {
        return Ok(OperationOutcome::AlreadyApplied);
    }
    let step = check_base(found, base_sha256)?;
    check_file(path, &file)?;
    tree.write(path, Some(file));
    Ok(applied(step))
}

/// Creates or replaces.
fn write<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    path: &WorkspacePath,
    base_sha256: Option<Sha256>,
    content: &Content,
) -> Outcome {
    match tree.file(path) {
        Some(_) => replace(tree, path, base_sha256, content),
        None => create(tree, path, content, FileMode::Regular),
    }
}

fn delete<S: Snapshot>(tree: &mut Tree<'_, S>, path: &WorkspacePath, base_sha256: Option<Sha256>) -> Outcome {
    let found = match existing(tree, path) {
        Err(OperationOutcome::MissingFile { .. }) => return Ok(OperationOutcome::AlreadyApplied),
        found => found?,
    };
    let step = check_base(found, base_sha256)?;
    tree.write(path, None);
    Ok(applied(step))
}

fn rename<S: Snapshot>(
    tree: &mut Tree<'_, S>,
    from: &WorkspacePath,
    to: &WorkspacePath,
    base_sha256: Option<Sha256>,
) -> Outcome {
    let found = match existing(tree, from) {
        Err(missing @ OperationOutcome::MissingFile { .. }) => {
            check_way(tree, to)?;
            // Done already, unless what stands at the target is known to be another file.
            let there =
                tree.file(to).filter(|file| base_sha256.is_none_or(|base| Sha256::of(&file.bytes) == base));
            return if there.is_some() { Ok(OperationOutcome::AlreadyApplied) } else { Err(missing) };
        }
        found => found?,
    };
    let step = check_base(found, base_sha256)?;
    let file = found.clone();
    // Taken away first: `a` may become `a/b`, and `a/b` may become `a`.
    tree.write(from, None);
    let admitted = check_target(tree, to).and_then(|()| check_file(to, &file));
    let destination = if admitted.is_ok() { to } else { from };
    tree.write(destination, Some(file));
    admitted.map(|()| applied(step))
}

fn set_mode<S: Snapshot>(tree: &mut Tree<'_, S>, path: &WorkspacePath, mode: FileMode) -> Outcome {
    let found = existing(tree, path)?;
    if found.mode == mode {
        return Ok(OperationOutcome::AlreadyApplied);
    }
    let file = File { bytes: found.bytes.clone(), mode };
    check_file(path, &file)?;
    tree.write(path, Some(file));
    Ok(applied(PlacementStep::Exact))
}

fn applied(step: PlacementStep) -> OperationOutcome {
    OperationOutcome::Applied { step, lines: Vec::new() }
}

/// The file that the operation is about.
fn existing<'tree, S: Snapshot>(
    tree: &'tree Tree<'_, S>,
    path: &WorkspacePath,
) -> Result<&'tree File, OperationOutcome> {
    check_way(tree, path)?;
    match tree.file(path) {
        Some(file) => Ok(file),
        None if tree.is_directory(path) => {
            Err(OperationOutcome::DeniedPath { why: hints::is_directory(path) })
        }
        None => Err(OperationOutcome::MissingFile { hint: hints::missing(path) }),
    }
}

/// No operation reaches through a link, and a file is no directory.
fn check_way<S: Snapshot>(tree: &Tree<'_, S>, path: &WorkspacePath) -> Result<(), OperationOutcome> {
    if hunks::is_too_deep(path) {
        return Err(OperationOutcome::DeniedPath { why: hints::too_deep() });
    }
    match tree.blocked_by(path) {
        None => Ok(()),
        Some((directory, mode)) => {
            Err(OperationOutcome::DeniedPath { why: hints::through(&directory, mode) })
        }
    }
}

fn check_target<S: Snapshot>(tree: &Tree<'_, S>, to: &WorkspacePath) -> Result<(), OperationOutcome> {
    check_way(tree, to)?;
    if tree.file(to).is_some() {
        return Err(OperationOutcome::FileExists { hint: hints::target_exists(to) });
    }
    if tree.is_directory(to) {
        return Err(OperationOutcome::FileExists { hint: hints::exists_as_directory(to) });
    }
    Ok(())
}

fn check_base(found: &File, base_sha256: Option<Sha256>) -> Result<PlacementStep, OperationOutcome> {
    let Some(wanted) = base_sha256 else { return Ok(PlacementStep::Exact) };
    let found = Sha256::of(&found.bytes);
    if found == wanted {
        return Ok(PlacementStep::Base);
    }
    Err(OperationOutcome::StaleBase { wanted, found, hint: hints::stale_file() })
}

/// Whether such a file may stand at the path.
fn check_file(path: &WorkspacePath, file: &File) -> Result<(), OperationOutcome> {
    if file.bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(OperationOutcome::TooLarge { hint: hints::too_large_result(file.bytes.len()) });
    }
    if file.mode == FileMode::Symlink {
        check_link(path, &file.bytes)
            .map_err(|why| OperationOutcome::DeniedPath { why: hints::bad_link(&why) })?;
    }
    Ok(())
}

fn check_link(path: &WorkspacePath, target: &[u8]) -> Result<(), String> {
    if target.is_empty() || target.len() as u64 > LINK_TARGET_BYTES_MAX {
        return Err(format!("it is empty or longer than {LINK_TARGET_BYTES_MAX} bytes"));
    }
    let target = std::str::from_utf8(target).map_err(|_| "it is not UTF-8".to_owned())?;
    if target.contains(char::is_control) {
        return Err("it contains a control character".into());
    }
    path.resolve_link(target).map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
