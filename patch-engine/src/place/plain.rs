//! The common case in a fraction of the time: every hunk's `old` stands once, byte for byte, and no `new` stands anywhere.
//! Neither the file's lines nor its hunks' are looked at one by one. Where any rule beyond that could have a say, nothing
//! is decided here, and what is decided is what the ladder comes to.

use shared_contracts::patches::{LineRange, PlacementStep};

use super::Placement;
use super::windows::only_places;
use crate::hunks::{HunkLines, to_u32};
use crate::lines::count_lines;

/// The file with its hunks, where the case is plain.
pub(super) fn plain(text: &str, hunks: &[HunkLines<'_>]) -> Option<Placement> {
    let ends_open = |text: &str| !text.is_empty() && !text.ends_with('\n');
    // Without indentation anywhere the file's habit would have to be learned.
    let is_indented = hunks.iter().any(|hunk| shows_indentation(hunk.old.text()));
    if ends_open(text) || !is_indented || !hunks.iter().all(is_plain) {
        return None;
    }
    let mut order: Vec<(usize, usize)> = only_places(text, hunks)?.into_iter().zip(0..).collect();
    order.sort_unstable();
    put_in(text, hunks, &order)
}

/// Whether only the places of `old` and `new` decide about the hunk. An `old` inside its `new` may have landed in another
/// form.
fn is_plain(hunk: &HunkLines<'_>) -> bool {
    let (old, new) = (&hunk.old, &hunk.new);
    let is_inside = old.len() < new.len() && new.text().contains(old.text());
    !old.is_empty() && !old.is_open() && !new.is_open() && !is_inside
}

fn shows_indentation(text: &str) -> bool {
    text.split_inclusive('\n').any(|line| line.starts_with([' ', '\t']))
}

/// Puts the hunks in, each where its `old` begins; none where they touch the same lines.
fn put_in(text: &str, hunks: &[HunkLines<'_>], order: &[(usize, usize)]) -> Option<Placement> {
    let grown: usize = hunks.iter().map(|hunk| hunk.new_core_text().len()).sum();
    let mut made = String::with_capacity(text.len() + grown);
    let mut ranges = vec![LineRange { first: 0, last: 0 }; hunks.len()];
    // The byte up to which the text is made, the one up to which its lines are counted, and how many there are then.
    let (mut done, mut counted, mut line) = (0, 0, 0);
    for (start, index) in order {
        let (hunk, range) = (hunks.get(*index)?, ranges.get_mut(*index)?);
        line += count_lines(text.get(counted..*start)?);
        let core = hunk.old_core(0);
        made.push_str(text.get(done..start + hunk.old.offset(core.start))?);
        made.push_str(hunk.new_core_text());
        done = start + hunk.old.offset(core.end);
        counted = start + hunk.old.text().len();
        *range = LineRange { first: to_u32(line + 1), last: to_u32(line + hunk.new.len()) };
        line += hunk.new.len();
    }
    made.push_str(text.get(done..)?);
    Some(Placement::Changed { text: made, step: PlacementStep::Exact, lines: ranges })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;
    use shared_contracts::patches::Hunk;

    use super::super::{Base, by_ladder};
    use super::*;
    use crate::lines::Lines;

    /// Few different lines, so that blocks stand twice or nearly so.
    fn a_line() -> impl Strategy<Value = String> {
        let name = select(vec!["first", "second", "third"]);
        prop_oneof![
            3 => (name, 0..40_u32).prop_map(|(name, n)| format!("    let {name}_{n} = read({n});\n")),
            1 => select(vec!["}\n", "\n", "fn main() {\n", "    end();\n"]).prop_map(str::to_owned),
        ]
    }

    fn lines(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(a_line(), count)
    }

    /// What a hunk replaces: its first line, how many it has, and the lines that come in place of one in its middle.
    type Cut = (prop::sample::Index, usize, Vec<String>);

    fn cuts() -> impl Strategy<Value = Vec<Cut>> {
        prop::collection::vec((any::<prop::sample::Index>(), 1..9_usize, lines(0..3)), 1..4)
    }

    fn hunk(file: &[String], (at, count, middle): &Cut) -> Hunk {
        let at = at.index(file.len());
        let old = &file[at..(at + count).min(file.len())];
        let (above, below) = old.split_at(old.len() / 2);
        let new = [above, middle.as_slice(), below.get(1..).unwrap_or_default()].concat();
        Hunk { old: old.concat(), new: new.concat(), ..Hunk::default() }
    }

    fn both(text: &str, hunks: &[Hunk]) -> (Option<Placement>, Placement) {
        let lines: Vec<HunkLines<'_>> = hunks.iter().map(HunkLines::new).collect();
        let slow = by_ladder(&Lines::new(text), Base::Unknown, hunks, &lines);
        (plain(text, &lines), slow.unwrap_or(Placement::Landed))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn comes_to_what_the_ladder_comes_to(file in lines(4..60), cuts in cuts(), repeated in 0..8_usize) {
            let hunks: Vec<Hunk> = cuts.iter().map(|cut| hunk(&file, cut)).collect();
            let text = [&file[..], &file[..repeated.min(file.len())]].concat().concat();
            let (plain, slow) = both(&text, &hunks);
            prop_assert!(plain.is_none_or(|plain| plain == slow));
        }
    }

    #[test]
    fn a_block_that_stands_once_is_plain_and_one_that_stands_twice_is_not() {
        let block = |n: usize| {
            format!(
                "    pub fn handle_{n}() {{\n        let value_{n} = request.read({n});\n        store({n});\n    }}\n"
            )
        };
        let file: String = (0..300).map(block).collect();
        let hunks: Vec<Hunk> = [7, 77, 177, 277]
            .map(|n| Hunk { old: block(n), new: block(n).replace("store", "keep"), ..Hunk::default() })
            .into();
        let (plain, slow) = both(&file, &hunks);
        assert_eq!(plain.as_ref(), Some(&slow));
        assert!(matches!(slow, Placement::Changed { .. }));
        // At every byte of the twin: one more line before it, longer and longer.
        for indented in 0..64 {
            let filler = format!("{}\n", "x".repeat(indented));
            assert_eq!(both(&format!("{file}{filler}{}", block(77)), &hunks).0, None);
            assert_eq!(both(&format!("{filler}{file}{}", hunks[1].new), &hunks).0, None);
            assert!(both(&format!("{filler}{file}"), &hunks).0.is_some());
        }
    }
}
