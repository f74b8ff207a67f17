//! A hunk in its place: which lines of the file it covers, which it changes, and into what.

use std::borrow::Cow;
use std::ops::Range;

use imara_diff::{Algorithm, Diff, InternedInput};

use super::form::Form;
use super::style::Style;
use crate::hunks::HunkLines;
use crate::lines::{Lines, content, terminator};

/// Lines of the file and what comes in their place.
#[derive(Debug, Clone)]
pub(crate) struct Splice<'hunk> {
    pub(crate) lines: Range<usize>,
    pub(crate) text: Cow<'hunk, str>,
    pub(crate) text_lines: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Seat<'hunk> {
    pub(crate) index: usize,
    pub(crate) form: Form,
    /// Some of its context was edited.
    pub(crate) partial: bool,
    /// It is in the file already: nothing is spliced.
    pub(crate) landed: bool,
    /// The lines of the file that it covers with its context.
    pub(crate) full: Range<usize>,
    /// From the first to the last line that it changes.
    pub(crate) core: Range<usize>,
    pub(crate) splices: Vec<Splice<'hunk>>,
}

impl<'hunk> Seat<'hunk> {
    /// Where `old` stands byte for byte.
    pub(crate) fn exact(index: usize, hunk: &HunkLines<'hunk>, at: usize) -> Self {
        let core = hunk.old_core(at);
        let splice = Splice {
            lines: core.clone(),
            text: Cow::Borrowed(hunk.new_core_text()),
            text_lines: hunk.new_core(0).len(),
        };
        let full = at..at + hunk.old.len();
        Self { index, form: Form::Exact, partial: false, landed: false, full, core, splices: vec![splice] }
    }

    pub(crate) fn landed(index: usize, hunk: &HunkLines<'_>, at: usize, form: Form) -> Self {
        let (full, core) = (at..at + hunk.new.len(), hunk.new_core(at));
        Self { index, form, partial: false, landed: true, full, core, splices: Vec::new() }
    }

    /// Lines that are named otherwise than by a hunk; `text` as the file would write it.
    pub(crate) fn lines(index: usize, lines: Range<usize>, text: String) -> Self {
        let text_lines = Lines::new(&text).len();
        let splice = Splice { lines: lines.clone(), text: Cow::Owned(text), text_lines };
        let (form, full, core) = (Form::Exact, lines.clone(), lines);
        Self { index, form, partial: false, landed: false, full, core, splices: vec![splice] }
    }

    /// At the end of the file, below all that is there.
    pub(crate) fn appended(index: usize, hunk: &HunkLines<'hunk>, file: &Lines<'_>) -> Option<Self> {
        let end = file.len()..file.len();
        let splice = splice(hunk, &(0..0), &(0..hunk.new.len()), end, file, &Style::observe(&[])?)?;
        let core = splice.lines.clone();
        let (form, full) = (Form::Exact, core.clone());
        Some(Self { index, form, partial: false, landed: false, full, core, splices: vec![splice] })
    }

    /// Where `old` stands in a coarser form. None where the new lines cannot be written as the file would write them.
    pub(crate) fn coarse(
        index: usize,
        hunk: &HunkLines<'hunk>,
        file: &Lines<'_>,
        at: usize,
        form: Form,
    ) -> Option<Self> {
        if form == Form::Exact {
            return Some(Self::exact(index, hunk, at));
        }
        let lines: Vec<Option<usize>> = (at..at + hunk.old.len()).map(Some).collect();
        Self::mapped(index, hunk, &changes(hunk), file, &lines, form, &[])
    }

    /// The same place, the new lines written as the file writes those of the edit's other hunks.
    pub(crate) fn in_habit(self, hunk: &HunkLines<'hunk>, file: &Lines<'_>, habit: &[(&str, &str)]) -> Self {
        if self.form >= Form::Indentation || self.partial || self.landed || self.full.len() != hunk.old.len()
        {
            return self;
        }
        let lines: Vec<Option<usize>> = self.full.clone().map(Some).collect();
        Self::mapped(self.index, hunk, &changes(hunk), file, &lines, self.form, habit).unwrap_or(self)
    }

