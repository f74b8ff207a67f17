//! Every sentence the engine says: what is so, and what to send instead. Written to be read by a model.

use shared_contracts::limits::FILE_BYTES_MAX;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::TEXT_BYTES_MAX;

// Malformed: what is wrong, then what to send.

pub(crate) fn bad_base64() -> (String, String) {
    (
        "`content.base64` is not standard base64 with padding".into(),
        "Send text as `content.text`, or encode the bytes again with the alphabet of RFC 4648 section 4 and `=` \
         padding, without line breaks."
            .into(),
    )
}

pub(crate) fn no_hunks() -> (String, String) {
    ("the edit has no hunks".into(), "Send at least one hunk, or leave the operation out.".into())
}

pub(crate) fn renamed_onto_itself() -> (String, String) {
    ("`from` and `to` are the same path".into(), "Leave the operation out, or give another `to`.".into())
}

pub(crate) fn changes_nothing(hunk: usize) -> (String, String) {
    (
        format!("hunk {hunk} has the same `old` and `new`"),
        "Leave the hunk out, or put the changed lines into `new`.".into(),
    )
}

pub(crate) fn lacks_terminator(hunk: usize) -> (String, String) {
    (
        format!("hunk {hunk} ends without a line terminator, and other hunks follow it"),
        "Send whole lines: end `old` and `new` with the file's own terminator (\\n or \\r\\n). Only the last line of a \
         file can lack one."
            .into(),
    )
}

pub(crate) fn runs_into_next_line(hunk: usize) -> (String, String) {
    (
        format!("at hunk {hunk} a line without terminator would run into the line after it"),
        "End the last line of `new` with the file's own terminator (\\n or \\r\\n). To add lines after a last line that \
         has no terminator, put that line into `old` and, with its terminator, into `new`."
            .into(),
    )
}

pub(crate) fn insertion_out_of_file(hunk: usize, lines: usize) -> (String, String) {
    (
        format!("hunk {hunk} inserts at a line that does not exist; the file has {lines} lines"),
        format!(
            "Give a `start_line` from 1 to {}, or put the line before the insertion into `old` and `new`.",
            lines + 1
        ),
    )
}

pub(crate) fn no_edits() -> (String, String) {
    ("the operation has no edits".into(), "Send at least one edit, or leave the operation out.".into())
}

pub(crate) fn empty_marker() -> (String, String) {
    (
        "a marker is empty or has several lines".into(),
        "Give text that exactly one line of the file contains.".into(),
    )
}

pub(crate) fn nothing_to_insert() -> (String, String) {
    ("`text` is empty".into(), "Put the lines to insert into `text`, or leave the operation out.".into())
}

pub(crate) fn bad_line_tag(tag: &str) -> (String, String) {
    (
        format!("`{tag}` does not name a line"),
        "Write a line's number, a colon and the first six hexadecimal digits of its SHA-256 without trailing blanks: \
         `12:9f3a41`."
            .into(),
    )
}

pub(crate) fn lines_backwards(edit: usize) -> (String, String) {
    (
        format!("in edit {edit} the last line stands above the first"),
        "Give `first` and `last` in order.".into(),
    )
}

// Markers and line tags.

pub(crate) fn marker_nowhere(marker: &str) -> String {
    format!("No line of the file contains `{marker}`. Read the file again and take a marker from it.")
}

pub(crate) fn marker_often(marker: &str) -> String {
    format!(
        "Several lines of the file contain `{marker}`. Give more of the one that is meant: see the candidates."
    )
}

pub(crate) fn markers_backwards() -> String {
    "The line of `last` stands above that of `first`, or they are the same line. Give them in order.".into()
}

pub(crate) fn tag_nowhere(edit: usize, tag: &str) -> String {
    format!(
        "The line `{tag}` of edit {edit} is not in the file any more: no line has this hash. Read the file again and \
         send the edit with its present line tags."
    )
}

pub(crate) fn tag_often(edit: usize, tag: &str) -> String {
    format!(
        "The line `{tag}` of edit {edit} is no longer at its number, and several lines have its hash. Read the file \
         again and send the edit with its present line tags."
    )
}

pub(crate) fn denied_by_rule(path: &WorkspacePath, pattern: &str) -> String {
    format!("`{path}` is denied to patches in this project by the rule `{pattern}`. Leave the operation out.")
}

pub(crate) fn perhaps_after(hint: &str, operation: usize) -> String {
    format!(
        "{hint} Perhaps it builds on operation {operation} on the same file, which was refused: mend that one first."
    )
}

// Placement.

pub(crate) fn stands_often(hunk: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} stand more than once. Add unchanged lines around them to `old` and `new` until \
         they stand once, or send the `base_sha256` of the file you read."
    )
}

pub(crate) fn landed_or_not(hunk: usize) -> String {
    format!(
        "Both `old` and `new` of hunk {hunk} stand in the file, so it cannot be told whether the hunk has landed. Read \
         the file; if the change is missing, send it again with its `base_sha256`."
    )
}

