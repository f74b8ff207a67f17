//! The corpus: as many cases as wanted, the same ones every time, spread evenly over kinds of drift, languages and formats.

use crate::case::Case;
use crate::drift::{Drifted, Setting, drift};
use crate::edit::{Change, Hunk, hunk, with_changes};
use crate::format::{FORMATS, Format};
use crate::grammar::{Grammar, LANGUAGES, Language};
use crate::kind::{KINDS, Kind};
use crate::rng::Rng;
use crate::source::{Source, edited, indentation, source, statement};
use crate::text::Origin;
use crate::truth::{Expected, count_in, truth};

/// Changing it changes every case, and with them every figure that was ever printed.
const SEED: u64 = 0x7061_7463_6862_6179;
/// Twenty-four of each kind, language and format.
pub const CASES: usize = 10_080;
/// Files that are tried before a case is given up.
const ATTEMPTS_MAX: usize = 2_000;

pub fn cases(count: usize) -> Vec<Case> {
    let wheel = KINDS.len() * LANGUAGES.len() * FORMATS.len();
    let spread = |number: usize| {
        // Kinds go round fastest, so that the first few hundred cases are a sample of all.
        let kind = KINDS[number % KINDS.len()];
        let language = LANGUAGES[number / KINDS.len() % LANGUAGES.len()];
        let format = FORMATS[number / (KINDS.len() * LANGUAGES.len()) % FORMATS.len()];
        case(kind, language, format, number / wheel)
    };
    (0..count).map(spread).collect()
}

fn case(kind: Kind, language: Language, format: Format, number: usize) -> Case {
    let name = format!("{}/{}/{}/{number}", language.grammar().name, kind.name(), format.name());
    let mut rng = Rng::named(SEED, &name);
    (0..ATTEMPTS_MAX)
        .find_map(|_| attempt(kind, language, format, &name, &mut rng))
        .unwrap_or_else(|| panic!("no file fits {name}"))
}

fn attempt(kind: Kind, language: Language, format: Format, name: &str, rng: &mut Rng) -> Option<Case> {
    let grammar = language.grammar();
    let mut source = source(language, rng);
    source.text.is_closed = rng.chance(90);
    if kind == Kind::LineEndings && rng.chance(40) {
        source.text.terminator = "\r\n";
    }
    let mut changes = changes(&source, kind, grammar, rng)?;
    if kind.wants_twin() {
        add_twin(&mut source, &mut changes, rng)?;
    }
    let context = match format {
        Format::Unified3 | Format::Codex => (3, 3),
        Format::Unified1 => (1, 1),
        Format::SearchReplace => (rng.between(1, 3), rng.between(1, 3)),
    };
    let mut hunks: Vec<Hunk> = changes.iter().map(|change| hunk(&source.text, change, context)).collect();
    if format == Format::Codex && rng.chance(30) {
        name_functions(&source, &changes, &mut hunks);
    }
    let setting = Setting { base: &source.text, changes: &changes, items: &source.items, grammar, context };
    let drifted = drift(kind, &setting, rng)?;
    let mut truth = truth(&source.text, &changes, &hunks, &drifted)?;
    if !is_worth_it(kind, &truth.with_base, &drifted) {
        return None;
    }
    // Swapped twins leave the file as it was.
    if kind == Kind::BlocksSwapped && drifted.current.texts() == source.text.texts() {
        return None;
    }
    let is_moved = matches!(kind, Kind::BlockMoved | Kind::BlocksSwapped);
    // No line diff follows lines that passed each other: a moved block is known by its text.
    let is_known = matches!(truth.without_base, Some(Expected::Right(_)));
    // And only line numbers say which of two twins in the base is meant.
    let is_twin = |hunk: &Hunk| count_in(&source.text, hunk) > 1;
    if is_moved && !is_known || !format.is_unified() && hunks.iter().any(is_twin) {
        truth = truth.with_doubtful_base();
    }
    if kind == Kind::HunksReordered {
        hunks.reverse();
    }
    let path = format!("src/store.{}", grammar.extension);
    Some(Case {
        name: name.to_owned(),
        kind: kind.name(),
        format,
        patch: format.write(&path, &hunks),
        path,
        base: source.text.written(),
        after: with_changes(&source.text, changes.iter().enumerate()).written(),
        current: drifted.current.written(),
        hunks,
        with_base: Some(truth.with_base),
        without_base: truth.without_base,
    })
}

