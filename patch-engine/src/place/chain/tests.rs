use proptest::prelude::*;

use super::super::{Base, place, take_back};
use super::*;

/// Each edit by itself on what the one before left.
fn one_by_one(text: &str, edits: &[&[Hunk]], direction: Direction) -> (Vec<OperationOutcome>, String) {
    let mut text = text.to_owned();
    let by_itself = |text: &str, hunks| match direction {
        Direction::Forth => place(text, Base::Unknown, hunks),
        Direction::Back => take_back(text, hunks),
    };
    let outcomes = edits.iter().map(|hunks| match by_itself(&text, hunks) {
        Ok(Placement::Changed { text: after, step, lines }) => {
            text = after;
            OperationOutcome::Applied { step, lines }
        }
        Ok(Placement::Landed) => OperationOutcome::AlreadyApplied,
        Err(refusal) => refusal,
    });
    (outcomes.collect(), text)
}

fn in_chains(text: &str, edits: &[&[Hunk]], direction: Direction) -> (Vec<OperationOutcome>, String, usize) {
    let (mut text, mut outcomes, mut chains) = (text.to_owned(), Vec::new(), 0);
    while outcomes.len() < edits.len() {
        let mut chain = chain(&text, &edits[outcomes.len()..], direction);
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
    let (outcomes, after, chains) = in_chains(&text, &apart, Direction::Forth);
    assert_eq!((outcomes, after), one_by_one(&text, &apart, Direction::Forth));
    assert_eq!(chains, 1);
    let built = [[hunk("line 3\n", "x\n")], [hunk("x\n", "y\n")], [hunk("line 2\ny\n", "z\n")]];
    let built: Vec<&[Hunk]> = built.iter().map(<[Hunk; 1]>::as_slice).collect();
    let (outcomes, after, chains) = in_chains(&text, &built, Direction::Forth);
    assert_eq!((outcomes, after), one_by_one(&text, &built, Direction::Forth));
    assert_eq!(chains, 3);
}

#[test]
fn edits_that_each_copy_the_function_above_under_another_name_are_one_chain() {
    let body = "    step_one();\n    step_two();\n    step_three();\n}\n";
    let function = |name: &str, n: usize| format!("fn {name}_{n}() {{\n{body}");
    let text: String = (0..40).map(|n| function("f", n) + "\n").collect();
    let copies: Vec<[Hunk; 1]> = (0..39)
        .map(|n| {
            let below = format!("fn f_{}() {{\n", n + 1);
            [hunk(&format!("}}\n\n{below}"), &format!("}}\n\n{}\n{below}", function("g", n)))]
        })
        .collect();
    let copies: Vec<&[Hunk]> = copies.iter().map(<[Hunk; 1]>::as_slice).collect();
    let (outcomes, after, chains) = in_chains(&text, &copies, Direction::Forth);
    assert_eq!(chains, 1);
    assert_eq!((outcomes, after), one_by_one(&text, &copies, Direction::Forth));
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

#[test]
fn what_went_elsewhere_counts_for_what_stands_beside() {
    let text = "one();\ntwo();\nfar();\nbetween();\nand();\none();\ntwo();\nhere();\n";
    let edits = [
        [hunk("one();\ntwo();\nfar();\n", "far();\n")],
        [hunk("here();\n", "one();\ntwo();\nthree();\nhere();\n")],
    ];
    let edits: Vec<&[Hunk]> = edits.iter().map(<[Hunk; 1]>::as_slice).collect();
    let (outcomes, after, _) = in_chains(text, &edits, Direction::Forth);
    assert!(matches!(outcomes.as_slice(), [_, OperationOutcome::Ambiguous { .. }]), "{outcomes:?}");
    assert_eq!((outcomes, after), one_by_one(text, &edits, Direction::Forth));
}

/// Where an edit is, of how many lines, how many of them stay above what comes, what that is, and how many of the lines
/// above are copied with it.
type Seed = (usize, usize, usize, String, usize);

/// Stretches of the text with some lines changed, or with near copies of what is above.
fn edits(text: &str, seeds: &[Seed]) -> Vec<[Hunk; 1]> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let edits = seeds.iter().map(|(at, length, kept, other, copied)| {
        let at = at % lines.len().max(1);
        let end = (at + length).min(lines.len());
        let old = &lines[at..end];
        let kept = kept % (old.len() + 1);
        let copy = &lines[at.saturating_sub(*copied)..at];
        let rest = if copy.is_empty() { (kept + 1).min(old.len()) } else { kept };
        let new = format!("{}{}{other}{}", old[..kept].concat(), copy.concat(), old[rest..].concat());
        [hunk(&old.concat(), &new)]
    });
    edits.filter(|edit| edit[0].old != edit[0].new).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn same_as_one_by_one(
        text in lines(40),
        seeds in prop::collection::vec((0..40_usize, 1..5_usize, 0..5_usize, lines(3), 0..8_usize), 1..8),
    ) {
        let edits = edits(&text, &seeds);
        let edits: Vec<&[Hunk]> = edits.iter().map(<[Hunk; 1]>::as_slice).collect();
        let (expected, after) = one_by_one(&text, &edits, Direction::Forth);
        prop_assert_eq!(same(&in_chains(&text, &edits, Direction::Forth), &expected, &after), Ok(()));
        let newest_first: Vec<&[Hunk]> = edits.iter().rev().copied().collect();
        let (expected, before) = one_by_one(&after, &newest_first, Direction::Back);
        prop_assert_eq!(same(&in_chains(&after, &newest_first, Direction::Back), &expected, &before), Ok(()));
    }
}

/// What a refusal shows of lines around may be from before.
fn same(
    (outcomes, text, _): &(Vec<OperationOutcome>, String, usize),
    expected: &[OperationOutcome],
    expected_text: &str,
) -> Result<(), String> {
    for (outcome, expected) in outcomes.iter().zip(expected) {
        let are_same = if outcome.is_success() { outcome == expected } else { !expected.is_success() };
        if !are_same {
            return Err(format!("{outcome:?} instead of {expected:?}"));
        }
    }
    if text == expected_text { Ok(()) } else { Err(format!("{text:?} instead of {expected_text:?}")) }
}
