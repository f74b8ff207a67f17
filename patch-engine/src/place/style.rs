//! How the file writes what a hunk writes: its indentation, its quotes and dashes. Learnt from the lines that both have;
//! the hunk's new lines are written alike.

use std::collections::{BTreeMap, BTreeSet};

use super::form::fold;
use crate::lines::{Lines, content, indentation, is_blank};
use crate::ordered::set;

pub(crate) struct Style<'text> {
    shift: Shift,
    /// The file's indentation for each of the hunk's; none where it varies.
    indentations: BTreeMap<&'text str, Option<&'text str>>,
    /// What the file has for a character of the hunk; none where it varies.
    letters: BTreeMap<char, Option<char>>,
    /// What the file writes in plain ASCII where the hunk does not: `"`, `-` and so on.
    plain: BTreeSet<&'static str>,
    /// The typographic characters that the file has.
    typographic: BTreeSet<char>,
}

#[derive(Debug, PartialEq)]
enum Shift {
    Same,
    Added(String),
    Removed(String),
    /// Tabs here are spaces there, perhaps shifted as well.
    Columns {
        tab: usize,
        by: isize,
        to_tabs: bool,
    },
}

impl<'text> Style<'text> {
    /// From pairs of a line of the hunk and the same line of the file. None where the file's indentation differs from
    /// the hunk's here in one way and there in another.
    pub(crate) fn observe(pairs: &[(&'text str, &'text str)]) -> Option<Self> {
        let telling = || pairs.iter().filter(|(ours, _)| !is_blank(ours));
        let indents: Vec<(&str, &str)> =
            telling().map(|(ours, file)| (indentation(ours), indentation(file))).collect();
        let shift = shift(&indents)?;
        let mut indentations = BTreeMap::new();
        for (ours, file) in indents {
            let known = indentations.entry(ours).or_insert(Some(file));
            *known = known.filter(|known| *known == file);
        }
        let mut letters: BTreeMap<char, Option<char>> = BTreeMap::new();
        let mut plain = BTreeSet::new();
        for (ours, file) in telling().filter(|(ours, file)| !ours.is_ascii() || !file.is_ascii()) {
            for (letter, there) in letters_of(ours.trim(), file.trim()) {
                let mut written = there.chars();
                let (first, rest) = (written.next(), written.next());
                if fold(letter).is_none() && first.and_then(fold).is_none() {
                    continue;
                }
                if let (Some(class), true) = (fold(letter), there.is_ascii()) {
                    plain.insert(class);
                    // Quotes come together.
                    plain.extend(["\"", "'"].into_iter().filter(|_| class == "\"" || class == "'"));
                }
                if let (Some(first), None) = (first, rest) {
                    let known = letters.entry(letter).or_insert(Some(first));
                    *known = known.filter(|known| *known == first);
                }
            }
        }
        Some(Self { shift, indentations, letters, plain, typographic: BTreeSet::new() })
    }

    /// In a file that has typographic characters itself, one of the hunk may be meant.
    pub(crate) fn in_file(mut self, file: &str) -> Self {
        if !self.letters.is_empty() && !file.is_ascii() {
            self.typographic = set(file.chars().filter(|letter| fold(*letter).is_some()));
        }
        self
    }

    /// Whether what was observed holds for a whole edit, not only where it was observed: tabs for spaces, or quotes.
    pub(crate) fn is_habit(&self) -> bool {
        !self.plain.is_empty() || matches!(self.shift, Shift::Columns { by: 0, .. })
    }

    /// A new line's text without terminator, as the file would write it. `twin` is the line it takes the place of, as the
    /// hunk and as the file have it. None where it would have to begin left of the margin, or where the file has a
    /// character now plain and now not.
    pub(crate) fn write(&self, line: &str, twin: Option<(&str, &str)>) -> Option<String> {
        let line = content(line);
        if is_blank(line) {
            // Blanks alone are not moved, but written in the file's kind.
            let known = self.indentations.get(line).copied().flatten();
            let known = known.filter(|known| !line.is_empty() && known.contains('\t') != line.contains('\t'));
            return Some(known.unwrap_or(line).to_owned());
        }
        let indent = indentation(line);
        let rest = line.get(indent.len()..).unwrap_or_default();
        let mut text = match self.indentations.get(indent) {
            Some(Some(known)) => (*known).to_owned(),
            _ => self.shift.indent(indent)?,
        };
        if self.letters.is_empty() {
            text.push_str(rest);
        } else {
            self.write_letters(&mut text, rest, twin.map(|(ours, file)| (ours.trim(), file.trim())))?;
        }
        Some(text)
    }

