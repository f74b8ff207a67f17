//! Every sentence the readers say: what is wrong with the text, then what to send instead.

use shared_contracts::patches::PatchFormat;

pub(super) const NO_PATCH: &str = "no patch was found in the text";
pub(super) const FORMATS: &str = "Send a unified diff (`--- a/FILE`, `+++ b/FILE`, `@@ … @@`), search/replace blocks \
     (`<<<<<<< SEARCH`, `=======`, `>>>>>>> REPLACE` below the file's name), a `*** Begin Patch` envelope, whole files \
     (the file's name, then its content in a fenced block), or JSON with `operations`.";

pub(super) fn no_operation(format: PatchFormat) -> &'static str {
    match format {
        PatchFormat::UnifiedDiff => "no file of a unified diff",
        PatchFormat::SearchReplace => "no search/replace block",
        PatchFormat::Codex => "no `*** Update File:`, `*** Add File:` or `*** Delete File:`",
        PatchFormat::WholeFile => "no fenced block below a file's name",
        PatchFormat::Json => "no operation in JSON",
    }
}

/// What the format looks like.
pub(super) fn shape(format: PatchFormat) -> &'static str {
    match format {
        PatchFormat::UnifiedDiff => {
            "Send `--- a/FILE`, `+++ b/FILE`, then hunks: `@@ -1,3 +1,4 @@` and lines that begin with a space, `-` or `+`."
        }
        PatchFormat::SearchReplace => {
            "Send the file's name on a line, then `<<<<<<< SEARCH`, the lines as they are, `=======`, the lines as they \
             should be, `>>>>>>> REPLACE`."
        }
        PatchFormat::Codex => {
            "Send `*** Begin Patch`, then for each file `*** Update File: FILE` and hunks of `@@` and lines that begin \
             with a space, `-` or `+`, then `*** End Patch`."
        }
        PatchFormat::WholeFile => {
            "Send the file's name on a line, then a fenced block with the file's whole content."
        }
        PatchFormat::Json => {
            "Send `{\"operations\": [{\"operation\": \"edit\", \"path\": \"FILE\", \"hunks\": [{\"old\": \"…\", \"new\": \
             \"…\"}]}]}`."
        }
    }
}

type Words = (String, String);

fn words(what: &str, hint: &str) -> Words {
    (what.to_owned(), hint.to_owned())
}

/// The text began in `format`.
pub(super) fn two_formats(format: PatchFormat) -> Words {
    let format = match format {
        PatchFormat::UnifiedDiff => "a unified diff",
        PatchFormat::SearchReplace => "search/replace blocks",
        PatchFormat::Codex => "a `*** Begin Patch` envelope",
        PatchFormat::WholeFile => "whole files",
        PatchFormat::Json => "JSON",
    };
    words(
        &format!("a patch in another format begins here, after {format}"),
        "Write all of the patch in one format, or send each part by itself.",
    )
}

// Hunks.

pub(super) fn after_the_end() -> Words {
    words(
        "a line follows one that is marked `\\ No newline at end of file`",
        "Only the file's last line can lack a terminator. Leave the mark out, or move it below the last line.",
    )
}

pub(super) fn counts_or_body() -> Words {
    words(
        "the `@@` line's counts end the hunk before this line, but lines with `+` or `-` follow",
        "It cannot be told whether they belong to the hunk. Put the patch alone into a fenced block, or send right \
         counts and a space before every context line.",
    )
}

pub(super) fn empty_hunk() -> Words {
    words("the hunk has no lines", "Send its lines below `@@`, each with a space, `-` or `+` before it.")
}

pub(super) fn no_change() -> Words {
    words(
        "nothing is changed in this file",
        "Send what is to change with `-` and `+`, or leave the file out.",
    )
}

// Unified diffs.

pub(super) const BINARY: &str = "A binary file's change cannot be read from a diff. Send a JSON `replace` or `create` with the whole content in base64.";

pub(super) fn no_name_in_header() -> Words {
    words(
        "a hunk or header names no file",
        "Put `--- a/FILE` and `+++ b/FILE` before the hunks of each file.",
    )
}

pub(super) fn two_names(old: &str, new: &str) -> Words {
    (
        format!("`---` names `{old}` and `+++` names `{new}`"),
        "Give both the same name. For a rename put `rename from OLD` and `rename to NEW` below a `diff --git` line.".into(),
    )
}

pub(super) fn name_not_utf8() -> Words {
    words("the file's quoted name is not UTF-8", "Only names in UTF-8 are part of a workspace.")
}

