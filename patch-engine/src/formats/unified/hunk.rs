//! One hunk of a unified diff: what its head says, and where its body ends.
//!
//! Models write heads with wrong counts or without any. So the counts only decide where the body agrees with them and
//! something else follows it; otherwise the body ends where its lines do. What is left out is never a changed line.

use super::header::NOWHERE_NEW;
use crate::formats::fences::Fence;
use crate::formats::hints;
use crate::formats::hunk_lines::{Kind, LineFault};
use crate::formats::lines::Line;

pub(super) struct Head {
    /// The first old line, from 1; none where the head does not say it.
    pub(super) start: Option<u32>,
    /// How many old and new lines follow.
    pub(super) counts: Option<(usize, usize)>,
}

/// Whether the line is a hunk's head: `@@` alone or before a space or range; not Ruby's `@@name`.
pub(in crate::formats) fn is_head(line: &str) -> bool {
    line.strip_prefix("@@").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '-', '@']))
}

pub(super) fn head(line: &str) -> Head {
    let ranges = line.trim_start_matches('@').trim_start();
    let parsed = range(ranges, '-').map(|(old, rest)| (old, range(rest.trim_start(), '+')));
    match parsed {
        Some(((start, old), Some(((_, new), _)))) => Head { start, counts: Some((old, new)) },
        Some(((start, _), None)) => Head { start, counts: None },
        None => Head { start: None, counts: None },
    }
}

/// `-12,7`: the first line, where it is a number that fits, and how many; then the rest.
fn range(text: &str, sign: char) -> Option<((Option<u32>, usize), &str)> {
    let (first, rest) = digits(text.strip_prefix(sign)?)?;
    let (count, rest) = match rest.strip_prefix(',').map(digits) {
        Some(Some((count, rest))) => (count.parse().ok()?, rest),
        Some(None) => return None,
        None => (1, rest),
    };
    Some(((first.parse().ok(), count), rest))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = (text.get(..end)?, text.get(end..)?);
    (end > 0).then_some((digits, rest))
}

/// Whether no hunk goes beyond this line, whatever its head says.
pub(super) fn is_stop(line: &str, fence: Option<Fence<'_>>) -> bool {
    // What a hunk's lines begin with is looked at no further.
    if line.starts_with([' ', '+', '-', '\\']) {
        return false;
    }
    is_head(line)
        || line.starts_with("diff --")
        || line.starts_with("diff -")
        || line.starts_with("Index: ")
        || line.starts_with("Only in ")
        || line.starts_with("*** End Patch")
        || (line.starts_with("Binary files ") && line.ends_with(" differ"))
        || is_mail(line)
        || fence.is_some_and(|fence| fence.is_closed_by(line))
}

