//! Which format a text is in.
//!
//! 1. JSON, where the first line outside prose begins with a bracket and an `operation` is named.
//! 2. The one whose first line comes first: the codex envelope, search/replace blocks, a unified diff. A later one is
//!    content of the first: a patch may change a file of patches.
//! 3. Whole files, where a fenced block below a file's name comes before all of these and is not merely around them.

use shared_contracts::patches::PatchFormat;

use super::fences::Fence;
use super::lines::{Line, lines_of, unwrapped};
use super::{codex, names, search_replace, unified};

/// The format the text looks like; none where it looks like no patch.
pub fn sniff(text: &str) -> Option<PatchFormat> {
    if is_json(text) {
        return Some(PatchFormat::Json);
    }
    let text = unwrapped(text, &mut Vec::new());
    let lines = lines_of(&text);
    let mut fence: Option<Fence<'_>> = None;
    // How many lines that are not empty the open block with a file's name has so far.
    let mut in_file: Option<usize> = None;
    let mut above = "";
    let mut whole_file = None;
    for (at, line) in lines.iter().enumerate() {
        if line.is_blank() {
            continue;
        }
        if let Some(format) = begins(&lines, at) {
            // Right below the fence, or below a name inside it, the block is only the patch's own.
            return if in_file.is_some_and(|lines| lines > 1) {
                Some(PatchFormat::WholeFile)
            } else {
                Some(format)
            };
        }
        let after = Fence::after(fence, line.text());
        in_file = match (fence, after) {
            (None, Some(open)) => {
                (!open.is_diff() && (names::alone(above).is_some() || open.name().is_some())).then_some(0)
            }
            (Some(_), None) => {
                whole_file = whole_file.or(in_file.map(|_| PatchFormat::WholeFile));
                None
            }
            _ => in_file.map(|lines| lines + 1),
        };
        fence = after;
        above = line.text();
    }
    // A block that is not closed is a file that was cut off; the reader says so.
    whole_file.or(in_file.map(|_| PatchFormat::WholeFile))
}

fn begins(lines: &[Line<'_>], at: usize) -> Option<PatchFormat> {
    let text = lines.get(at)?.text();
    if codex::begins(text) {
        Some(PatchFormat::Codex)
    } else if search_replace::begins(text) {
        Some(PatchFormat::SearchReplace)
    } else if unified::begins(lines, at) || is_numbered_head(text) {
        Some(PatchFormat::UnifiedDiff)
    } else {
        None
    }
}

/// Whether a line that the reader of `format` passes over begins a patch in another one. The codex envelope is also put
/// around diffs.
pub(super) fn is_of_another(format: PatchFormat, line: &str) -> bool {
    match format {
        PatchFormat::UnifiedDiff => search_replace::begins(line),
        PatchFormat::SearchReplace => codex::begins(line) || is_numbered_head(line),
        PatchFormat::Codex => search_replace::begins(line) || line.starts_with("diff --git "),
        PatchFormat::WholeFile | PatchFormat::Json => false,
    }
}

/// A hunk without a file's name: no prose, and better refused as what it is.
fn is_numbered_head(line: &str) -> bool {
    line.starts_with("@@ -") && line.contains(" +") && line.contains(" @@")
}

fn is_json(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim_start);
    let first = lines.find(|line| line.starts_with(['{', '[']) || is_format_line(line));
    first.is_some_and(|line| line.starts_with(['{', '['])) && text.contains("\"operation\"")
}

/// A line that begins another format, looked at alone.
fn is_format_line(line: &str) -> bool {
    codex::begins(line)
        || search_replace::begins(line)
        || ["--- ", "diff --git ", "@@ "].iter().any(|s| line.starts_with(s))
}