    /// Where each line of `old` stands at a line of its own, or nowhere if it is context that was edited.
    pub(crate) fn mapped(
        index: usize,
        hunk: &HunkLines<'hunk>,
        changes: &[(Range<usize>, Range<usize>)],
        file: &Lines<'_>,
        lines: &[Option<usize>],
        form: Form,
        habit: &[(&str, &str)],
    ) -> Option<Self> {
        let own: Vec<(&str, &str)> = lines
            .iter()
            .enumerate()
            .filter_map(|(ours, line)| line.map(|line| (hunk.old.get(ours), file.get(line))))
            .collect();
        let pairs = [&own, habit].concat();
        let style = Style::observe(&pairs)?.in_file(file.text());
        let mut splices = Vec::with_capacity(changes.len());
        for (old, new) in changes {
            let here = place_of(old, lines)?;
            splices.push(splice(hunk, old, new, here, file, &style)?);
        }
        let core = splices.first()?.lines.start..splices.last()?.lines.end;
        let placed = || lines.iter().flatten();
        let first = placed().min().copied().unwrap_or(core.start).min(core.start);
        let last = placed().max().map_or(core.end, |last| last + 1).max(core.end);
        Some(Self { index, form, partial: false, landed: false, full: first..last, core, splices })
    }

    /// Whether the file is already as the hunk would make it.
    pub(crate) fn changes_nothing(&self, file: &Lines<'_>) -> bool {
        self.splices.iter().all(|splice| file.slice(splice.lines.clone()) == splice.text)
    }

    /// Shared context is harmless; a change in the other's context, or two insertions into one gap of which neither
    /// says that it comes first, are not. What has landed can only claim the other's lines for its own.
    pub(crate) fn collides_with(&self, below: &Self) -> bool {
        if self.landed && below.landed {
            return intersect(&self.core, &below.core);
        }
        let same_gap = self.core.is_empty() && self.core == below.core;
        let ordered = self.full.end <= below.full.start && !(self.full.is_empty() && below.full.is_empty());
        intersect(&self.core, &below.full) || intersect(&below.core, &self.full) || (same_gap && !ordered)
    }
}

/// Whether ranges share a line; an empty one, a gap between lines, where it lies strictly inside the other.
pub(crate) fn intersect(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The lines of `old` that go and those of `new` that come. What stays between them is context, as terminators do, but
/// for that of a file's last line where the hunk gives or takes it.
pub(crate) fn changes(hunk: &HunkLines<'_>) -> Vec<(Range<usize>, Range<usize>)> {
    let mut input: InternedInput<&str> = InternedInput::default();
    input.update_before(hunk.old.iter().map(content));
    input.update_after(hunk.new.iter().map(content));
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);
    let range = |range: Range<u32>| range.start as usize..range.end as usize;
    let mut changes: Vec<_> =
        diff.hunks().map(|change| (range(change.before), range(change.after))).collect();
    if hunk.old.is_open() != hunk.new.is_open() {
        with_last_line(hunk, &mut changes);
    }
    changes
}

/// The last line of both sides is changed, if only by its terminator.
fn with_last_line(hunk: &HunkLines<'_>, changes: &mut Vec<(Range<usize>, Range<usize>)>) {
    let (old, new) = (hunk.old.len(), hunk.new.len());
    match changes.last_mut() {
        Some((old_lines, new_lines)) if (old_lines.end, new_lines.end) == (old, new) => {
            let is_context = new_lines.start == new_lines.end && old_lines.start > 0 && new_lines.start > 0;
            if is_context {
                old_lines.start -= 1;
                new_lines.start -= 1;
            }
        }
        _ if old > 0 && new > 0 => changes.push((old - 1..old, new - 1..new)),
        _ => {}
    }
}

/// The lines of the file that stand for lines of `old`, all in a row; of none the gap beside a neighbour.
pub(crate) fn place_of(old: &Range<usize>, lines: &[Option<usize>]) -> Option<Range<usize>> {
    let at = |line: usize| lines.get(line).copied().flatten();
    if old.is_empty() {
        let above = old.start.checked_sub(1).and_then(at).map(|line| line + 1);
        let below = at(old.start);
        let gap = match (above, below) {
            (Some(above), Some(below)) if above != below => return None,
            (above, below) => above.or(below).or((lines.is_empty()).then_some(0))?,
        };
        return Some(gap..gap);
    }
    let first = at(old.start)?;
    let in_a_row = old.clone().enumerate().all(|(offset, line)| at(line) == Some(first + offset));
    in_a_row.then(|| first..first + old.len())
}