fn is_worth_it(kind: Kind, with_base: &Expected, drifted: &Drifted) -> bool {
    let unlanded = drifted.landed.iter().any(|landed| !landed);
    match kind {
        Kind::CoreEdited | Kind::CoreDeleted | Kind::TwinsCoreEdited => *with_base == Expected::Conflict,
        Kind::WhollyApplied | Kind::AppliedThenDrifted => *with_base == Expected::AlreadyApplied,
        _ => unlanded && matches!(with_base, Expected::Right(_) | Expected::RightOrRefused(_)),
    }
}

fn changes(source: &Source, kind: Kind, grammar: &Grammar, rng: &mut Rng) -> Option<Vec<Change>> {
    let (least, most) = kind.changes();
    let wanted = rng.between(least, most);
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..20 * wanted {
        if changes.len() == wanted {
            break;
        }
        let Some(change) = change(source, grammar, rng) else { continue };
        let is_near =
            |other: &Change| change.old.start < other.old.end + 9 && other.old.start < change.old.end + 9;
        if !changes.iter().any(is_near) {
            changes.push(change);
        }
    }
    changes.sort_by_key(|change| change.old.start);
    (changes.len() == wanted).then_some(changes)
}

/// Lines of one function replaced, added or removed, never so that the same edit could be told in two ways.
fn change(source: &Source, grammar: &Grammar, rng: &mut Rng) -> Option<Change> {
    let item = rng.pick(&source.items);
    if item.len() < 5 {
        return None;
    }
    let start = rng.between(item.start + 1, item.end - 3);
    let line = |number: usize| source.text.lines[number].text.as_str();
    let (removed, added) = match rng.below(4) {
        0 => (0, true),
        1 => (rng.between(1, 2), false),
        _ => (rng.between(1, 3), true),
    };
    let old = start..(start + removed).min(item.end - 1);
    let new: Vec<String> = match added {
        false => Vec::new(),
        true if !old.is_empty() && rng.chance(60) => {
            old.clone().map(|number| edited(line(number), grammar, rng)).collect()
        }
        true => {
            let indent = indentation(line(start)).to_owned();
            let written = |line: String| if line.is_empty() { line } else { format!("{indent}{line}") };
            statement(grammar, 0, rng).into_iter().map(written).collect()
        }
    };
    let is_blank = |line: &str| line.trim().is_empty();
    if old.clone().any(|number| is_blank(line(number))) || new.iter().any(|line| is_blank(line)) {
        return None;
    }
    // Nor can the new lines keep one of the old, or slide along a neighbour.
    let beside = [line(old.start - 1), line(old.end)];
    let is_told_once = match new.as_slice() {
        [] => line(old.end) != line(old.start) && line(old.start - 1) != line(old.end - 1),
        [first, .., last] => {
            keeps_nothing(&new, old.clone().map(line))
                && first.trim() != beside[1].trim()
                && last.trim() != beside[0].trim()
        }
        [only] => {
            keeps_nothing(&new, old.clone().map(line)) && beside.iter().all(|line| line.trim() != only.trim())
        }
    };
    is_told_once.then_some(Change { old, new })
}

fn keeps_nothing<'line>(new: &[String], mut old: impl Iterator<Item = &'line str>) -> bool {
    old.all(|old| new.iter().all(|new| new.trim() != old.trim()))
}

/// The first change's block a second time in the base itself, as where a function was copied.
fn add_twin(source: &mut Source, changes: &mut [Change], rng: &mut Rng) -> Option<()> {
    let core = changes[0].old.clone();
    let block = core.start.saturating_sub(4)..(core.end + 4).min(source.text.lines.len());
    let is_far = |place: &usize| *place + 16 < core.start || *place > core.end + 16;
    let places: Vec<usize> = source.items.iter().map(|item| item.start).filter(is_far).collect();
    let place = *places.get(rng.below(places.len().max(1)))?;
    let twin = source.text.lines[block].to_vec();
    if place <= core.start {
        for change in changes.iter_mut() {
            change.old = change.old.start + twin.len()..change.old.end + twin.len();
        }
    }
    source.text.lines.splice(place..place, twin);
    for (number, line) in source.text.lines.iter_mut().enumerate() {
        line.origin = Origin::Base(number);
    }
    // They are no longer where they were, and nothing asks for them in these kinds.
    source.items.clear();
    Some(())
}

/// As models head their codex hunks: the first line of the function.
fn name_functions(source: &Source, changes: &[Change], hunks: &mut [Hunk]) {
    for (change, hunk) in changes.iter().zip(hunks) {
        let around = source.items.iter().find(|item| item.contains(&change.old.start));
        hunk.within = around
            .filter(|item| item.start < hunk.start)
            .map(|item| source.text.lines[item.start].text.clone());
    }
}
