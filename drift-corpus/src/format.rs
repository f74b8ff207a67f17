//! A patch's text in the formats that agents send.

use std::fmt::Write as _;

use shared_contracts::patches::PatchFormat;

use crate::edit::{Hunk, Sign};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A unified diff with three lines of context.
    Unified3,
    /// A unified diff with one line of context.
    Unified1,
    SearchReplace,
    Codex,
}

pub const FORMATS: [Format; 4] = [Format::Unified3, Format::Unified1, Format::SearchReplace, Format::Codex];

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unified3 => "udiff-3",
            Self::Unified1 => "udiff-1",
            Self::SearchReplace => "search-replace",
            Self::Codex => "codex",
        }
    }

    pub fn is_unified(self) -> bool {
        matches!(self, Self::Unified3 | Self::Unified1)
    }

    pub fn of_patch(self) -> PatchFormat {
        match self {
            Self::Unified3 | Self::Unified1 => PatchFormat::UnifiedDiff,
            Self::SearchReplace => PatchFormat::SearchReplace,
            Self::Codex => PatchFormat::Codex,
        }
    }

    pub fn write(self, path: &str, hunks: &[Hunk]) -> String {
        match self {
            Self::Unified3 | Self::Unified1 => unified(path, hunks),
            Self::SearchReplace => search_replace(path, hunks),
            Self::Codex => codex(path, hunks),
        }
    }
}

fn unified(path: &str, hunks: &[Hunk]) -> String {
    let mut text = format!("--- a/{path}\n+++ b/{path}\n");
    for hunk in hunks {
        let (old, new) = (hunk.count(Sign::Added), hunk.count(Sign::Removed));
        // Lines that the hunks above it add and remove move its new side, whatever the order they are sent in.
        let above = hunks.iter().filter(|other| other.start < hunk.start);
        let moved: isize =
            above.map(|other| other.count(Sign::Removed) as isize - other.count(Sign::Added) as isize).sum();
        let new_start = hunk.start as isize + moved + isize::from(new > 0);
        let old_start = hunk.start + usize::from(old > 0);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "@@ -{old_start},{old} +{new_start},{new} @@");
        for (sign, line) in &hunk.lines {
            text.push(match sign {
                Sign::Context => ' ',
                Sign::Removed => '-',
                Sign::Added => '+',
            });
            text.push_str(line);
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    text
}

/// Without carriage returns, as models write.
pub fn plain(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn search_replace(path: &str, hunks: &[Hunk]) -> String {
    let block = |hunk: &Hunk| {
        let (old, new) = (plain(&hunk.old_side()), plain(&hunk.new_side()));
        format!("{path}\n<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE\n\n")
    };
    hunks.iter().map(block).collect()
}

fn codex(path: &str, hunks: &[Hunk]) -> String {
    let mut text = format!("*** Begin Patch\n*** Update File: {path}\n");
    for hunk in hunks {
        match &hunk.within {
            Some(line) => text += &format!("@@ {line}\n"),
            None => text += "@@\n",
        }
        for (sign, line) in &hunk.lines {
            text.push(match sign {
                Sign::Context => ' ',
                Sign::Removed => '-',
                Sign::Added => '+',
            });
            text += &plain(line);
        }
    }
    text + "*** End Patch\n"
}
