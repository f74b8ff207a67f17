//! What the command prints: the engine's table, the peers' table, single cases for a closer look.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::case::Case;
use crate::engine;
use crate::judge::{Verdict, judge};
use crate::peers::{PEERS, Peer};
use crate::table::{Compared, Counts, Tally, compared};
use crate::truth::Expected;

impl Case {
    pub fn expected(&self, has_base: bool) -> Option<&Expected> {
        if has_base { self.with_base.as_ref() } else { self.without_base.as_ref() }
    }
}

/// Every case with and without its base, as far as its truth is known.
pub fn engine(cases: &[Case], shown: &[Verdict]) -> Tally {
    let mut tally = Tally::default();
    for case in cases {
        for has_base in [true, false] {
            let Some(expected) = case.expected(has_base) else { continue };
            let planned = engine::answer(case, has_base);
            let verdict = judge(expected, &case.current, &planned.answer);
            tally.add(case.kind, has_base, verdict);
            if shown.contains(&verdict) {
                show(case, has_base, verdict, expected, &planned);
            }
        }
    }
    tally
}

fn show(case: &Case, has_base: bool, verdict: Verdict, expected: &Expected, planned: &engine::Planned) {
    let base = if has_base { "with" } else { "without" };
    println!("\n=== {} {base} base: {verdict:?}", case.name);
    println!("{}", case.patch);
    for outcome in &planned.outcomes {
        println!("--- {outcome:?}");
    }
    match expected {
        Expected::Right(text) | Expected::RightOrRefused(text) | Expected::Ambiguous(text) => {
            println!(
                "--- wanted instead of what came:\n{}",
                engine::difference(&planned.answer.content, text)
            );
        }
        Expected::AlreadyApplied | Expected::AlreadyAppliedOrRefused => {
            println!("--- wanted: already applied")
        }
        Expected::Conflict => println!(
            "--- wanted: refused; came:\n{}",
            engine::difference(&case.current, &planned.answer.content)
        ),
    }
}

/// The same cases through the engine and through every peer that takes their formats and is here.
pub fn peers(cases: &[Case], folder: &Path) -> Result<String> {
    let mut rows = Vec::new();
    for (name, has_base) in [("patch-engine, with base", true), ("patch-engine, without", false)] {
        let counts = counted(
            cases,
            has_base,
            |_| true,
            |taken| Ok(taken.iter().map(|case| engine::answer(case, has_base).answer).collect()),
        )?;
        rows.push(Compared { name: name.to_owned(), counts });
    }
    for peer in PEERS {
        let name = peer.name();
        let program = match peer.program(folder) {
            Ok(program) => program,
            Err(why) => {
                eprintln!("{name}: not compared: {why:#}");
                continue;
            }
        };
        let started = Instant::now();
        let takes = |case: &Case| peer.takes(case.format);
        let counts = counted(cases, peer.has_base(), takes, |taken| peer.answers(&program, taken))?;
        eprintln!("{name}: {} cases in {:.1?}", counts.all(), started.elapsed());
        rows.push(Compared { name: format!("{name}, {}", formats(peer)), counts });
    }
    Ok(compared(&rows))
}

fn formats(peer: Peer) -> &'static str {
    match peer {
        Peer::GnuPatch | Peer::GitApply | Peer::GitApplyC1 => "unified diff",
        Peer::GitMergeFile => "the three texts",
        Peer::CodexApplyPatch => "codex envelope",
        Peer::AiderSearchReplace => "search/replace",
    }
}

fn counted(
    cases: &[Case],
    has_base: bool,
    takes: impl Fn(&Case) -> bool,
    answers: impl FnOnce(&[&Case]) -> Result<Vec<crate::judge::Answer>>,
) -> Result<Counts> {
    let known = |case: &&Case| takes(case) && case.expected(has_base).is_some();
    let taken: Vec<&Case> = cases.iter().filter(known).collect();
    let mut counts = Counts::default();
    for (case, answer) in taken.iter().zip(answers(&taken)?) {
        let expected = case.expected(has_base).expect("only such cases are taken");
        counts.add(judge(expected, &case.current, &answer));
    }
    Ok(counts)
}
