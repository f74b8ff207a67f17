//! The text of one change or operation in each format.

use shared_contracts::patches::{Content, Hunk, PatchFormat, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::formats::{names, search_replace};
use crate::{File, FileChange, TEXT_BYTES_MAX, diff, unified_diff};

/// How much of a file stands around a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Near,
    WholeFile,
}

type Text = Result<String, String>;

pub(super) fn unified(changes: &[FileChange]) -> Text {
    for file in changes.iter().flat_map(|change| [&change.before, &change.after]).flatten() {
        let shown = std::str::from_utf8(&file.bytes).is_ok() && !file.bytes.contains(&0);
        if !shown || file.bytes.len() > TEXT_BYTES_MAX {
            return Err(
                "a unified diff cannot hold a file that is not text or is too large; send JSON".into()
            );
        }
    }
    Ok(unified_diff(changes))
}

/// Changes of a known file, in a format of blocks or of whole files.
pub(super) fn from_change(format: PatchFormat, changes: &[FileChange], context: Context) -> Text {
    if format == PatchFormat::WholeFile {
        return changes.iter().map(whole_file).collect();
    }
    let mut operations = diff(changes).operations;
    for operation in &mut operations {
        let path = operation.path();
        // After a rename the file before stands under another name.
        let Some(change) = changes.iter().find(|change| change.path == *path && change.before.is_some())
        else {
            continue;
        };
        let is_text = matches!(operation, PatchOperation::Replace { .. } | PatchOperation::Edit { .. });
        let text = |file: &Option<File>| file.as_ref().and_then(File::text).map(str::to_owned);
        if let (true, Some(old), Some(new)) = (is_text, text(&change.before), text(&change.after)) {
            let is_replaced = matches!(operation, PatchOperation::Replace { .. });
            if is_replaced || context == Context::WholeFile {
                let hunks =
                    vec![Hunk { start_line: Some(1), at_end: old.is_empty(), old, new, ..Hunk::default() }];
                *operation = PatchOperation::Edit { path: path.clone(), base_sha256: None, hunks };
            }
        }
    }
    operations.iter().map(|operation| blind(format, operation)).collect()
}

/// An operation whose file is not known.
pub(super) fn blind(format: PatchFormat, operation: &PatchOperation) -> Text {
    match format {
        PatchFormat::UnifiedDiff => blind_unified(operation),
        PatchFormat::SearchReplace => search_replace(operation),
        PatchFormat::Codex => codex(operation),
        PatchFormat::WholeFile => blind_whole_file(operation),
        PatchFormat::Json => Err("JSON holds operations together".into()),
    }
}

fn blind_unified(operation: &PatchOperation) -> Text {
    match operation {
        PatchOperation::Create { path, content, mode } => {
            let bytes = content.to_bytes().ok_or("its base64 cannot be read")?;
            unified(&[FileChange {
                path: path.clone(),
                before: None,
                after: Some(File { bytes, mode: *mode }),
            }])
        }
        PatchOperation::Rename { from, to, .. } => {
            let quoted = |prefix: &str, path: &WorkspacePath| crate::unified::named(prefix, path);
            Ok(format!(
                "diff --git {} {}\nsimilarity index 100%\nrename from {}\nrename to {}\n",
                quoted("a/", from),
                quoted("b/", to),
                quoted("", from),
                quoted("", to)
            ))
        }
        PatchOperation::Edit { path, hunks, .. } => {
            if hunks.iter().any(|hunk| !hunk.within.is_empty() || hunk.at_end) {
                return Err(
                    "a unified diff cannot say `within` or `at_end`; the file is needed to write it".into()
                );
            }
            let (old, new) = (crate::unified::named("a/", path), crate::unified::named("b/", path));
            let mut text = format!("--- {old}\t\n+++ {new}\t\n");
            let mut shift = 0_isize;
            for hunk in hunks {
                text += &hunk_head(hunk, &mut shift);
                push_hunk(&mut text, hunk, true);
            }
            Ok(text)
        }
        _ => Err("a unified diff of this operation needs the file it is for".into()),
    }
}

/// With numbers, where the hunk has one; the counts are right either way.
fn hunk_head(hunk: &Hunk, shift: &mut isize) -> String {
    let (old, new) = (lines(&hunk.old).len(), lines(&hunk.new).len());
    let Some(start) = hunk.start_line else { return "@@ ... @@\n".into() };
    // An empty range names the line before it.
    let first = |start: usize, count: usize| if count == 0 { start.saturating_sub(1) } else { start };
    let start = start as usize;
    let after = start.saturating_add_signed(*shift);
    *shift += new as isize - old as isize;
    format!("@@ -{},{old} +{},{new} @@\n", first(start, old), first(after, new))
}

