//! Where a hunk may be looked for: below the lines that it says it stands under.

use std::collections::BTreeMap;
use std::ops::Range;

use shared_contracts::patches::Hunk;

use super::form::{Form, Forms};
use crate::lines::{Lines, indentation, is_blank, is_telling};

/// For so few hunks the file is read through rather than indexed.
const FEW_HUNKS: usize = 8;

/// Where each hunk may be looked for; none where it does not say, or not clearly.
pub(crate) fn scopes(forms: &mut Forms<'_, '_>, hunks: &[Hunk]) -> Vec<Option<Scope>> {
    let is_indexed = hunks.iter().filter(|hunk| !hunk.within.is_empty()).nth(FEW_HUNKS).is_some();
    forms.lasting |= is_indexed;
    // Many hunks often stand below the same line.
    let mut known: BTreeMap<&[String], Option<Scope>> = BTreeMap::new();
    let mut scope_of =
        |within| known.entry(within).or_insert_with(|| scope(forms, within, is_indexed)).clone();
    let scopes = hunks.iter().map(|hunk| match hunk.within.as_slice() {
        [] => None,
        within => scope_of(within),
    });
    scopes.collect()
}

/// The lines below the ones named, outermost first: the block that the last one opens, and all that follows it. None
/// where one of them stands nowhere or more than once.
fn scope(forms: &mut Forms<'_, '_>, within: &[String], is_indexed: bool) -> Option<Scope> {
    let file = forms.file;
    let mut block = 0..file.len();
    let mut rest = 0..file.len();
    for name in within.iter().filter(|name| !is_blank(name)) {
        let mut only = |lines| the_only(forms, lines, name, is_indexed);
        let at = only(&block).or_else(|| only(&rest))?;
        block = block_below(file, at);
        rest = at + 1..file.len();
    }
    Some(Scope { block, rest })
}

#[derive(Clone)]
pub(crate) struct Scope {
    block: Range<usize>,
    rest: Range<usize>,
}

impl Scope {
    /// The places in the block, or else those below it, or else all.
    pub(crate) fn narrow(&self, places: Vec<usize>) -> Vec<usize> {
        for lines in [&self.block, &self.rest] {
            let inside: Vec<usize> = places.iter().copied().filter(|at| lines.contains(at)).collect();
            if !inside.is_empty() {
                return inside;
            }
        }
        places
    }
}

/// The line that is the named one, in the strictest form in which any is; at last one that only begins with it.
fn the_only(forms: &mut Forms<'_, '_>, lines: &Range<usize>, name: &str, is_indexed: bool) -> Option<usize> {
    let file = forms.file;
    for form in [Form::Trailing, Form::Indentation, Form::Punctuation] {
        let found: Vec<usize> = if is_indexed {
            let there = forms.index(form).lines_of(name);
            let above = there.partition_point(|line| (*line as usize) < lines.start);
            let below = there.iter().skip(above).map(|line| *line as usize);
            below.take_while(|line| *line < lines.end).take(2).collect()
        } else {
            let wanted = form.key(name);
            lines.clone().filter(|line| form.key(file.get(*line)) == wanted).take(2).collect()
        };
        match found.as_slice() {
            [] => {}
            [only] => return Some(*only),
            _ => return None,
        }
    }
    let wanted = name.trim();
    let mut found = lines.clone().filter(|line| file.get(*line).trim_start().starts_with(wanted));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The lines that are indented deeper, blank lines and closing brackets among them.
fn block_below(file: &Lines<'_>, head: usize) -> Range<usize> {
    let depth = indentation(file.get(head)).len();
    let inside = |line: &usize| {
        let text = file.get(*line);
        is_blank(text) || indentation(text).len() > depth || !is_telling(text)
    };
    head + 1..head + 1 + (head + 1..file.len()).take_while(inside).count()
}