fn splice<'hunk>(
    hunk: &HunkLines<'hunk>,
    old: &Range<usize>,
    new: &Range<usize>,
    here: Range<usize>,
    file: &Lines<'_>,
    style: &Style<'_>,
) -> Option<Splice<'hunk>> {
    let mut text = String::new();
    for (offset, line) in new.clone().enumerate() {
        let counterpart = (here.start + offset).min(here.end.saturating_sub(1));
        let twin = (old.len() == new.len())
            .then(|| (content(hunk.old.get(old.start + offset)), content(file.get(here.start + offset))));
        text.push_str(&style.write(hunk.new.get(line), twin)?);
        text.push_str(terminator_near(file, counterpart));
    }
    // A file whose last line has no terminator keeps that, unless the hunk gives or takes it.
    let at_end = here.end == file.len();
    let is_last = new.end == hunk.new.len();
    let taken_away = is_last && hunk.new.is_open() && !hunk.old.is_open();
    let given = is_last && hunk.old.is_open() && !hunk.new.is_open();
    if at_end && (taken_away || (file.is_open() && !given)) {
        text.truncate(content(&text).len());
    }
    if here.start == file.len() && file.is_open() && !new.is_empty() {
        let last = file.len() - 1;
        text = format!("{}{}{text}", file.get(last), terminator_near(file, last));
        return Some(Splice { lines: last..file.len(), text: Cow::Owned(text), text_lines: new.len() + 1 });
    }
    Some(Splice { lines: here, text: Cow::Owned(text), text_lines: new.len() })
}

/// How lines end here in the file.
pub(crate) fn terminator_near<'text>(file: &Lines<'text>, line: usize) -> &'text str {
    let here = terminator(file.get(line));
    let above =
        || (0..line.min(file.len())).rev().map(|line| terminator(file.get(line))).find(|end| !end.is_empty());
    if here.is_empty() { above().unwrap_or("\n") } else { here }
}

#[cfg(test)]
mod tests {
    use super::super::came::{came, hunk, text};

    #[test]
    fn a_hunk_gives_or_takes_the_last_terminator_in_every_form() {
        for (file, old, new, right) in [
            ("a();\nb();", "b();", "b();\n", "a();\nb();\n"),
            ("a();\nb();\n", "b();\n", "b();", "a();\nb();"),
            ("a();\r\nb();", "a();\nb();", "a();\nb();\n", "a();\r\nb();\r\n"),
            ("a();\r\nb();\r\n", "a();\nb();\n", "a();\nb();", "a();\r\nb();"),
            ("  a();\n  b();", "a();\nb();", "a();\nb();\n", "  a();\n  b();\n"),
            ("  a();\n  b();\n", "a();\nb();\n", "a();\nb();", "  a();\n  b();"),
        ] {
            assert_eq!(came(file, &[hunk(old, new)]), text(right), "{file:?}");
        }
    }

    #[test]
    fn it_does_so_together_with_other_changes() {
        for (old, new) in [
            ("a();\nb();\nc();", "x();\nb();\nc();\n"),
            ("a();\nb();\nc();\n", "x();\nb();\nc();"),
            ("a();\nb();\nc();", "a();\nb();\nx();\n"),
            ("a();\nb();\nc();", "a();\nb();\nc();\nx();\n"),
            ("a();\nb();\nc();\n", "a();\nb();"),
            ("a();\nb();", "a();\nb();\nx();\n"),
        ] {
            let crlf = |text: &str| text.replace('\n', "\r\n");
            let shifted =
                |text: &str| text.split_inclusive('\n').map(|line| format!("  {line}")).collect::<String>();
            assert_eq!(came(old, &[hunk(old, new)]), text(new), "{old:?}");
            assert_eq!(came(&crlf(old), &[hunk(old, new)]), text(&crlf(new)), "{old:?}");
            assert_eq!(came(&shifted(old), &[hunk(old, new)]), text(&shifted(new)), "{old:?}");
        }
    }
}
