//! What happens to a file between the moment an edit was made and the moment it is applied.

use std::ops::Range;

use crate::edit::{Change, with_changes};
use crate::grammar::Grammar;
use crate::kind::Kind;
use crate::rng::Rng;
use crate::source::{edited, statement};
use crate::text::{Line, Origin, Text};

/// How a new line has to be indented to stand in the drifted file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reindent {
    Not,
    Deeper(String),
    SpacesToTabs { unit: &'static str },
    TabsToSpaces,
}

impl Reindent {
    pub fn line(&self, line: &str) -> String {
        match self {
            Self::Deeper(more) if !line.trim().is_empty() => format!("{more}{line}"),
            Self::SpacesToTabs { unit } => {
                let rest = line.trim_start_matches(*unit);
                "\t".repeat((line.len() - rest.len()) / unit.len()) + rest
            }
            Self::TabsToSpaces => {
                let rest = line.trim_start_matches('\t');
                "    ".repeat(line.len() - rest.len()) + rest
            }
            Self::Not | Self::Deeper(_) => line.to_owned(),
        }
    }
}

pub struct Drifted {
    pub current: Text,
    /// Which changes are in it already.
    pub landed: Vec<bool>,
    pub reindent: Reindent,
}

pub struct Setting<'case> {
    pub base: &'case Text,
    pub changes: &'case [Change],
    pub items: &'case [Range<usize>],
    pub grammar: &'case Grammar,
    /// Lines of context of the first hunk, above and below.
    pub context: (usize, usize),
}

/// Around a change nothing happens that its kind of drift does not ask for.
const QUIET_LINES: usize = 4;

/// None where the file has no place for this kind of drift; the caller tries another file.
pub fn drift(kind: Kind, setting: &Setting<'_>, rng: &mut Rng) -> Option<Drifted> {
    let count = setting.changes.len();
    let landed: Vec<bool> = match kind {
        Kind::WhollyApplied | Kind::AppliedThenDrifted => vec![true; count],
        Kind::PartlyApplied => {
            let only = rng.below(count);
            let inverted = rng.chance(50);
            (0..count).map(|index| (index == only) != inverted).collect()
        }
        _ => vec![false; count],
    };
    let done = setting.changes.iter().enumerate().filter(|(index, _)| landed[*index]);
    let mut current = with_changes(setting.base, done);
    let mut reindent = Reindent::Not;
    match kind {
        Kind::LinesShifted | Kind::AppliedThenDrifted => shift(&mut current, setting, rng)?,
        Kind::ContextEdited => edit_context(&mut current, setting, 1, rng)?,
        Kind::ContextEditedMore => {
            let lines = rng.between(2, 4);
            edit_context(&mut current, setting, lines, rng)?;
        }
        Kind::TrailingSpace => trailing_space(&mut current, setting, rng),
        Kind::TabsAndSpaces => reindent = tabs(&mut current, setting),
        Kind::Indented => reindent = indent(&mut current, setting)?,
        Kind::LineEndings => current.terminator = if current.terminator == "\n" { "\r\n" } else { "\n" },
        Kind::Punctuation => punctuation(&mut current, setting)?,
        Kind::CloneInserted => clone_block(&mut current, setting, QUIET_LINES, rng)?,
        Kind::CoreCloned => clone_block(&mut current, setting, 1, rng)?,
        Kind::BlockMoved => move_item(&mut current, setting, rng)?,
        Kind::BlocksSwapped => swap_items(&mut current, setting)?,
        Kind::Mixed => {
            shift(&mut current, setting, rng)?;
            edit_context(&mut current, setting, 1, rng)?;
            trailing_space(&mut current, setting, rng);
        }
        Kind::CoreEdited | Kind::TwinsCoreEdited => edit_core(&mut current, setting, rng)?,
        Kind::CoreDeleted => {
            let Change { old: core, new } = &setting.changes[0];
            // Without new lines that would be the edit itself.
            if core.is_empty() || new.is_empty() {
                return None;
            }
            current.lines.retain(|line| !is_base_in(line, core));
        }
        Kind::BaseHasTwin | Kind::HunksReordered | Kind::PartlyApplied | Kind::WhollyApplied => {}
    }
    let shifts_too = matches!(
        kind,
        Kind::ContextEdited
            | Kind::CloneInserted
            | Kind::CoreCloned
            | Kind::BaseHasTwin
            | Kind::PartlyApplied
            | Kind::HunksReordered
            | Kind::CoreEdited
            | Kind::CoreDeleted
            | Kind::TwinsCoreEdited
    );
    if shifts_too && rng.chance(50) {
        shift(&mut current, setting, rng)?;
    }
    Some(Drifted { current, landed, reindent })
}

