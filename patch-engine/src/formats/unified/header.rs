//! The head of one file in a unified diff: git's extended lines, `---` and `+++`.

use shared_contracts::workspaces::FileMode;

use super::hunk::is_head;
use crate::formats::hunk_lines::Kind;
use crate::formats::lines::Line;

pub(super) const NOWHERE_NEW: &str = "/dev/null";

/// Every line as it was sent; what it means together is decided in `section`.
#[derive(Default, Debug)]
pub(super) struct Header<'text> {
    /// The line it begins with.
    pub(super) line: usize,
    /// What follows `diff --git `.
    pub(super) git: Option<&'text str>,
    pub(super) old: Option<&'text str>,
    pub(super) new: Option<&'text str>,
    pub(super) old_mode: Option<&'text str>,
    pub(super) new_mode: Option<&'text str>,
    pub(super) created_mode: Option<&'text str>,
    pub(super) deleted_mode: Option<&'text str>,
    pub(super) renamed: (Option<&'text str>, Option<&'text str>),
    pub(super) copied: (Option<&'text str>, Option<&'text str>),
    pub(super) is_binary: bool,
    /// `diff --cc`: a merge's, with two old sides.
    pub(super) is_combined: bool,
    pub(super) is_submodule: bool,
}

impl<'text> Header<'text> {
    /// The header that begins at this line, and where its hunks do.
    pub(super) fn read(lines: &[Line<'text>], at: usize) -> Option<(Self, usize)> {
        let text = |index: usize| lines.get(index).map(Line::text);
        let first = text(at)?;
        let mut header = Self { line: lines.get(at)?.number, ..Self::default() };
        let combined = first.strip_prefix("diff --cc ").or_else(|| first.strip_prefix("diff --combined "));
        if let Some(names) = first.strip_prefix("diff --git ").or(combined) {
            header.is_combined = combined.is_some();
            header.git = Some(names);
            let mut next = at + 1;
            while let Some(line) = text(next)
                && header.take_extended(line)
            {
                next += 1;
            }
            return Some(header.with_names(lines, next));
        }
        if let Some(names) = binary_names(first) {
            (header.old, header.new) =
                names.split_once(" and ").map_or((None, Some(names)), |(o, n)| (Some(o), Some(n)));
            header.is_binary = true;
            return Some((header, at + 1));
        }
        if let Some(submodule) = first.strip_prefix("Submodule ").filter(|rest| rest.contains("..")) {
            (header.is_submodule, header.new) = (true, submodule.split(' ').next());
            return Some((header, at + 1));
        }
        let is_pair = first.starts_with("--- ") && text(at + 1).is_some_and(|line| line.starts_with("+++ "));
        let is_half =
            (first.starts_with("--- ") || first.starts_with("+++ ")) && text(at + 1).is_some_and(is_head);
        (is_pair || is_half).then(|| header.with_names(lines, at))
    }

    /// Reads `---` and `+++` where they stand.
    fn with_names(mut self, lines: &[Line<'text>], mut at: usize) -> (Self, usize) {
        let text = |index: usize| lines.get(index).map_or("", Line::text);
        if let Some(old) = text(at).strip_prefix("--- ") {
            self.old = Some(old);
            at += 1;
        }
        if let Some(new) = text(at).strip_prefix("+++ ") {
            self.new = Some(new);
            at += 1;
        }
        // A binary patch has two parts, there and back, each up to an empty line; no line of them is a hunk's.
        while self.is_binary && (text(at).starts_with("literal ") || text(at).starts_with("delta ")) {
            at += (at..).take_while(|index| !text(*index).is_empty()).count() + 1;
        }
        (self, at)
    }

    fn take_extended(&mut self, line: &'text str) -> bool {
        let fields: [(&str, &mut Option<&'text str>); 8] = [
            ("old mode ", &mut self.old_mode),
            ("new mode ", &mut self.new_mode),
            ("new file mode ", &mut self.created_mode),
            ("deleted file mode ", &mut self.deleted_mode),
            ("rename from ", &mut self.renamed.0),
            ("rename to ", &mut self.renamed.1),
            ("copy from ", &mut self.copied.0),
            ("copy to ", &mut self.copied.1),
        ];
        for (prefix, field) in fields {
            if let Some(value) = line.strip_prefix(prefix) {
                *field = Some(value);
                return true;
            }
        }
        if line == "GIT binary patch" || binary_names(line).is_some() {
            self.is_binary = true;
            return true;
        }
        ["index ", "similarity index ", "dissimilarity index "].iter().any(|prefix| line.starts_with(prefix))
    }

    /// Whether hunks may follow that have no head.
    pub(super) fn admits_headless_hunk(&self, line: &Line<'_>) -> bool {
        self.old.is_some()
            && self.new.is_some()
            && matches!(Kind::of(line), Kind::Context | Kind::Removed | Kind::Added)
    }
}

fn binary_names(line: &str) -> Option<&str> {
    line.strip_prefix("Binary files ")?.strip_suffix(" differ")
}

/// What git's six digits mean here.
pub(super) enum Mode {
    File(FileMode),
    Submodule,
    Unknown,
}

pub(super) fn mode(digits: &str) -> Mode {
    let digits = digits.trim();
    match u32::from_str_radix(digits, 8) {
        Ok(0o120000) => Mode::File(FileMode::Symlink),
        Ok(0o160000) => Mode::Submodule,
        Ok(mode) if mode >> 9 == 0o100 && mode & 0o111 != 0 => Mode::File(FileMode::Executable),
        Ok(mode) if mode >> 9 == 0o100 => Mode::File(FileMode::Regular),
        _ => Mode::Unknown,
    }
}