pub(crate) fn new_stands_often(hunk: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} are not in the file and its `new` lines stand more than once: it may have \
         landed. Read the file; if the change is missing, send it again made against the file as it is now."
    )
}

pub(crate) fn insertion_without_place(hunk: usize) -> String {
    format!(
        "Hunk {hunk} has no `old` lines, so only its line number says where it goes, and that counts only for the file \
         whose `base_sha256` is given. Put the unchanged line before or after the insertion into `old` and `new`, or \
         send the `base_sha256` of the file as it is now."
    )
}

pub(crate) fn nowhere(hunk: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} are not in the file. Read the file again and copy the lines byte for byte, \
         with their indentation and line terminators."
    )
}

pub(crate) fn perhaps_deleted(hunk: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} are not in the file. They may be deleted already, but without an unchanged line \
         on both sides that cannot be told from a change. Read the file; leave the hunk out if nothing is left to do."
    )
}

pub(crate) fn near(hunk: usize, first: usize, last: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} are not in the file; lines {first} to {last} come nearest, and `nearest.diff` \
         shows how they differ from `old`. If that is the place, send the hunk again with the file's own lines in `old`."
    )
}

pub(crate) fn several_near(hunk: usize) -> String {
    format!(
        "The `old` lines of hunk {hunk} are not in the file, and several places come equally near. Read the candidates \
         and send the hunk again with the file's own lines in `old`, enough of them to stand once."
    )
}

pub(crate) fn changed_otherwise(hunk: usize, first: usize, last: usize) -> String {
    let place =
        if last < first { format!("before line {first}") } else { format!("lines {first} to {last}") };
    format!(
        "The lines that hunk {hunk} changes have been changed otherwise since its base: see {place} and \
         `nearest.diff`, from `old` to what is there now. Decide anew and send the hunk made against the file as it is."
    )
}

pub(crate) fn overlaps(first: usize, second: usize) -> String {
    format!(
        "Hunks {first} and {second} change the same lines, or one changes the other's context. Send them as one hunk."
    )
}

pub(crate) fn stale_file() -> String {
    "The file has changed since it was read. Read it again and decide anew; if the change is still wanted, send the \
     file's present `base_sha256`."
        .into()
}

pub(crate) fn stale_edit(why: &str) -> String {
    format!(
        "The file has changed since it was read, and the hunks do not find one place each without it. {why}"
    )
}

// Whole files.

pub(crate) fn missing(path: &WorkspacePath) -> String {
    format!("There is no file `{path}`. Check the path, or send a `create` with the whole content.")
}

pub(crate) fn missing_after(path: &WorkspacePath, operation: usize) -> String {
    format!(
        "There is no file `{path}`, perhaps because operation {operation} on the same path was refused. Mend that one \
         first."
    )
}

pub(crate) fn exists(path: &WorkspacePath) -> String {
    format!("`{path}` exists with other content. Send `edit` or `replace` for it, or choose another path.")
}

pub(crate) fn exists_with_mode(path: &WorkspacePath, found: FileMode) -> String {
    format!(
        "`{path}` exists with this content, but its mode is {}. Send `set_mode` to change the mode alone.",
        found.as_str()
    )
}

pub(crate) fn exists_as_directory(path: &WorkspacePath) -> String {
    format!("`{path}` is a directory. Choose another path, or delete every file below it first.")
}

pub(crate) fn target_exists(to: &WorkspacePath) -> String {
    format!("The target `{to}` exists. Delete it first in the same batch, or choose another target.")
}

pub(crate) fn is_directory(path: &WorkspacePath) -> String {
    format!("`{path}` is a directory; operations are on files. Send one operation for each file below it.")
}

pub(crate) fn through(path: &WorkspacePath, mode: FileMode) -> String {
    let what = if mode == FileMode::Symlink { "symbolic link" } else { "file" };
    format!(
        "The path goes through `{path}`, which is a {what}, not a directory. Give the path of the real file."
    )
}

pub(crate) fn too_deep() -> String {
    "The path has more than 128 directories above it. Choose a shorter path.".into()
}

pub(crate) fn bad_link(why: &str) -> String {
    format!(
        "The link's target is refused: {why}. A target is relative, leads to a path inside the workspace, and has \
             `..` only at its beginning."
    )
}

pub(crate) fn edit_of_link(target: &[u8]) -> String {
    format!(
        "It is a symbolic link to `{}`. Edit the file it leads to, or send `replace` with another target.",
        String::from_utf8_lossy(target)
    )
}

pub(crate) fn not_text() -> String {
    "The file is not text (not UTF-8, or with NUL bytes), so it has no lines to edit. Send `replace` with the whole \
     content in base64."
        .into()
}

pub(crate) fn too_large_result(bytes: usize) -> String {
    format!(
        "The file would have {bytes} bytes; at most {FILE_BYTES_MAX} are allowed. Split it, or leave it out."
    )
}

pub(crate) fn too_large_to_edit(bytes: usize) -> String {
    format!(
        "The file has {bytes} bytes; by lines at most {TEXT_BYTES_MAX} are edited. Send `replace` with the whole content."
    )
}
