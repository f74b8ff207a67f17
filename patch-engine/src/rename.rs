//! Which deleted and created files are one file that moved: first those of exactly the same content, then small text
//! files of which at least half stayed. The work is bounded; what is left over is deleted and created.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use shared_contracts::hash::Sha256;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::hunks::lines_of;
use crate::ordered::{map, set};
use crate::{File, FileChange};

/// Larger files are compared by their hash only.
const SIMILAR_BYTES_MAX: usize = 256 * 1024;
/// Lines looked at in all comparisons together: about a second in WASM.
const SIMILARITY_LINES_MAX: usize = 20_000_000;
/// Pairs weighed, so that many tiny files cost no more than few long ones.
const SIMILARITY_PAIRS_MAX: usize = 250_000;
const SIMILARITY_PERCENT_MIN: usize = 50;

/// A file as one side of a change.
#[derive(Clone, Copy)]
pub(crate) struct Side<'change> {
    pub(crate) path: &'change WorkspacePath,
    pub(crate) file: &'change File,
}

#[derive(Clone, Copy)]
pub(crate) struct Moved<'change> {
    pub(crate) from: Side<'change>,
    pub(crate) to: Side<'change>,
    pub(crate) similarity_percent: usize,
}

/// Changes by kind; each ordered by path, moves by their old one.
#[derive(Default)]
pub(crate) struct Sorted<'change> {
    pub(crate) deleted: Vec<Side<'change>>,
    pub(crate) moved: Vec<Moved<'change>>,
    pub(crate) modified: Vec<(Side<'change>, Side<'change>)>,
    pub(crate) created: Vec<Side<'change>>,
}

pub(crate) fn sort(changes: &[FileChange]) -> Sorted<'_> {
    let mut sorted = Sorted::default();
    for (path, change) in map(changes.iter().map(|change| (&change.path, change))) {
        match (&change.before, &change.after) {
            (Some(before), Some(after)) if before != after => {
                sorted.modified.push((Side { path, file: before }, Side { path, file: after }));
            }
            (Some(file), None) => sorted.deleted.push(Side { path, file }),
            (None, Some(file)) => sorted.created.push(Side { path, file }),
            _ => {}
        }
    }
    let mut moved = exact(&sorted);
    moved.extend(similar(&sorted, &moved));
    sorted.keep_possible(moved);
    sorted
}

impl<'change> Sorted<'change> {
    /// Takes the moved files out of the deleted and created ones. A file that moves above, below or into the place of
    /// another that moves would need an order of moves that may not exist, so it is deleted and created instead.
    fn keep_possible(&mut self, mut moved: Vec<Moved<'change>>) {
        let sources: BTreeSet<&str> = set(moved.iter().map(|moved| moved.from.path.as_str()));
        moved.retain(|moved| {
            let directory = format!("{}/", moved.to.path);
            let next =
                sources.range::<str, _>((Bound::Included(directory.as_str()), Bound::Unbounded)).next();
            let above_one = next.is_some_and(|source| source.starts_with(&directory));
            !above_one && !moved.to.path.ancestors().any(|ancestor| sources.contains(ancestor))
        });
        moved.sort_unstable_by_key(|moved| moved.from.path);
        let from = set(moved.iter().map(|moved| moved.from.path));
        let to = set(moved.iter().map(|moved| moved.to.path));
        self.deleted.retain(|side| !from.contains(side.path));
        self.created.retain(|side| !to.contains(side.path));
        self.moved = moved;
    }
}

/// Pairs of the same content; of several the one with the same name first, then in order of path. Empty files are all
/// alike and say nothing.
fn exact<'change>(sorted: &Sorted<'change>) -> Vec<Moved<'change>> {
    type Key = (Sha256, bool);
    let key = |side: &Side<'_>| (Sha256::of(&side.file.bytes), side.file.mode == FileMode::Symlink);
    let mut sources: BTreeMap<Key, Vec<Option<Side<'change>>>> = BTreeMap::new();
    if sorted.created.is_empty() {
        return Vec::new();
    }
    for side in sorted.deleted.iter().filter(|side| !side.file.bytes.is_empty()) {
        sources.entry(key(side)).or_default().push(Some(*side));
    }
    let mut by_name: BTreeMap<(Key, &str), Vec<usize>> = BTreeMap::new();
    for (key, sides) in &sources {
        for (index, side) in sides.iter().enumerate().rev() {
            by_name.entry((*key, side.map_or("", |side| name(side.path)))).or_default().push(index);
        }
    }
    let mut moved = Vec::new();
    let mut later = Vec::new();
    let mut pair = |from: Side<'change>, to: &Side<'change>| {
        moved.push(Moved { from, to: *to, similarity_percent: 100 });
    };
    for to in &sorted.created {
        let key = key(to);
        let same_name = by_name.get_mut(&(key, name(to.path))).and_then(Vec::pop);
        match same_name.and_then(|index| sources.get_mut(&key)?.get_mut(index)?.take()) {
            Some(from) => pair(from, to),
            None => later.push((key, to)),
        }
    }
    let mut left: BTreeMap<Key, _> =
        map(sources.into_iter().map(|(key, sides)| (key, sides.into_iter().flatten())));
    for (key, to) in later {
        if let Some(from) = left.get_mut(&key).and_then(Iterator::next) {
            pair(from, to);
        }
    }
    moved
}