    /// What a line keeps of the one it replaces, at its beginning and end, stays as the file has it.
    fn write_letters(&self, text: &mut String, line: &str, twin: Option<(&str, &str)>) -> Option<()> {
        let new: Vec<char> = line.chars().collect();
        let kept: Vec<(char, &str)> = twin.map_or(Vec::new(), |(ours, file)| letters_of(ours, file));
        let same = |pair: &(&char, &(char, &str))| *pair.0 == pair.1.0;
        let before = new.iter().zip(&kept).take_while(same).count();
        let rest = new.len().min(kept.len()) - before;
        let after = new.iter().rev().zip(kept.iter().rev()).take(rest).take_while(same).count();
        kept.iter().take(before).for_each(|(_, there)| text.push_str(there));
        for letter in new.iter().take(new.len() - after).skip(before) {
            match (self.letters.get(letter), fold(*letter)) {
                // Plain letters are code as likely as prose: `-1` is no dash.
                _ if letter.is_ascii() => text.push(*letter),
                (Some(None), _) => return None,
                (Some(Some(known)), _) if known == letter => text.push(*letter),
                (_, Some(class)) if self.plain.contains(class) => {
                    if self.typographic.contains(letter) {
                        return None;
                    }
                    text.push_str(class);
                }
                (Some(Some(known)), _) => text.push(*known),
                _ => text.push(*letter),
            }
        }
        kept.iter().skip(kept.len() - after).for_each(|(_, there)| text.push_str(there));
        Some(())
    }
}

/// Each character of the hunk's line with what the file has in its place; nothing where the lines are not the same.
fn letters_of<'text>(ours: &str, file: &'text str) -> Vec<(char, &'text str)> {
    let mut pairs = Vec::with_capacity(ours.len());
    let mut rest = file;
    for letter in ours.chars() {
        let plain = fold(letter);
        let mut there = 0;
        let mut wanted = plain.map_or_else(|| letter.to_string(), str::to_owned);
        while let Some(next) = rest.get(there..).and_then(|rest| rest.chars().next()) {
            if wanted.is_empty() && fold(next) != Some("") {
                break;
            }
            let mut own = [0; 4];
            let next_plain = fold(next).unwrap_or_else(|| next.encode_utf8(&mut own));
            match wanted.strip_prefix(next_plain) {
                Some(left) => wanted = left.to_owned(),
                // Three dots in the hunk, one character in the file: it goes with the first of them.
                None if next_plain.starts_with(&wanted) && !wanted.is_empty() => wanted.clear(),
                None => break,
            }
            there += next.len_utf8();
        }
        let (taken, left) = rest.split_at_checked(there).unwrap_or_default();
        pairs.push((letter, taken));
        rest = left;
    }
    pairs
}

fn shift(indents: &[(&str, &str)]) -> Option<Shift> {
    let Some((ours, file)) = indents.first() else { return Some(Shift::Same) };
    if indents.iter().all(|(ours, file)| ours == file) {
        return Some(Shift::Same);
    }
    if let Some(added) = file.strip_suffix(ours)
        && indents.iter().all(|(ours, file)| file.strip_suffix(ours) == Some(added))
    {
        return Some(Shift::Added(added.to_owned()));
    }
    if let Some(removed) = ours.strip_suffix(file)
        && indents.iter().all(|(ours, file)| ours.strip_suffix(file) == Some(removed))
    {
        return Some(Shift::Removed(removed.to_owned()));
    }
    let to_tabs = indents.iter().any(|(_, file)| file.contains('\t'));
    let by = |tab: usize| {
        let by = |(ours, file): &(&str, &str)| columns(file, tab) as isize - columns(ours, tab) as isize;
        let first = by(indents.first()?);
        indents.iter().all(|indent| by(indent) == first).then_some((tab, first))
    };
    let ways = [4, 2, 8, 3].into_iter().filter_map(by);
    let (tab, by) = ways.min_by_key(|(_, by)| *by != 0)?;
    Some(Shift::Columns { tab, by, to_tabs })
}

fn columns(indent: &str, tab: usize) -> usize {
    indent.chars().map(|blank| if blank == '\t' { tab } else { 1 }).sum()
}

impl Shift {
    fn indent(&self, indent: &str) -> Option<String> {
        match self {
            Self::Same => Some(indent.to_owned()),
            Self::Added(added) => Some(format!("{added}{indent}")),
            Self::Removed(removed) => indent.strip_prefix(removed.as_str()).map(str::to_owned),
            Self::Columns { tab, by, to_tabs } => {
                let columns = columns(indent, *tab).checked_add_signed(*by)?;
                let tabs = if *to_tabs { columns / tab } else { 0 };
                Some("\t".repeat(tabs) + &" ".repeat(columns - tabs * tab))
            }
        }
    }
}