/// `From 0123… Mon Sep 17 00:00:00 2001`, before each patch of a mailbox.
pub(super) fn is_mail(line: &str) -> bool {
    let hash = line.strip_prefix("From ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    hash.len() >= 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Lines that may belong to the hunk: all up to the next stop.
pub(super) struct Region<'lines, 'text> {
    pub(super) lines: &'lines [Line<'text>],
    /// Inside a fenced block stands no prose.
    pub(super) fenced: bool,
    /// The stop is the head of another hunk.
    pub(super) before_head: bool,
}

/// The number of lines that are the hunk's body, and whether its counts were wrong.
pub(super) struct Extent {
    pub(super) lines: usize,
    pub(super) wrong_counts: bool,
}

impl Region<'_, '_> {
    pub(super) fn extent(&self, counts: Option<(usize, usize)>) -> Result<Extent, LineFault> {
        // 1. Cut what is surely the next file's head or a mail's end.
        let surely = self.before_names(true);
        let inside = self.lines.get(..before_signature(self.lines, surely)).unwrap_or_default();
        // 2. The counts, if the body agrees with them: each line with its sign, or else some that lost it.
        let counted = counts.and_then(|counts| {
            let with_signs = counted(inside, counts, false);
            with_signs.or_else(|| counted(inside, counts, true))
        });
        if let Some(end) = counted
            && self.ends_at(inside, end)?
        {
            return Ok(Extent { lines: end, wrong_counts: false });
        }
        // 3. The body by itself.
        let end = self.before_names(false).min(inside.len());
        Ok(Extent { lines: self.by_body(end), wrong_counts: counts.is_some() })
    }

    /// Where `---` and `+++` begin the next file. They may be a removed and an added line too, so they count only
    /// right before another hunk's head (or where nothing is created or deleted), and `surely` only with one name.
    fn before_names(&self, surely: bool) -> usize {
        let whole = self.lines.len();
        let [.., old, new] = self.lines else { return whole };
        let (Some(old), Some(new)) = (old.text().strip_prefix("--- "), new.text().strip_prefix("+++ "))
        else {
            return whole;
        };
        let name = |name: &str| {
            let name = name.split('\t').next().unwrap_or_default().trim().to_owned();
            name.strip_prefix("a/").or(name.strip_prefix("b/")).unwrap_or(&name).to_owned()
        };
        let is_nowhere = new.trim() == NOWHERE_NEW || old.trim() == NOWHERE_NEW;
        let is_header = if surely { name(old) == name(new) || is_nowhere } else { true };
        if is_header && (self.before_head || is_nowhere) { whole - 2 } else { whole }
    }

    /// Whether a hunk whose counts are met ends here; false where its lines go on.
    fn ends_at(&self, inside: &[Line<'_>], end: usize) -> Result<bool, LineFault> {
        let rest = inside.get(end..).unwrap_or_default();
        let blanks = rest.iter().take_while(|line| Kind::of(line) == Kind::Blank).count();
        let Some(first) = rest.get(blanks) else { return Ok(true) };
        let has = |wanted: Kind| rest.iter().any(|line| Kind::of(line) == wanted);
        let changes = has(Kind::Added) || has(Kind::Removed);
        let goes_on = Kind::of(first) != Kind::Bare;
        if !changes {
            return Ok(blanks > 0 || !goes_on);
        }
        if self.fenced || (blanks == 0 && goes_on) {
            return Ok(false);
        }
        let unclear = Err((first.number, hints::counts_or_body()));
        match (blanks, goes_on) {
            // Text without a sign after an empty line is prose, and its dashes are a list.
            (1.., false) => Ok(true),
            (0, _) => unclear,
            // Signs in every line: a hunk that lost the sign of an empty line. Additions alone could be a list.
            _ if !has(Kind::Bare) && (has(Kind::Removed) || has(Kind::Context)) => Ok(false),
            _ => unclear,
        }
    }

    /// To the last line with a sign. Text after it is context only inside a fence.
    fn by_body(&self, end: usize) -> usize {
        let lines = self.lines.get(..end).unwrap_or_default();
        let belongs = |line: &Line<'_>| match Kind::of(line) {
            Kind::Blank => false,
            Kind::Bare => self.fenced,
            _ => true,
        };
        lines.iter().rposition(belongs).map_or(0, |last| last + 1)
    }
}

/// Where the counts are met exactly, if they ever are.
fn counted(lines: &[Line<'_>], (old, new): (usize, usize), bare_is_context: bool) -> Option<usize> {
    let (mut old_left, mut new_left) = (old, new);
    for (index, line) in lines.iter().enumerate() {
        let kind = Kind::of(line);
        if old_left == 0 && new_left == 0 && kind != Kind::NoNewline {
            return (index > 0).then_some(index);
        }
        match kind {
            Kind::NoNewline => {}
            Kind::Removed => old_left = old_left.checked_sub(1)?,
            Kind::Added => new_left = new_left.checked_sub(1)?,
            Kind::Bare if !bare_is_context => return None,
            Kind::Context | Kind::Blank | Kind::Bare => {
                (old_left, new_left) = (old_left.checked_sub(1)?, new_left.checked_sub(1)?);
            }
        }
    }
    (old_left == 0 && new_left == 0 && !lines.is_empty()).then_some(lines.len())
}

/// Where a mail's signature begins: `-- `, a version, nothing else. A removed `- ` is never followed by that.
fn before_signature(lines: &[Line<'_>], end: usize) -> usize {
    let lines = lines.get(..end).unwrap_or_default();
    let Some(last) = lines.iter().rposition(|line| !line.is_blank()) else { return end };
    let Some(dashes) = last.checked_sub(1) else { return end };
    let is_version = |line: &Line<'_>| {
        let text = line.text();
        text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.') && !text.contains(' ')
    };
    let text = |index: usize| lines.get(index).map_or("", Line::text);
    let is_signature = matches!(text(dashes), "-- " | "--") && lines.get(last).is_some_and(is_version);
    if is_signature { dashes } else { end }
}
