//! Whole files: a file's name on a line, then a fenced block with all of its content.
//!
//! A fence inside the content would end the block early and cut the file, so a block is refused where another fence
//! begins inside, unless the outer one is longer. A block without a name is text, as an example in prose is.

use shared_contracts::patches::{Content, PatchOperation};

use super::fences::Fence;
use super::hunk_lines::LineFault;
use super::lines::{Line, concat};
use super::{Output, fault, hints, names, path};

/// One fenced block.
struct Block<'lines, 'text> {
    content: &'lines [Line<'text>],
    /// The line after it.
    next: usize,
}

pub(super) fn read(lines: &[Line<'_>], output: &mut Output) {
    let mut at = 0;
    // The last line of text, if only empty ones follow it.
    let mut above: Option<&Line<'_>> = None;
    while let Some(line) = lines.get(at) {
        let Some(fence) = Fence::open(line.text()) else {
            if !line.is_blank() {
                above.replace(line).into_iter().for_each(|line| output.skip(line));
            }
            at += 1;
            continue;
        };
        let from_text = above.and_then(|line| names::alone(line.text()));
        if from_text.is_none() {
            above.into_iter().for_each(|line| output.skip(line));
        }
        above = None;
        let name = from_text.or_else(|| fence.name());
        let block = block(lines, at, fence);
        match (name, block) {
            (Some(name), Ok(block)) => {
                at = block.next;
                match path(name) {
                    Ok(_) if is_cut(name, fence, lines, at) => {
                        output.refuse(name, fault(line.number, hints::nested_fence()));
                    }
                    Ok(path) => {
                        let content = Content::Text(concat(block.content));
                        output.push(PatchOperation::Write { path, base_sha256: None, content });
                    }
                    Err(refused) => output.operations.push(Err(refused)),
                }
            }
            (Some(name), Err((next, found))) => {
                at = next;
                output.refuse(name, fault(found.0, found.1));
            }
            (None, block) => {
                at = block.map_or_else(|(next, _)| next, |block| block.next);
                output.note(line.number, "a fenced block without a file's name above it was skipped");
            }
        }
    }
    above.into_iter().for_each(|line| output.skip(line));
}

/// The block that this fence opens, or where to go on and what is wrong.
fn block<'lines, 'text>(
    lines: &'lines [Line<'text>],
    at: usize,
    fence: Fence<'_>,
) -> Result<Block<'lines, 'text>, (usize, LineFault)> {
    let mut nested = None;
    let mut end = at + 1;
    while let Some(line) = lines.get(end) {
        if fence.is_closed_by(line.text()) {
            return match nested {
                None => Ok(Block { content: lines.get(at + 1..end).unwrap_or_default(), next: end + 1 }),
                Some(number) => Err((end + 1, (number, hints::nested_fence()))),
            };
        }
        if Fence::open(line.text()).is_some_and(|inner| inner.is_same_as(&fence)) {
            nested = nested.or(Some(line.number));
        }
        end += 1;
    }
    Err((end, (lines.get(at).map_or(1, |line| line.number), hints::unclosed_fence())))
}

/// Whether a file of Markdown may have been cut by a fence of its own: another fence without a name follows, or text
/// right below the block.
fn is_cut(name: &str, fence: Fence<'_>, lines: &[Line<'_>], next: usize) -> bool {
    let ending = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    if !matches!(ending.as_str(), "md" | "mdx" | "markdown" | "rst" | "adoc" | "txt") {
        return false;
    }
    let rest = lines.get(next..).unwrap_or_default();
    let follower =
        rest.iter().position(|line| Fence::open(line.text()).is_some_and(|other| other.is_same_as(&fence)));
    let Some(follower) = follower else { return rest.first().is_some_and(|line| !line.is_blank()) };
    let above = rest.get(..follower).unwrap_or_default().iter().rev().find(|line| !line.is_blank());
    let is_named = above.is_some_and(|line| names::alone(line.text()).is_some())
        || rest
            .get(follower)
            .and_then(|line| Fence::open(line.text()))
            .is_some_and(|fence| fence.name().is_some());
    !is_named
}
