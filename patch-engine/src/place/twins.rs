//! Hunks of one edit that say the same: each gets a place of its own, in order.

use std::collections::BTreeMap;

use super::decide::{Found, Places};
use super::occurrences::OCCURRENCES_MAX;
use crate::hunks::HunkLines;

/// Of as many same hunks as there are places for their `old`, each takes one. Those that bring the same have landed at a
/// `new` each.
pub(super) fn each_its_own(lines: &[HunkLines<'_>], places: Vec<Places>) -> Vec<Places> {
    let (mut same, mut bringing) = (Turns::default(), Turns::default());
    for hunk in lines {
        same.count((hunk.old.text(), hunk.new.text()));
        bringing.count(hunk.new.text());
    }
    if bringing.all.len() == lines.len() {
        return places;
    }
    let mut own = Vec::with_capacity(places.len());
    for (hunk, (old, new)) in lines.iter().zip(places) {
        let (turn, hunks) = same.next((hunk.old.text(), hunk.new.text()));
        let (new_turn, new_hunks) = bringing.next(hunk.new.text());
        let is_shared =
            |found: &Found, hunks: usize| hunks > 1 && hunks < OCCURRENCES_MAX && found.places.len() == hunks;
        own.push(match (old, new) {
            (Some(old), None) if is_shared(&old, hunks) => (Some(only(old, turn, hunk.old.len())), None),
            (None, Some(new)) if is_shared(&new, new_hunks) => {
                (None, Some(only(new, new_turn, hunk.new.len())))
            }
            (None, Some(mut new)) if new_turn < new.places.len() => {
                new.places.rotate_left(new_turn);
                (None, Some(new))
            }
            places => places,
        });
    }
    own
}

/// How many there are of each, and how many have been.
struct Turns<K> {
    all: BTreeMap<K, (usize, usize)>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { all: BTreeMap::new() }
    }
}

impl<K: Ord> Turns<K> {
    fn count(&mut self, key: K) {
        self.all.entry(key).or_default().1 += 1;
    }

    /// The turn of this one, and how many there are.
    fn next(&mut self, key: K) -> (usize, usize) {
        let (turn, all) = self.all.entry(key).or_default();
        *turn += 1;
        (*turn - 1, *all)
    }
}

/// All places where they overlap: then the hunks would not leave each other alone.
fn only(mut found: Found, turn: usize, length: usize) -> Found {
    let apart =
        found.places.iter().zip(found.places.iter().skip(1)).all(|(above, below)| above + length <= *below);
    if let (true, Some(at)) = (apart, found.places.get(turn).copied()) {
        found.places = vec![at];
    }
    found
}

#[cfg(test)]
mod tests {
    use shared_contracts::patches::{Hunk, LineRange};

    use super::super::came::{Came, came, hunk};
    use super::super::{Base, Placement, place};

    fn same(hunks: usize) -> Vec<Hunk> {
        vec![hunk("check();\n", "check(now);\n"); hunks]
    }

    fn file(places: usize) -> String {
        (0..places).map(|n| format!("fn number_{n}\ncheck();\n")).collect()
    }

    #[test]
    fn as_many_same_hunks_as_places_take_one_each_in_order() {
        let Ok(Placement::Changed { text, lines, .. }) = place(&file(3), Base::Unknown, &same(3)) else {
            panic!()
        };
        assert_eq!(text, file(3).replace("()", "(now)"));
        assert_eq!(lines, [2, 4, 6].map(|line| LineRange { first: line, last: line }));
        assert_eq!(came(&text, &same(3)), Came::Landed);
    }

    #[test]
    fn more_places_than_same_hunks_are_ambiguous() {
        assert_eq!(came(&file(3), &same(2)), Came::Ambiguous);
    }

    #[test]
    fn places_beyond_those_that_are_counted_are_ambiguous() {
        assert!(matches!(came(&file(9), &same(9)), Came::Text(_)));
        assert_eq!(came(&file(11), &same(10)), Came::Ambiguous);
    }

    #[test]
    fn different_hunks_that_bring_the_same_have_landed_at_one_place_each() {
        let hunks = [hunk("first();\n", "check(now);\n"), hunk("second();\n", "check(now);\n")];
        assert_eq!(came(&file(2).replace("()", "(now)"), &hunks), Came::Landed);
        assert_ne!(came(&file(3).replace("()", "(now)"), &hunks), Came::Landed);
    }
}
