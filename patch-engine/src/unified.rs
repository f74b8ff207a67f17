//! A unified diff as git writes it, for people: renames, modes, new and deleted files, binary files by name.

use std::fmt::Write as _;

use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::line_diff::{Group, LineDiff, line_diff, texts};
use crate::rename::{self, Side};
use crate::{File, FileChange};

/// Ordered by path. `git apply` takes it, except where a file is binary or too large to show.
pub fn unified_diff(changes: &[FileChange]) -> String {
    let sorted = rename::sort(changes);
    let mut entries: Vec<(&str, String)> = Vec::new();
    for side in &sorted.deleted {
        entries.push((side.path.as_str(), deleted(*side)));
    }
    for moved in &sorted.moved {
        entries.push((moved.to.path.as_str(), kept(moved.from, moved.to, Some(moved.similarity_percent))));
    }
    for (before, after) in &sorted.modified {
        let is_link = |side: &Side<'_>| side.file.mode == FileMode::Symlink;
        // A file that becomes a link is another thing, and git says so.
        let text = if is_link(before) == is_link(after) {
            kept(*before, *after, None)
        } else {
            deleted(*before) + &created(*after)
        };
        entries.push((after.path.as_str(), text));
    }
    for side in &sorted.created {
        entries.push((side.path.as_str(), created(*side)));
    }
    entries.sort_by_key(|(path, _)| *path);
    entries.into_iter().map(|(_, text)| text).collect()
}

const NOWHERE: &str = "/dev/null";

fn mode(file: &File) -> &'static str {
    match file.mode {
        FileMode::Regular => "100644",
        FileMode::Executable => "100755",
        FileMode::Symlink => "120000",
    }
}

/// Quoted as git does where a quote in it would confuse; other characters that need it are refused in paths.
pub(crate) fn named(prefix: &str, path: &WorkspacePath) -> String {
    let path = format!("{prefix}{path}");
    if path.contains('"') { format!("\"{}\"", path.replace('"', "\\\"")) } else { path }
}

fn deleted(side: Side<'_>) -> String {
    let (old, new) = (named("a/", side.path), named("b/", side.path));
    let empty = File { bytes: Vec::new(), mode: side.file.mode };
    let head = format!("diff --git {old} {new}\ndeleted file mode {}\n", mode(side.file));
    head + &content(side.file, &empty, &old, NOWHERE)
}

fn created(side: Side<'_>) -> String {
    let (old, new) = (named("a/", side.path), named("b/", side.path));
    let empty = File { bytes: Vec::new(), mode: side.file.mode };
    let head = format!("diff --git {old} {new}\nnew file mode {}\n", mode(side.file));
    head + &content(&empty, side.file, NOWHERE, &new)
}

fn kept(before: Side<'_>, after: Side<'_>, similarity_percent: Option<usize>) -> String {
    let (old, new) = (named("a/", before.path), named("b/", after.path));
    let mut head = format!("diff --git {old} {new}\n");
    if before.file.mode != after.file.mode {
        head += &format!("old mode {}\nnew mode {}\n", mode(before.file), mode(after.file));
    }
    if let Some(percent) = similarity_percent {
        let (from, to) = (named("", before.path), named("", after.path));
        head += &format!("similarity index {percent}%\nrename from {from}\nrename to {to}\n");
    }
    head + &content(before.file, after.file, &old, &new)
}

fn content(before: &File, after: &File, old: &str, new: &str) -> String {
    if before.bytes == after.bytes {
        return String::new();
    }
    // A link's target is shown as the one line it is.
    let shown = |file: &File| File { bytes: file.bytes.clone(), mode: FileMode::Regular };
    let (before, after) = (shown(before), shown(after));
    if before.text().is_none() || after.text().is_none() {
        return format!("Binary files {old} and {new} differ\n");
    }
    let Some((before_text, after_text)) = texts(&before, &after) else {
        let (before, after) = (before.bytes.len(), after.bytes.len());
        return format!("Files {old} and {new} differ ({before} and {after} bytes, too large to show)\n");
    };
    // As git does: a tab tells where a name with spaces ends.
    let end = |name: &str| if name.contains(' ') { "\t" } else { "" };
    let mut text = format!("--- {old}{}\n+++ {new}{}\n", end(old), end(new));
    let difference = line_diff(before_text, after_text);
    for group in difference.groups() {
        write_group(&mut text, &difference, &group);
    }
    text
}

fn write_group(text: &mut String, difference: &LineDiff<'_>, group: &Group<'_>) {
    let range = |range: &std::ops::Range<usize>| match range.len() {
        // An empty range names the line before it.
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        length => format!("{},{length}", range.start + 1),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "@@ -{} +{} @@", range(&group.before), range(&group.after));
    let mut at = group.before.start;
    for change in group.changes {
        write_lines(text, ' ', difference.before.get(at..change.before.start));
        write_lines(text, '-', difference.before.get(change.before.clone()));
        write_lines(text, '+', difference.after.get(change.after.clone()));
        at = change.before.end;
    }
    write_lines(text, ' ', difference.before.get(at..group.before.end));
}

fn write_lines(text: &mut String, sign: char, lines: Option<&[&str]>) {
    for line in lines.unwrap_or_default() {
        text.push(sign);
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push_str("\n\\ No newline at end of file\n");
        }
    }
}