/// The hunk's lines with their signs: common ones at both ends as context, all between removed and added.
fn push_hunk(text: &mut String, hunk: &Hunk, marks_missing_newline: bool) {
    let (old, new) = (lines(&hunk.old), lines(&hunk.new));
    let same = |pair: &(&&str, &&str)| pair.0 == pair.1;
    let above = old.iter().zip(&new).take_while(same).count();
    let rest = old.len().min(new.len()) - above;
    let below = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(same).count();
    let parts = [
        (' ', old.get(..above)),
        ('-', old.get(above..old.len() - below)),
        ('+', new.get(above..new.len() - below)),
        (' ', old.get(old.len() - below..)),
    ];
    for (sign, lines) in parts {
        for line in lines.unwrap_or_default() {
            text.push(sign);
            text.push_str(line);
            if !line.ends_with('\n') {
                text.push('\n');
                if marks_missing_newline {
                    text.push_str("\\ No newline at end of file\n");
                }
            }
        }
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

const NO_NEWLINE: &str =
    "the format cannot say that a file's last line has no terminator; send JSON or a unified diff";

fn search_replace(operation: &PatchOperation) -> Text {
    let name = name_line(operation.path())?;
    let blocks: Vec<(&str, &str)> = match operation {
        PatchOperation::Create { content, mode: FileMode::Regular, .. } => {
            let text = text_of(content)?;
            if text.is_empty() {
                return Err("search/replace cannot create an empty file".into());
            }
            vec![("", text)]
        }
        PatchOperation::Edit { hunks, .. } => {
            let is_plain = |hunk: &Hunk| hunk.within.is_empty() && !hunk.at_end && !hunk.old.is_empty();
            if !hunks.iter().all(is_plain) {
                return Err(
                    "search/replace cannot say where lines are that are only added; the file is needed"
                        .into(),
                );
            }
            hunks.iter().map(|hunk| (hunk.old.as_str(), hunk.new.as_str())).collect()
        }
        _ => return Err("search/replace has only edits and new files".into()),
    };
    let mut text = String::new();
    for (old, new) in blocks {
        if [old, new].iter().any(|side| !side.is_empty() && !side.ends_with('\n')) {
            return Err(NO_NEWLINE.into());
        }
        let length = search_replace::free_length(&[old, new])
            .ok_or("its lines look like markers of every length; send JSON or a unified diff")?;
        let mark = |mark: &str| mark.repeat(length);
        text += &format!("{name}\n{} SEARCH\n{old}{}\n{new}{} REPLACE\n\n", mark("<"), mark("="), mark(">"));
    }
    Ok(text)
}

fn codex(operation: &PatchOperation) -> Text {
    let path = operation.path();
    Ok(match operation {
        PatchOperation::Create { content, mode: FileMode::Regular, .. } => {
            let added: String =
                text_of(content)?.split_inclusive('\n').map(|line| format!("+{line}")).collect();
            if !added.is_empty() && !added.ends_with('\n') {
                return Err(NO_NEWLINE.into());
            }
            format!("*** Add File: {path}\n{added}")
        }
        PatchOperation::Delete { .. } => format!("*** Delete File: {path}\n"),
        PatchOperation::Rename { from, to, .. } => format!("*** Update File: {from}\n*** Move to: {to}\n"),
        PatchOperation::Edit { hunks, .. } => {
            let mut text = format!("*** Update File: {path}\n");
            for hunk in hunks {
                if [&hunk.old, &hunk.new].iter().any(|side| !side.is_empty() && !side.ends_with('\n')) {
                    return Err(NO_NEWLINE.into());
                }
                if hunk.old.is_empty() && hunk.within.is_empty() && !hunk.at_end {
                    return Err(
                        "codex cannot say where lines are that are only added; the file is needed".into()
                    );
                }
                hunk.within.iter().for_each(|place| text += &format!("@@ {place}\n"));
                if hunk.within.is_empty() {
                    text += "@@\n";
                }
                push_hunk(&mut text, hunk, false);
                if hunk.at_end {
                    text += "*** End of File\n";
                }
            }
            text
        }
        _ => return Err("the codex envelope has only edits, new, deleted and moved text files".into()),
    })
}

fn whole_file(change: &FileChange) -> Text {
    let Some(after) = &change.after else {
        return Err("whole files cannot delete or rename; send JSON".into());
    };
    let mode = change.before.as_ref().map_or(FileMode::Regular, |before| before.mode);
    if after.mode != mode || after.mode == FileMode::Symlink {
        return Err("whole files cannot say a mode or link; send JSON or a unified diff".into());
    }
    fenced(&change.path, after.text().ok_or("the file is not text; send JSON")?)
}

fn blind_whole_file(operation: &PatchOperation) -> Text {
    match operation {
        PatchOperation::Create { path, content, mode: FileMode::Regular }
        | PatchOperation::Replace { path, content, .. }
        | PatchOperation::Write { path, content, .. } => fenced(path, text_of(content)?),
        _ => Err("a whole file of this operation needs the file it is for".into()),
    }
}

/// The name, then the content in a fence longer than any inside.
fn fenced(path: &WorkspacePath, text: &str) -> Text {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(NO_NEWLINE.into());
    }
    let longest = text.lines().map(|line| line.len() - line.trim_start_matches('`').len()).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    Ok(format!("{}\n{fence}\n{text}{fence}\n\n", name_line(path)?))
}

fn text_of(content: &Content) -> Result<&str, String> {
    match content {
        Content::Text(text) => Ok(text),
        Content::Base64(_) => Err("the content is not text; send JSON".into()),
    }
}

/// A line that names the file and nothing else.
fn name_line(path: &WorkspacePath) -> Text {
    let path = path.as_str();
    let lines = [path.to_owned(), format!("`{path}`")];
    let readable = lines.into_iter().find(|line| names::alone(line) == Some(path));
    readable.ok_or_else(|| "the file's name cannot be told from text; send JSON or a unified diff".into())
}
