//! The whole generated corpus through the engine, held against what the engine promises.

use drift_corpus::engine;
use drift_corpus::generate::{CASES, cases};
use drift_corpus::judge::{Verdict, judge};
use drift_corpus::kind::Kind;
use drift_corpus::table::Tally;
use drift_corpus::truth::Expected;

#[test]
fn nothing_is_placed_wrong_and_almost_everything_is_placed() {
    let mut tally = Tally::default();
    let mut broken: Vec<String> = Vec::new();
    for case in cases(CASES) {
        for has_base in [true, false] {
            let Some(expected) = case.expected(has_base) else { continue };
            let planned = engine::answer(&case, has_base);
            let verdict = judge(expected, &case.current, &planned.answer);
            tally.add(case.kind, has_base, verdict);
            let base = if has_base { "with" } else { "without" };
            let mut breaks = |what: &str| broken.push(format!("{what}: {} {base} base", case.name));
            if matches!(verdict, Verdict::Wrong | Verdict::Half) {
                breaks("WRONG");
            }
            let is_ambiguous = matches!(expected, Expected::Ambiguous(_));
            if is_ambiguous && (planned.answer.is_done || !planned.names_candidates()) {
                breaks("not refused with candidates");
            }
            if *expected == Expected::AlreadyApplied && !planned.is_already_applied() {
                breaks("not already applied");
            }
        }
    }
    let table = tally.written();
    assert!(
        broken.is_empty(),
        "{} broken, the first: {:#?}\n{table}",
        broken.len(),
        &broken[..broken.len().min(20)]
    );
    let with_base = tally.total(true).right_percent();
    assert!(with_base >= 99.0, "{with_base:.1} % right with the base\n{table}");
    let one_line = tally.counts(Kind::ContextEdited.name(), false).right_percent();
    assert!(one_line >= 95.0, "{one_line:.1} % right where one context line was edited\n{table}");
}

#[test]
fn the_same_seed_makes_the_same_cases() {
    let (once, again) = (cases(420), cases(420));
    let written = |case: &drift_corpus::case::Case| (case.current.clone(), case.patch.clone());
    assert!(once.iter().map(written).eq(again.iter().map(written)));
}