fn is_base_in(line: &Line, range: &Range<usize>) -> bool {
    matches!(line.origin, Origin::Base(number) if range.contains(&number))
}

/// The change whose quiet neighbourhood a line belongs to.
fn quiet_zone(line: &Line, changes: &[Change]) -> Option<usize> {
    match line.origin {
        Origin::Base(number) => changes.iter().position(|change| {
            (change.old.start.saturating_sub(QUIET_LINES)..change.old.end + QUIET_LINES).contains(&number)
        }),
        Origin::Landed { change } => Some(change),
        Origin::Foreign => None,
    }
}

/// Places between lines where somebody else's lines may stand.
fn free_places(current: &Text, changes: &[Change]) -> Vec<usize> {
    let zone = |place: usize| current.lines.get(place).and_then(|line| quiet_zone(line, changes));
    let is_free = |place: &usize| *place == 0 || zone(*place).is_none() || zone(*place) != zone(*place - 1);
    (0..current.lines.len()).filter(is_free).collect()
}

fn shift(current: &mut Text, setting: &Setting<'_>, rng: &mut Rng) -> Option<()> {
    for _ in 0..rng.between(1, 3) {
        let places = free_places(current, setting.changes);
        if places.is_empty() {
            return None;
        }
        let place = *rng.pick(&places);
        let foreign: Vec<Line> = (0..rng.between(1, 4))
            .flat_map(|_| statement(setting.grammar, 1, rng))
            .map(Line::foreign)
            .collect();
        current.lines.splice(place..place, foreign);
    }
    if rng.chance(40) {
        let start = rng.below(current.lines.len());
        let end = (start + rng.between(1, 5)).min(current.lines.len());
        if current.lines[start..end].iter().all(|line| quiet_zone(line, setting.changes).is_none()) {
            current.lines.drain(start..end);
        }
    }
    Some(())
}

/// Lines of the base in the first hunk's context, none of them blank.
fn context_lines(setting: &Setting<'_>) -> Vec<usize> {
    let core = &setting.changes[0].old;
    let above = core.start.saturating_sub(setting.context.0)..core.start;
    let below = core.end..(core.end + setting.context.1).min(setting.base.lines.len());
    above.chain(below).filter(|line| !setting.base.lines[*line].text.trim().is_empty()).collect()
}

/// With one line: an edit. With more: edits, deletions and insertions. What stands directly beside an insertion stays
/// so, or nobody could say where it belongs.
fn edit_context(current: &mut Text, setting: &Setting<'_>, lines: usize, rng: &mut Rng) -> Option<()> {
    let mut context = context_lines(setting);
    if context.len() < lines.min(2) {
        return None;
    }
    let core = &setting.changes[0].old;
    for _ in 0..lines.min(context.len()) {
        let number = context.swap_remove(rng.below(context.len()));
        let place = current.find(number)?;
        let is_beside = number + 1 == core.start || number == core.end;
        match rng.below(4) {
            0 if lines > 1 && !is_beside => {
                current.lines.remove(place);
            }
            1 if lines > 1 && !is_beside => {
                let foreign = statement(setting.grammar, 1, rng).into_iter().map(Line::foreign);
                current.lines.splice(place..place, foreign);
            }
            _ => {
                let line = &mut current.lines[place].text;
                *line = edited(line, setting.grammar, rng);
            }
        }
    }
    Some(())
}

fn trailing_space(current: &mut Text, setting: &Setting<'_>, rng: &mut Rng) {
    let core = setting.changes[0].old.clone();
    let near = core.start.saturating_sub(1)..core.end + 1;
    for line in &mut current.lines {
        if is_base_in(line, &near) || rng.chance(30) {
            line.text.push_str(rng.pick::<&str>(&["  ", " ", "\t"]));
        }
    }
}

fn tabs(current: &mut Text, setting: &Setting<'_>) -> Reindent {
    let reindent = match setting.grammar.indent {
        "\t" => Reindent::TabsToSpaces,
        unit => Reindent::SpacesToTabs { unit },
    };
    for line in &mut current.lines {
        line.text = reindent.line(&line.text);
    }
    reindent
}