pub(super) fn combined_diff() -> Words {
    words("it is the combined diff of a merge", "Send a diff against one parent: `git diff PARENT`.")
}

pub(super) fn submodule() -> Words {
    words("it changes a submodule", "A workspace holds files and links only. Leave the submodule out.")
}

pub(super) fn copy() -> Words {
    words(
        "`copy from` makes a file from another, whose content the patch does not hold",
        "Send the copy as a new file with its whole content (`--- /dev/null`, or JSON `create`).",
    )
}

pub(super) fn unknown_mode() -> Words {
    words(
        "the file's mode is none of 100644, 100755 and 120000",
        "Send one of these modes, or leave the line out.",
    )
}

pub(super) fn created_with_old_lines() -> Words {
    words(
        "a new file has lines that are context or removed",
        "Begin every line of a new file with `+`. If the file exists, name it after `---` instead of `/dev/null`.",
    )
}

pub(super) fn deleted_with_new_lines() -> Words {
    words(
        "a deleted file has lines that are context or added",
        "Begin every line of a deleted file with `-`. If lines of it stay, name it after `+++` instead of `/dev/null`.",
    )
}

// Search/replace.

pub(super) fn no_file_above() -> Words {
    words(
        "no file's name stands above `<<<<<<< SEARCH`",
        "Put the file's path alone on the line above the block (or above its code fence).",
    )
}

pub(super) fn no_divider() -> Words {
    words(
        "the block has no `=======`",
        "Send `<<<<<<< SEARCH`, the old lines, `=======`, the new lines, `>>>>>>> REPLACE`.",
    )
}

pub(super) fn no_head() -> Words {
    words(
        "`>>>>>>> REPLACE` stands outside of a block",
        "Send `<<<<<<< SEARCH` before it. Where a line of the content looks like a marker, use markers of another length \
         (5 to 9 characters, the same number in all three).",
    )
}

pub(super) fn no_tail() -> Words {
    words(
        "the block has no `>>>>>>> REPLACE`",
        "End every block with `>>>>>>> REPLACE`; perhaps the text was cut off.",
    )
}

pub(super) fn two_dividers() -> Words {
    words(
        "the block has more than one `=======`, and it cannot be told which one parts old from new",
        "Where a line of the content looks like a marker, use longer or shorter markers (5 to 9 characters, the same \
         number in all three), or send another format.",
    )
}

pub(super) fn elision_at_edge() -> Words {
    words(
        "an elision `...` has nothing before or after it to hold on to",
        "Send the lines themselves instead of `...`.",
    )
}

pub(super) fn same_sides() -> Words {
    words(
        "the old and the new lines are the same",
        "Leave the block out, or put the changed lines below `=======`.",
    )
}

// The codex envelope.

pub(super) fn add_without_plus() -> Words {
    words(
        "a line of `*** Add File:` does not begin with `+`",
        "Begin every line of a new file with `+`, empty lines too.",
    )
}

pub(super) fn unknown_marker() -> Words {
    words(
        "a line begins with `*** ` and is no marker",
        "The markers are `*** Add File: `, `*** Delete File: `, `*** Update File: `, `*** Move to: `, `*** End of File` \
         and `*** End Patch`. Put a space, `-` or `+` before a line of content.",
    )
}

pub(super) fn move_twice() -> Words {
    words("`*** Move to:` does not stand right below `*** Update File:`", "Put it there, once for each file.")
}

// Whole files.

pub(super) fn unclosed_fence() -> Words {
    words("the fenced block is not closed", "Close it with the same marks; perhaps the text was cut off.")
}

pub(super) fn nested_fence() -> Words {
    words(
        "another fence begins inside the file's fenced block, or the block's end is unclear",
        "Use a longer fence around the file than any inside it: four backticks or more.",
    )
}

// JSON.

pub(super) fn json_field(field: &str) -> String {
    format!("Mend the field `{field}` and send the operation again.")
}

pub(super) const JSON_OPERATION: &str = "Send the fields that this operation has, and no others: `create` (path, content, \
     mode), `edit` (path, base_sha256, hunks), `replace` (path, base_sha256, content), `write` (path, content), `delete` \
     (path, base_sha256), `rename` (from, to, base_sha256), `set_mode` (path, mode), `insert` (path, base_sha256, at, \
     text), `edit_lines` (path, base_sha256, edits).";
pub(super) const JSON_SYNTAX: &str =
    "Send valid JSON: an object with `operations`, or an array of operations.";
