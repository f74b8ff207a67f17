//! Search/replace blocks, fenced or plain, as aider, Cline and Roo have models write them.
//!
//! A line of the content may look like a marker. So the markers of one block have the same number of characters, 5 to
//! 9, and lines that look like markers of another length are content. A block in which two lines could part old from
//! new is refused; the first is never simply taken.
//!
//! Each block is an operation of its own, because a block may build on the one before. An empty SEARCH creates the file.
//! A `...` alone at the beginning of a line, as often in SEARCH as in REPLACE, stands for lines that stay: what is
//! between such lines becomes hunks in order. An indented `...` is Python and is content.

use shared_contracts::patches::{Content, Hunk, PatchOperation};
use shared_contracts::workspaces::FileMode;

use super::fences::Fence;
use super::hunk_lines::LineFault;
use super::lines::{Line, concat};
use super::{Output, fault, hints, names, path};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    Head,
    Divider,
    Tail,
}

/// The marker that a line is, its number of characters, and what follows it.
fn marker(line: &str) -> Option<(Mark, usize, &str)> {
    let line = line.trim_end();
    let first = line.chars().next().filter(|mark| matches!(mark, '<' | '=' | '>' | '-' | '+'))?;
    let rest = line.trim_start_matches(first);
    let length = line.len() - rest.len();
    if !(5..=9).contains(&length) {
        return None;
    }
    let word = |words: [&str; 2]| {
        let rest = rest.trim_start();
        words.iter().find_map(|word| rest.strip_prefix(word))
    };
    match first {
        '<' => word(["SEARCH", "ORIGINAL"]).map(|rest| (Mark::Head, length, rest.trim_start_matches('>'))),
        '-' => word(["SEARCH", "ORIGINAL"]).map(|rest| (Mark::Head, length, rest)),
        '=' => rest.is_empty().then_some((Mark::Divider, length, rest)),
        '>' | '+' => {
            word(["REPLACE", "UPDATED"]).filter(|rest| rest.is_empty()).map(|rest| (Mark::Tail, length, rest))
        }
        _ => None,
    }
}

/// Whether a block begins with this line.
pub(super) fn begins(line: &str) -> bool {
    head(line).is_some()
}

/// A head's length and the name after it, if one is there.
fn head(line: &str) -> Option<(usize, Option<&str>)> {
    let (mark, length, rest) = marker(line)?;
    let name = names::alone(rest);
    (mark == Mark::Head && (rest.trim().is_empty() || name.is_some())).then_some((length, name))
}

pub(super) fn read(lines: &[Line<'_>], output: &mut Output) {
    let mut at = 0;
    // The file that the blocks are about until another is named.
    let mut current: Option<&str> = None;
    // Lines since the last block, which may name the next one's file.
    let mut above: Vec<&Line<'_>> = Vec::new();
    while let Some(line) = lines.get(at) {
        at += 1;
        let Some((length, named)) = head(line.text()) else {
            if matches!(marker(line.text()), Some((Mark::Tail, ..))) {
                // What was read above it may have ended at a line of its content.
                output.refuse(current.unwrap_or_default(), fault(line.number, hints::no_head()));
            }
            above.push(line);
            continue;
        };
        current = named.or_else(|| take_name(&mut above, current.is_some())).or(current);
        above.drain(..).for_each(|line| output.skip(line));
        let block = Block::read(lines, at, length);
        at = block.next;
        let operation = block.sides.and_then(|sides| match current {
            Some(name) => Ok((name, sides)),
            None => Err((line.number, hints::no_file_above())),
        });
        match operation.and_then(|(name, sides)| Ok((name, sides.hunks(line.number)?))) {
            Ok((name, hunks)) => push(output, name, hunks),
            Err((number, words)) => output.refuse(current.unwrap_or_default(), fault(number, words)),
        }
    }
    above.drain(..).for_each(|line| output.skip(line));
}

fn push(output: &mut Output, name: &str, mut hunks: Vec<Hunk>) {
    let path = match path(name) {
        Ok(path) => path,
        Err(refused) => return output.operations.push(Err(refused)),
    };
    output.push(match hunks.as_mut_slice() {
        [only] if only.old.is_empty() => {
            let content = Content::Text(std::mem::take(&mut only.new));
            PatchOperation::Create { path, content, mode: FileMode::Regular }
        }
        _ => PatchOperation::Edit { path, base_sha256: None, hunks },
    });
}

/// The name nearest above a block, taken out of the lines; fences and empty lines may be between. Another line of text
/// ends the search; it may name the file in backticks, if no file is named yet.
fn take_name<'text>(above: &mut Vec<&Line<'text>>, is_named: bool) -> Option<&'text str> {
    let mut fence_seen = false;
    for index in (0..above.len()).rev() {
        let text = above.get(index)?.text();
        if text.trim().is_empty() {
            continue;
        }
        if let Some(fence) = Fence::open(text) {
            // Two fences are another block's end and this one's beginning.
            if let Some(name) = fence.name() {
                above.remove(index);
                return Some(name);
            }
            if fence_seen && fence.info.is_empty() {
                return None;
            }
            fence_seen = true;
            continue;
        }
        if let Some(name) = names::alone(text) {
            above.remove(index);
            return Some(name);
        }
        // A word right above the block is its name, as in `configure`, if no file is named yet.
        if !is_named && index + 1 == above.len() && names::is_word(text.trim()) {
            above.remove(index);
            return Some(text.trim());
        }
        return names::in_sentence(text).filter(|name| !is_named || name.contains('/'));
    }
    None
}