fn name(path: &WorkspacePath) -> &str {
    path.as_str().rsplit('/').next().unwrap_or_default()
}

/// A small text's lines as sorted hashes with lengths. Equal hashes of unequal lines would only misjudge a likeness.
struct Sketch<'change> {
    side: Side<'change>,
    lines: Vec<(u64, usize)>,
}

fn sketch<'change>(side: &Side<'change>) -> Option<Sketch<'change>> {
    let bytes = side.file.bytes.len();
    if bytes == 0 || bytes > SIMILAR_BYTES_MAX {
        return None;
    }
    let hash = |line: &str| {
        let mut hasher = DefaultHasher::new();
        line.hash(&mut hasher);
        hasher.finish()
    };
    let mut lines: Vec<(u64, usize)> =
        lines_of(side.file.text()?).into_iter().map(|line| (hash(line), line.len())).collect();
    lines.sort_unstable();
    Some(Sketch { side: *side, lines })
}

/// The share of the larger file that stands in the other, in percent of bytes.
fn similarity_percent(one: &Sketch<'_>, other: &Sketch<'_>) -> usize {
    let (mut left, mut right) = (one.lines.iter().peekable(), other.lines.iter().peekable());
    let mut common_bytes = 0;
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match a.cmp(b) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                common_bytes += a.1;
                left.next();
                right.next();
            }
        }
    }
    let bytes = one.side.file.bytes.len().max(other.side.file.bytes.len());
    (common_bytes * 100).checked_div(bytes).unwrap_or_default()
}

/// The best pairs first. Files of one name are weighed before all others, in case the bound cuts the work short.
fn similar<'change>(sorted: &Sorted<'change>, exact: &[Moved<'change>]) -> Vec<Moved<'change>> {
    let taken = set(exact.iter().flat_map(|moved| [moved.from.path, moved.to.path]));
    let open = |sides: &[Side<'change>]| -> Vec<Sketch<'change>> {
        sides.iter().filter(|side| !taken.contains(side.path)).filter_map(sketch).collect()
    };
    let sources = open(&sorted.deleted);
    let targets = if sources.is_empty() { Vec::new() } else { open(&sorted.created) };
    let mut pairs = Vec::new();
    let mut lines = 0;
    for same_name in [true, false] {
        let all = sources.iter().flat_map(|from| targets.iter().map(move |to| (from, to)));
        for (from, to) in all.take(SIMILARITY_PAIRS_MAX) {
            let sizes = (from.side.file.bytes.len(), to.side.file.bytes.len());
            let could_be = sizes.0.min(sizes.1) * 100 >= sizes.0.max(sizes.1) * SIMILARITY_PERCENT_MIN;
            let fits = (name(from.side.path) == name(to.side.path)) == same_name;
            if !could_be || !fits || lines > SIMILARITY_LINES_MAX {
                continue;
            }
            lines += from.lines.len() + to.lines.len();
            let similarity_percent = similarity_percent(from, to);
            if similarity_percent >= SIMILARITY_PERCENT_MIN {
                pairs.push((!same_name, Moved { from: from.side, to: to.side, similarity_percent }));
            }
        }
    }
    pairs.sort_unstable_by_key(|(other_name, moved)| {
        (100 - moved.similarity_percent.min(100), *other_name, moved.from.path, moved.to.path)
    });
    let mut used = BTreeSet::new();
    let mut best = Vec::new();
    for (_, moved) in pairs {
        if !used.contains(moved.from.path) && !used.contains(moved.to.path) {
            used.extend([moved.from.path, moved.to.path]);
            best.push(moved);
        }
    }
    best
}