/// The item of a change, where its whole context lies in it.
fn item_around<'items>(setting: &Setting<'items>, change: &Change) -> Option<&'items Range<usize>> {
    let inside = |item: &&Range<usize>| item.start <= change.old.start && change.old.end <= item.end;
    setting.items.iter().find(inside)
}

/// The whole item goes into a block of its own.
fn indent(current: &mut Text, setting: &Setting<'_>) -> Option<Reindent> {
    let change = &setting.changes[0];
    let item = item_around(setting, change)?;
    let (above, below) = setting.context;
    if item.start + above > change.old.start || change.old.end + below > item.end {
        return None;
    }
    let reindent = Reindent::Deeper(setting.grammar.indent.to_owned());
    let (first, last) = (current.find(item.start)?, current.find(item.end - 1)?);
    for line in &mut current.lines[first..=last] {
        line.text = reindent.line(&line.text);
    }
    let (open, close) = setting.grammar.wrap;
    current.lines.insert(last + 1, Line::foreign(close));
    current.lines.insert(first, Line::foreign(open));
    Some(reindent)
}

/// As word processors and chat windows do it.
fn punctuation(current: &mut Text, setting: &Setting<'_>) -> Option<()> {
    let core = setting.changes[0].old.clone();
    let near = core.start.saturating_sub(setting.context.0)..core.end + setting.context.1;
    let mut is_changed = false;
    for line in &mut current.lines {
        let text = typographic(&line.text);
        is_changed |= text != line.text && is_base_in(line, &near);
        line.text = text;
    }
    is_changed.then_some(())
}

pub fn typographic(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut is_open = false;
    for character in line.replace(" - ", " \u{2013} ").chars() {
        match character {
            '"' => {
                is_open = !is_open;
                text.push(if is_open { '\u{201c}' } else { '\u{201d}' });
            }
            '\'' => text.push('\u{2019}'),
            other => text.push(other),
        }
    }
    text
}

/// The change's lines with so many around them a second time, well away from the first.
fn clone_block(current: &mut Text, setting: &Setting<'_>, around: usize, rng: &mut Rng) -> Option<()> {
    let core = &setting.changes[0].old;
    let wanted = core.start.saturating_sub(around)..core.end + around;
    let block: Vec<Line> = current
        .lines
        .iter()
        .filter(|line| is_base_in(line, &wanted))
        .map(|line| Line::foreign(line.text.clone()))
        .collect();
    let at = current.find(core.start)?;
    let places = free_places(current, setting.changes);
    let far: Vec<usize> = places.into_iter().filter(|place| place.abs_diff(at) > 16).collect();
    let place = *far.get(rng.below(far.len().max(1)))?;
    current.lines.splice(place..place, block);
    Some(())
}

fn move_item(current: &mut Text, setting: &Setting<'_>, rng: &mut Rng) -> Option<()> {
    let from = item_around(setting, &setting.changes[0])?;
    let others: Vec<&Range<usize>> =
        setting.items.iter().filter(|item| item.end + 1 < from.start || from.end + 1 < item.start).collect();
    let to = others.get(rng.below(others.len().max(1)))?;
    // With the blank line after it.
    let (first, last) = (current.find(from.start)?, current.find(from.end).or(current.find(from.end - 1))?);
    let moved: Vec<Line> = current.lines.drain(first..=last).collect();
    let place = current.find(to.start)?;
    current.lines.splice(place..place, moved);
    Some(())
}

fn swap_items(current: &mut Text, setting: &Setting<'_>) -> Option<()> {
    let first = item_around(setting, &setting.changes[0])?;
    let second = item_around(setting, &setting.changes[1])?;
    if first == second {
        return None;
    }
    let cut = |item: &Range<usize>| current.lines[item.clone()].to_vec();
    let lines = [
        current.lines[..first.start].to_vec(),
        cut(second),
        current.lines[first.end..second.start].to_vec(),
        cut(first),
        current.lines[second.end..].to_vec(),
    ];
    current.lines = lines.concat();
    Some(())
}

fn edit_core(current: &mut Text, setting: &Setting<'_>, rng: &mut Rng) -> Option<()> {
    let change = &setting.changes[0];
    if change.old.is_empty() {
        return None;
    }
    let number = rng.between(change.old.start, change.old.end - 1);
    let place = current.find(number)?;
    let line = &mut current.lines[place].text;
    let theirs = edited(line, setting.grammar, rng);
    if change.new.iter().any(|ours| ours.trim() == theirs.trim()) || line.trim().is_empty() {
        return None;
    }
    *line = theirs;
    Some(())
}