struct Block<'lines, 'text> {
    sides: Result<Sides<'lines, 'text>, LineFault>,
    /// The line after it.
    next: usize,
}

struct Sides<'lines, 'text> {
    start_line: Option<u32>,
    old: &'lines [Line<'text>],
    new: &'lines [Line<'text>],
}

impl<'lines, 'text> Block<'lines, 'text> {
    /// The block whose head is right above this line.
    fn read(lines: &'lines [Line<'text>], begin: usize, length: usize) -> Self {
        // 1. The tail; another head before it means that this block has none.
        let mut end = begin;
        let mut tail = None;
        while let Some(line) = lines.get(end) {
            match marker(line.text()) {
                Some((Mark::Tail, found, _)) if found == length || tail.is_none() => {
                    // A tail of another length is content, unless no right one comes before the next head.
                    tail = Some(end);
                    if found == length {
                        break;
                    }
                }
                Some((Mark::Head, found, _)) if found == length && head(line.text()).is_some() => break,
                _ => {}
            }
            end += 1;
        }
        let head_number = begin.checked_sub(1).and_then(|head| lines.get(head)).map_or(1, |line| line.number);
        let Some(tail) = tail else { return Self { sides: Err((head_number, hints::no_tail())), next: end } };
        // 2. The divider: the only one of the markers' length, or the only one at all.
        let inside = lines.get(begin..tail).unwrap_or_default();
        let dividers = |wanted: Option<usize>| {
            let is_divider = move |line: &Line<'_>| matches!(marker(line.text()), Some((Mark::Divider, found, _)) if wanted.is_none_or(|wanted| found == wanted));
            inside.iter().enumerate().filter(move |(_, line)| is_divider(line)).map(|(index, _)| index)
        };
        let exact: Vec<usize> = dividers(Some(length)).take(2).collect();
        let found = if exact.is_empty() { dividers(None).take(2).collect() } else { exact };
        let sides = match found.as_slice() {
            [] => Err((head_number, hints::no_divider())),
            [divider] => {
                let (start_line, skipped) = roo_lines(inside.get(..*divider).unwrap_or_default());
                Ok(Sides {
                    start_line,
                    old: inside.get(skipped..*divider).unwrap_or_default(),
                    new: inside.get(divider + 1..).unwrap_or_default(),
                })
            }
            [_, second, ..] => {
                let number = inside.get(*second).map_or(head_number, |line| line.number);
                Err((number, hints::two_dividers()))
            }
        };
        Self { sides, next: tail + 1 }
    }
}

/// Roo's `:start_line:12` and `-------` above the old lines: the number and how many lines they are.
fn roo_lines(old: &[Line<'_>]) -> (Option<u32>, usize) {
    let mut start_line = None;
    for (index, line) in old.iter().enumerate() {
        let text = line.text().trim_end();
        if let Some(number) = text.strip_prefix(":start_line:") {
            start_line = number.trim().parse().ok().filter(|number| *number > 0);
        } else if index > 0 && text == "-------" {
            return (start_line, index + 1);
        } else if !text.starts_with(":end_line:") {
            break;
        }
    }
    (None, 0)
}

impl Sides<'_, '_> {
    fn hunks(&self, head: usize) -> Result<Vec<Hunk>, LineFault> {
        let (old, new) = (self.old, self.new);
        let is_elision = |line: &Line<'_>| line.text().trim_end() == "...";
        let count = |lines: &[Line<'_>]| lines.iter().filter(|line| is_elision(line)).count();
        let elides = count(old) > 0 && count(old) == count(new);
        let hunk = |old: &[Line<'_>], new: &[Line<'_>]| Hunk {
            start_line: self.start_line.filter(|_| !elides),
            old: concat(old),
            new: concat(new),
            ..Hunk::default()
        };
        if old.iter().all(Line::is_blank) && !new.is_empty() {
            return Ok(vec![hunk(&[], new)]);
        }
        let hunks: Vec<Hunk> = if elides {
            let parts = old.split(is_elision).zip(new.split(is_elision));
            parts.map(|(old, new)| hunk(old, new)).filter(|hunk| hunk.old != hunk.new).collect()
        } else {
            vec![hunk(old, new)]
        };
        if elides && hunks.iter().any(|hunk| hunk.old.is_empty()) {
            return Err((head, hints::elision_at_edge()));
        }
        if hunks.iter().all(|hunk| hunk.old == hunk.new) {
            return Err((head, hints::same_sides()));
        }
        Ok(hunks)
    }
}

/// A number of marker characters that no line of these texts has in a marker of its own.
pub(super) fn free_length(texts: &[&str]) -> Option<usize> {
    let mut taken = [false; 10];
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some((_, length, _)) = marker(line)
            && let Some(taken) = taken.get_mut(length)
        {
            *taken = true;
        }
    }
    [7, 8, 9, 6, 5].into_iter().find(|length| taken.get(*length) == Some(&false))
}
