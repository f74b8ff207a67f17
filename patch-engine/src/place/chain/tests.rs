use proptest::prelude::*;

use super::super::{Base, place};
use super::*;

/// Each edit by itself on what the one before left.
fn one_by_one(text: &str, edits: &[&[Hunk]]) -> (Vec<OperationOutcome>, String) {
    let mut text = text.to_owned();
    let outcomes = edits.iter().map(|hunks| match place(&text, Base::Unknown, hunks) {
        Ok(Placement::Changed { text: after, step, lines }) => {
            text = after;
            OperationOutcome::Applied { step, lines }
        }
        Ok(Placement::Landed) => OperationOutcome::AlreadyApplied,
        Err(refusal) => refusal,
    });
    (outcomes.collect(), text)
}

fn in_chains(text: &str, edits: &[&[Hunk]]) -> (Vec<OperationOutcome>, String, usize) {
    let (mut text, mut outcomes, mut chains) = (text.to_owned(), Vec::new(), 0);
    while outcomes.len() < edits.len() {
        let mut chain = chain(&text, &edits[outcomes.len()..], Direction::Forth);
        assert!(!chain.outcomes.is_empty());
        outcomes.append(&mut chain.outcomes);
        text = chain.text.unwrap_or(text);
        chains += 1;
    }
    (outcomes, text, chains)
}

fn hunk(old: &str, new: &str) -> Hunk {
    Hunk { old: old.into(), new: new.into(), ..Hunk::default() }
}

#[test]
fn edits_apart_are_one_chain_and_edits_of_edits_are_not() {
    let text: String = (0..500).map(|line| format!("line {line}\n")).collect();
    let apart: Vec<[Hunk; 1]> =
        (0..50).map(|n| [hunk(&format!("line {}\n", n * 10), &format!("new {n}\nand\n"))]).collect();
    let apart: Vec<&[Hunk]> = apart.iter().map(<[Hunk; 1]>::as_slice).collect();
    let (outcomes, after, chains) = in_chains(&text, &apart);
    assert_eq!((outcomes, after), one_by_one(&text, &apart));
    assert_eq!(chains, 1);
    let built = [[hunk("line 3\n", "x\n")], [hunk("x\n", "y\n")], [hunk("line 2\ny\n", "z\n")]];
    let built: Vec<&[Hunk]> = built.iter().map(<[Hunk; 1]>::as_slice).collect();
    let (outcomes, after, chains) = in_chains(&text, &built);
    assert_eq!((outcomes, after), one_by_one(&text, &built));
    assert_eq!(chains, 3);
}

fn lines(most: usize) -> impl Strategy<Value = String> {
    let line = prop_oneof![
        4 => (0..40_u8).prop_map(|n| format!("    let value_{n} = read({n});\n")),
        1 => Just("}\n".to_owned()),
        1 => Just("\n".to_owned()),
        1 => (0..6_u8).prop_map(|n| format!("say(\u{201c}{n}\u{201d})\r\n")),
    ];
    prop::collection::vec(line, 0..most).prop_map(|lines| lines.concat())
}

/// Stretches of the text with some lines changed, and edits of something else.
fn edits(text: &str, seeds: &[(usize, usize, usize, String)]) -> Vec<[Hunk; 1]> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let edits = seeds.iter().map(|(at, length, kept, other)| {
        let at = at % lines.len().max(1);
        let end = (at + length).min(lines.len());
        let old = &lines[at..end];
        let kept = kept % (old.len() + 1);
        let new = format!("{}{other}{}", old[..kept].concat(), old[(kept + 1).min(old.len())..].concat());
        [hunk(&old.concat(), &new)]
    });
    edits.filter(|edit| edit[0].old != edit[0].new).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn same_as_one_by_one(
        text in lines(40),
        seeds in prop::collection::vec((0..40_usize, 1..5_usize, 0..5_usize, lines(3)), 1..8),
    ) {
        let edits = edits(&text, &seeds);
        let edits: Vec<&[Hunk]> = edits.iter().map(<[Hunk; 1]>::as_slice).collect();
        let (expected, expected_text) = one_by_one(&text, &edits);
        let (outcomes, after, _) = in_chains(&text, &edits);
        prop_assert_eq!(after, expected_text);
        for (outcome, expected) in outcomes.iter().zip(&expected) {
            match outcome.is_success() {
                true => prop_assert_eq!(outcome, expected),
                // What a refusal shows of lines around may be from before.
                false => prop_assert!(!expected.is_success(), "{:?} {:?}", outcome, expected),
            }
        }
    }
}
