//! Unified diffs, as `diff -u` and `git diff` write them and as models imitate them.
//!
//! `header` (which file) → `names` → `hunk` (where each body ends) → `section` (operations). Headings after the second
//! `@@` are only informative. Several sections of one file become one edit where they go on downwards, else operations
//! in order.

mod header;
mod hunk;
mod names;
mod section;

use std::collections::BTreeSet;

use shared_contracts::patches::Hunk;

use self::header::Header;
use self::hunk::{Head, Region, is_mail, is_stop};
use self::section::{Reach, Section, arrange, paths};
use super::fences::Fence;
use super::hunk_lines::{LineFault, sides};
use super::lines::Line;
use super::{Output, fault, hints};
use crate::Parsed;

pub(super) use self::hunk::is_head;

/// Whether a file's part begins here.
pub(super) fn begins(lines: &[Line<'_>], at: usize) -> bool {
    Header::read(lines, at).is_some()
}

pub(super) fn read(lines: &[Line<'_>], output: &mut Output) {
    let mut reader = Reader { lines, at: 0, fence: None, output, operations: Vec::new() };
    // A mailbox is several diffs, each made on the one before.
    let (mut touched, mut touches_twice, mut mail_begins_at) = (BTreeSet::new(), false, 0);
    let mut reach = Reach::default();
    while let Some(line) = reader.lines.get(reader.at) {
        if let Some((header, next)) = Header::read(lines, reader.at) {
            reader.at = next;
            let mut operations = reader.section(header).operations();
            let last = reader.operations.get_mut(mail_begins_at..).and_then(<[_]>::last_mut);
            let joined = match (last, operations.as_slice()) {
                (Some(Ok(last)), [Ok(edit)]) => reach.join(last, edit),
                _ => false,
            };
            if !joined {
                reach = Reach::of(&operations);
                for path in paths(&operations) {
                    touches_twice |= !touched.insert(path.clone());
                }
                reader.operations.append(&mut operations);
            }
        } else if is_head(line.text()) {
            let header = Header { line: line.number, ..Header::default() };
            let nameless = reader.section(header).operations();
            reader.operations.extend(nameless);
        } else {
            if is_mail(line.text()) {
                mail_begins_at = reader.operations.len();
            }
            reader.skip();
        }
    }
    let mut operations = reader.operations;
    arrange(&mut operations, touches_twice);
    output.operations = operations;
}

struct Reader<'lines, 'text, 'output> {
    lines: &'lines [Line<'text>],
    at: usize,
    fence: Option<Fence<'text>>,
    output: &'output mut Output,
    operations: Vec<Parsed>,
}

impl<'text> Reader<'_, 'text, '_> {
    fn skip(&mut self) {
        if let Some(line) = self.lines.get(self.at) {
            self.fence = Fence::after(self.fence, line.text());
            self.output.skip(line);
        }
        self.at += 1;
    }

    /// The hunks that follow a header.
    fn section(&mut self, header: Header<'text>) -> Section<'text> {
        let mut section = Section { header, hunks: Vec::new(), fault: None };
        let mut changes_nothing = None;
        while let Some(line) = self.lines.get(self.at) {
            let head = if is_head(line.text()) {
                self.at += 1;
                hunk::head(line.text())
            } else if section.hunks.is_empty()
                && section.fault.is_none()
                && section.header.admits_headless_hunk(line)
                && !begins(self.lines, self.at)
            {
                self.output.note(line.number, "a hunk without its `@@` line was read");
                Head { start: None, counts: None }
            } else if self.hunk_follows_text() {
                continue;
            } else {
                break;
            };
            match self.hunk(line.number, head) {
                Ok(hunk) if hunk.old == hunk.new => {
                    changes_nothing = Some(line.number);
                    self.output.note(line.number, "a hunk that changes nothing was left out");
                }
                Ok(hunk) => section.hunks.push(hunk),
                Err((line, words)) => section.fault = section.fault.or(Some(fault(line, words))),
            }
        }
        if let (Some(line), true) = (changes_nothing, section.hunks.is_empty()) {
            section.fault = section.fault.or(Some(fault(line, hints::no_change())));
        }
        section
    }

    /// Passes over text between two hunks of one file.
    fn hunk_follows_text(&mut self) -> bool {
        let mut next = self.at;
        while let Some(line) = self.lines.get(next)
            && !is_stop(line.text(), self.fence)
            && !begins(self.lines, next)
        {
            next += 1;
        }
        let follows = self.lines.get(next).is_some_and(|line| is_head(line.text()));
        while follows && self.at < next {
            self.skip();
        }
        follows
    }

    fn hunk(&mut self, number: usize, head: Head) -> Result<Hunk, LineFault> {
        let rest = self.lines.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|line| !is_stop(line.text(), self.fence)).count();
        let before_head = rest.get(count).is_some_and(|line| is_head(line.text()));
        let region = Region {
            lines: rest.get(..count).unwrap_or_default(),
            fenced: self.fence.is_some(),
            before_head,
        };
        let extent = match region.extent(head.counts) {
            Ok(extent) => extent,
            Err(unclear) => {
                self.at += count;
                return Err(unclear);
            }
        };
        self.at += extent.lines;
        let body = rest.get(..extent.lines).unwrap_or_default();
        if extent.wrong_counts {
            self.output.note(number, "the hunk's counts are wrong; its lines were read");
        }
        let sides = sides(body)?;
        if sides.bare > 0 {
            let bare = sides.bare;
            self.output
                .note(number, format_args!("{bare} lines of the hunk without a sign were read as context"));
        }
        if body.is_empty() {
            return Err((number, hints::empty_hunk()));
        }
        let start_line = match head.start {
            // An empty range names the line before it.
            Some(start) if sides.old.is_empty() => match head.counts {
                Some((0, _)) => start.checked_add(1),
                _ => None,
            },
            start => start.filter(|start| *start > 0),
        };
        Ok(Hunk { start_line, old: sides.old, new: sides.new, ..Hunk::default() })
    }
}