/// Fewer indented lines make no habit.
const HABIT_LINES_MIN: usize = 8;

/// Where a file is indented by tabs alone and new lines by spaces alone, or the other way round: one step of theirs and of
/// the file's.
pub(crate) fn habit_of<'text, I: Iterator<Item = &'text str>>(
    file: &Lines<'text>,
    new: impl Fn() -> I,
) -> Option<(&'static str, &'static str)> {
    const STEPS: [(usize, &str); 4] = [(2, "  x"), (3, "   x"), (4, "    x"), (8, "        x")];
    let indents =
        || new().filter(|line| !is_blank(line)).map(indentation).filter(|indent| !indent.is_empty());
    let file_indents =
        || file.iter().filter(|line| !is_blank(line)).map(indentation).filter(|indent| !indent.is_empty());
    let tabs = |indent: &str| indent.bytes().all(|byte| byte == b'\t');
    let spaces = |indent: &str| indent.bytes().all(|byte| byte == b' ');
    let step =
        |least: Option<usize>| STEPS.iter().find(|(step, _)| Some(*step) == least).map(|(_, line)| *line);
    indents().next()?;
    file_indents().nth(HABIT_LINES_MIN - 1)?;
    if indents().all(spaces) && file_indents().all(tabs) {
        return Some((step(indents().map(str::len).min())?, "\tx"));
    }
    if indents().all(tabs) && file_indents().all(spaces) {
        return Some(("\tx", step(file_indents().map(str::len).min())?));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pairs: &[(&str, &str)], line: &str) -> Option<String> {
        Style::observe(pairs)?.write(line, None)
    }

    #[test]
    fn indentation_is_shifted_as_observed() {
        let deeper = [("a", "    a"), ("  b", "      b"), ("", "")];
        assert_eq!(written(&deeper, "    new").as_deref(), Some("        new"));
        let shallower = [("\t\ta", "\ta"), ("\t\t\tb", "\t\tb")];
        assert_eq!(written(&shallower, "\t\t\t\tnew").as_deref(), Some("\t\t\tnew"));
        assert_eq!(written(&shallower, "new"), None);
        let to_spaces = [("\ta", "    a"), ("b", "b")];
        assert_eq!(written(&to_spaces, "\t\tnew").as_deref(), Some("        new"));
        let to_tabs = [("    a", "\ta"), ("      b", "\t  b")];
        assert_eq!(written(&to_tabs, "        new").as_deref(), Some("\t\tnew"));
        let to_two = [("\ta", "  a"), ("\t\tb", "    b")];
        assert_eq!(written(&to_two, "\t\t\tnew").as_deref(), Some("      new"));
        assert_eq!(written(&[("a", "  a"), ("  b", "  b")], "new"), None, "not uniform");
    }

    #[test]
    fn letters_are_written_as_the_file_has_them() {
        let curly_hunk = [("say(\u{201c}a\u{201d})", "say(\"a\")")];
        assert_eq!(written(&curly_hunk, "say(\u{2018}b\u{2019})").as_deref(), Some("say('b')"));
        let curly_file = ("\u{2014} \"a\" b", "\u{2014} \u{201c}a\u{201d} b");
        let style = Style::observe(&[curly_file]).unwrap();
        let line = style.write("\u{2014} \"a\" c", Some(curly_file));
        assert_eq!(line.as_deref(), Some("\u{2014} \u{201c}a\u{201d} c"));
        let dots = ("wait... now", "wait\u{2026} now");
        let style = Style::observe(&[dots]).unwrap();
        assert_eq!(style.write("wait... then", Some(dots)).as_deref(), Some("wait\u{2026} then"));
        assert_eq!(written(&[("a\u{a0}b", "a b")], "c\u{a0}d").as_deref(), Some("c d"));
    }

    #[test]
    fn blank_lines_are_written_in_the_files_kind_and_empty_ones_stay_empty() {
        assert_eq!(written(&[("    a", "\ta")], "    ").as_deref(), Some("\t"));
        assert_eq!(written(&[("a", "\ta")], "").as_deref(), Some(""));
        assert_eq!(written(&[("\ta", "    a")], "\t\n").as_deref(), Some("    "));
        assert_eq!(written(&[("  a", "    a")], "  ").as_deref(), Some("  "), "not moved");
    }

    #[test]
    fn fewer_than_eight_indented_lines_make_no_habit() {
        let habit =
            |lines: usize| habit_of(&Lines::new(&"\ttext\n".repeat(lines)), || ["    new\n"].into_iter());
        assert_eq!(habit(7), None);
        assert_eq!(habit(8), Some(("    x", "\tx")));
    }
}
