//! Where each hunk's `old` and `new` stand, in the strictest form in which they stand anywhere.

use std::collections::BTreeMap;

use shared_contracts::patches::Hunk;

use super::decide::{Found, Places};
use super::exact::{exact_places, runs};
use super::form::{Form, Forms};
use super::occurrences::OCCURRENCES_MAX;
use super::{scope, style};
use crate::hunks::HunkLines;
use crate::lines::{Lines, content};
use crate::ordered::map;

/// For each hunk where its `old` and its `new` stand.
pub(super) fn found(forms: &mut Forms<'_, '_>, hunks: &[Hunk], lines: &[HunkLines<'_>]) -> Vec<Places> {
    let exact = exact_places(forms, &runs(lines));
    found_beyond(forms, hunks, lines, exact)
}

/// The same, given where they stand byte for byte.
pub(super) fn found_beyond(
    forms: &mut Forms<'_, '_>,
    hunks: &[Hunk],
    lines: &[HunkLines<'_>],
    exact: Vec<Vec<usize>>,
) -> Vec<Places> {
    let file = forms.file;
    let scopes = scope::scopes(forms, hunks);
    let runs = runs(lines);
    let narrow = |run: usize, places: Vec<usize>| -> Vec<usize> {
        let (Some(hunk), Some(lines)) = (hunks.get(run / 2), runs.get(run)) else { return places };
        let last = file.len().saturating_sub(lines.len());
        if hunk.at_end && places.contains(&last) {
            return vec![last];
        }
        match scopes.get(run / 2) {
            Some(Some(scope)) => scope.narrow(places),
            _ => places,
        }
    };
    let mut found: Vec<Option<Found>> = exact
        .into_iter()
        .enumerate()
        .map(|(run, mut places)| {
            // A last line that only lacks its terminator is as good a place.
            let open = runs.get(run).and_then(|lines| at_open_end(file, lines));
            places.extend(open.filter(|_| !places.is_empty()));
            let places = narrow(run, places);
            let is_open = places.len() == 1 && places.first().copied() == open;
            let form = if is_open { Form::Ending } else { Form::Exact };
            (!places.is_empty()).then_some(Found { form, places })
        })
        .collect();
    // A hunk whose `old` stands is not looked at again.
    let open = |found: &[Option<Found>]| -> Vec<(usize, &Lines<'_>)> {
        let is_open = |(run, lines): &(usize, &Lines<'_>)| {
            let stands = |run: usize| found.get(run).is_none_or(Option::is_some);
            !stands(run & !1) && !stands(*run) && !lines.is_empty()
        };
        runs.iter().copied().enumerate().filter(is_open).collect()
    };
    let coarsest = coarsest_places(forms, &open(&found));
    for form in Form::COARSE {
        for (run, lines, mut places) in places_in(forms, form, &open(&found), &coarsest) {
            if form >= Form::Indentation {
                places.retain(|at| is_uniform(file, lines, *at));
            }
            if let (false, Some(slot)) = (places.is_empty(), found.get_mut(run)) {
                *slot = Some(Found { form, places: narrow(run, places) });
            }
        }
    }
    let mut pairs = Vec::with_capacity(lines.len());
    let mut rest = found.into_iter();
    while let (Some(old), Some(new)) = (rest.next(), rest.next()) {
        pairs.push((old, new));
    }
    pairs
}

/// The first places of each run in the coarsest form. It stands in no stricter one anywhere else.
fn coarsest_places(forms: &mut Forms<'_, '_>, open: &[(usize, &Lines<'_>)]) -> BTreeMap<usize, Vec<usize>> {
    if open.is_empty() {
        return BTreeMap::new();
    }
    let (numbers, runs): (Vec<usize>, Vec<&Lines<'_>>) = open.iter().copied().unzip();
    map(numbers.into_iter().zip(forms.index(Form::Punctuation).places(&runs)))
}

/// The first places of each run in this form.
fn places_in<'run, 'hunk>(
    forms: &mut Forms<'_, '_>,
    form: Form,
    open: &[(usize, &'run Lines<'hunk>)],
    coarsest: &BTreeMap<usize, Vec<usize>>,
) -> Vec<(usize, &'run Lines<'hunk>, Vec<usize>)> {
    let file = forms.file;
    let known = |run: &usize| coarsest.get(run).map(Vec::as_slice).unwrap_or_default();
    // Of a run with more places than were looked for others may be the first in a stricter form.
    let is_cut = |run: &usize| form < Form::Punctuation && known(run).len() >= OCCURRENCES_MAX;
    let cut: Vec<&Lines<'_>> = open.iter().filter(|(run, _)| is_cut(run)).map(|(_, lines)| *lines).collect();
    let mut of_cut = if cut.is_empty() { Vec::new() } else { forms.index(form).places(&cut) }.into_iter();
    let same = |lines: &Lines<'_>, at: usize| {
        lines.iter().enumerate().all(|(line, text)| form.key(text) == form.key(file.get(at + line)))
    };
    let places = |(run, lines): &(usize, &'run Lines<'hunk>)| match is_cut(run) {
        true => (*run, *lines, of_cut.next().unwrap_or_default()),
        false => (*run, *lines, known(run).iter().copied().filter(|at| same(lines, *at)).collect()),
    };
    open.iter().map(places).collect()
}

/// Where lines stand at the end of a file whose last line lacks the terminator that they have.
fn at_open_end(file: &Lines<'_>, lines: &Lines<'_>) -> Option<usize> {
    let at = file.len().checked_sub(lines.len())?;
    let is_there = file.is_open() && !lines.is_open() && file.slice(at..file.len()) == content(lines.text());
    (is_there && !lines.is_empty()).then_some(at)
}

fn is_uniform(file: &Lines<'_>, lines: &Lines<'_>, at: usize) -> bool {
    let pairs: Vec<(&str, &str)> =
        lines.iter().enumerate().map(|(offset, line)| (line, file.get(at + offset))).collect();
    style::Style::observe(&pairs).is_some()
}
