//! Where `old` is a part of `new`, it stands before the hunk and after: only what is around it tells which.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::form::{Form, Forms};
use crate::hunks::HunkLines;
use crate::lines::is_telling;

/// What stands around an `old` that could be part of a `new`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Other,
    /// Much of what the hunk inserts.
    Alike,
    /// All of it, in another form.
    Same,
}

/// The lines of a file around a place.
pub(crate) trait Around {
    /// Lines are counted from the place on, those above it are negative.
    fn line(&self, offset: isize) -> Option<&str>;

    /// How often a line stands in the whole file, punctuation and blanks aside.
    fn count(&mut self, line: &str) -> usize;
}

pub(crate) struct InFile<'forms, 'file, 'text> {
    forms: &'forms mut Forms<'file, 'text>,
    at: usize,
}

impl<'forms, 'file, 'text> InFile<'forms, 'file, 'text> {
    pub(crate) fn new(forms: &'forms mut Forms<'file, 'text>, at: usize) -> Self {
        Self { forms, at }
    }
}

impl Around for InFile<'_, '_, '_> {
    fn line(&self, offset: isize) -> Option<&str> {
        let line = self.at.checked_add_signed(offset)?;
        (line < self.forms.file.len()).then(|| self.forms.file.get(line))
    }

    fn count(&mut self, line: &str) -> usize {
        self.forms.index(Form::Punctuation).lines_of(line).len()
    }
}

/// Longer hunks are not looked at beside themselves.
const BESIDE_LINES_MAX: usize = 1_000;

/// Whether what stands around its `old` could tell anything of the hunk.
pub(crate) fn has_sides(hunk: &HunkLines<'_>) -> bool {
    let (old, new) = (&hunk.old, &hunk.new);
    !old.is_empty() && old.len() < new.len() && new.len() <= BESIDE_LINES_MAX
}

/// What is around may have been written in another form, or edited since.
pub(crate) fn beside(hunk: &HunkLines<'_>, around: &mut impl Around) -> Beside {
    if !has_sides(hunk) {
        return Beside::Other;
    }
    let (old, new) = (&hunk.old, &hunk.new);
    let mut found = Beside::Other;
    let (first, last) = (old.get(0), old.get(old.len() - 1));
    for above in 0..=new.len() - old.len() {
        let is_part = new.get(above) == first
            && new.get(above + old.len() - 1) == last
            && new.slice(above..above + old.len()) == old.text();
        let begin = -(above as isize);
        if !is_part || (above > 0 && around.line(begin).is_none()) {
            continue;
        }
        let added = || (0..new.len()).filter(|line| !(above..above + old.len()).contains(line));
        let there = |line: usize| around.line(begin + line as isize);
        if added().all(|line| there(line).is_some_and(|there| key(there) == key(new.get(line)))) {
            return Beside::Same;
        }
        let telling: Vec<&str> = added().map(|line| new.get(line)).filter(|line| is_telling(line)).collect();
        let mut window: BTreeMap<String, usize> = BTreeMap::new();
        for line in (0..new.len()).filter_map(there) {
            *window.entry(key(line).into_owned()).or_default() += 1;
        }
        let stand = |line: &str| window.get(&*key(line)).copied().unwrap_or_default();
        let is_alike = |of: &[&str]| {
            let common = of.iter().filter(|line| stand(line) > 0).count();
            common * 5 > of.len() * 3
        };
        if telling.len() > 1 && is_alike(&telling) {
            // What stands elsewhere too stands here by chance as well.
            let own: Vec<&str> =
                telling.iter().copied().filter(|line| around.count(line) <= stand(line)).collect();
            if own.is_empty() || is_alike(&own) {
                found = Beside::Alike;
            }
        }
    }
    found
}

fn key(line: &str) -> Cow<'_, str> {
    Form::Punctuation.key(line)
}
