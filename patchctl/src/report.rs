//! What is printed: a line for each operation for people and models, or one JSON document. Receipts and refusals go
//! to standard output; everything beside them to standard error.

use std::fmt::Write;
use std::io::IsTerminal;
use std::sync::LazyLock;

use serde::Serialize;
use shared_contracts::patches::{
    KeptReceipt, LineRange, OperationOutcome, OperationReceipt, PatchCheck, PlacementStep, TreeReceipt,
};
use shared_contracts::problem::Problem;

use crate::disk::Recovered;
use crate::failure::Failure;

#[derive(Clone, Copy)]
enum Colour {
    Green,
    Yellow,
    Red,
    Dim,
}

impl Colour {
    fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Red => 31,
            Self::Dim => 2,
        };
        if is_coloured() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Only on a terminal, and not where the user said no (<https://no-color.org>).
fn is_coloured() -> bool {
    static IS_COLOURED: LazyLock<bool> = LazyLock::new(|| {
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    });
    *IS_COLOURED
}

pub fn recovered(recovered: Recovered) {
    if let Some(said) = recovery(recovered) {
        eprintln!("patchctl: {said}");
    }
}

/// What became of a run before, where that matters to anyone.
pub fn recovery(recovered: Recovered) -> Option<&'static str> {
    match recovered {
        Recovered::Nothing | Recovered::Discarded => None,
        Recovered::Finished => Some("finished what a killed run had begun"),
        Recovered::TakenBack => Some("took back what a killed run had begun"),
    }
}

/// Whether what is said of a patch has happened, or would have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Done,
    Would,
}

pub fn receipt(receipt: &TreeReceipt, mood: Mood, as_json: bool) -> String {
    if as_json {
        return json(receipt);
    }
    let mut text = String::new();
    notes(&mut text, &receipt.notes);
    operations(&mut text, mood, &receipt.operations);
    if let Some(id) = receipt.id {
        let _ = writeln!(text, "{}", Colour::Dim.paint(&format!("receipt {id}")));
    }
    text
}

pub fn server_receipt(kept: &KeptReceipt, as_json: bool) -> String {
    if as_json {
        return json(kept);
    }
    let mut text = String::new();
    let receipt = &kept.receipt;
    notes(&mut text, &kept.reading.notes);
    operations(&mut text, Mood::Done, &receipt.operations);
    let _ = writeln!(text, "receipt {}, revision {}", receipt.patch_batch_id, receipt.revision_after);
    text
}

pub fn checked(checked: &PatchCheck, as_json: bool) -> String {
    if as_json {
        return json(checked);
    }
    let mut text = String::new();
    notes(&mut text, &checked.reading.notes);
    operations(&mut text, Mood::Would, &checked.operations);
    let _ = writeln!(text, "checked against revision {}", checked.revision);
    text
}

/// For standard output; a failure that is no answer about a patch goes to standard error.
pub fn failure(failure: &Failure, as_json: bool) -> String {
    let problem = failure.problem();
    if as_json {
        return json(&problem);
    }
    if problem.outcomes.is_empty() {
        eprintln!("patchctl: {failure}");
        for fault in &problem.faults {
            eprintln!("  {}: {}", fault.field, fault.message);
        }
        return String::new();
    }
    // The same words whoever refuses: a server's point into its document.
    let refused = problem.outcomes.iter().filter(|receipt| !receipt.outcome.is_success()).count();
    let all = problem.outcomes.len();
    let detail = format!("{refused} of {all} operations refused; nothing was changed");
    refusal(&Problem { detail, ..problem })
}

/// What is wrong, then what became of each operation.
pub fn refusal(problem: &Problem) -> String {
    let mut text = format!("{}\n", Colour::Red.paint(&problem.detail));
    operations(&mut text, Mood::Would, &problem.outcomes);
    text
}

pub fn json(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document);
    text.map_or_else(|error| format!("{{\"error\":\"{error}\"}}\n"), |text| text + "\n")
}

fn notes(text: &mut String, notes: &[String]) {
    for note in notes {
        let _ = writeln!(text, "{}", Colour::Dim.paint(&format!("note: {note}")));
    }
}

fn operations(text: &mut String, mood: Mood, receipts: &[OperationReceipt]) {
    for receipt in receipts {
        let (word, colour) = word(mood, &receipt.outcome);
        let said = said(&receipt.outcome);
        // A part that cannot be read may name no path.
        let path = visible(&receipt.path);
        let colon = if path.is_empty() || said.is_empty() { "" } else { ": " };
        let _ = write!(text, "{} {path}{colon}", colour.paint(&format!("{word:<15}")));
        match said.split_once('\n') {
            None => {
                let _ = writeln!(text, "{said}");
            }
            Some((first, rest)) => {
                let _ = writeln!(text, "{first}");
                for line in rest.lines() {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
    }
}

/// A refused path may hold what moves a terminal's cursor.
fn visible(path: &str) -> String {
    path.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn word(mood: Mood, outcome: &OperationOutcome) -> (&'static str, Colour) {
    match outcome {
        OperationOutcome::Applied { .. } if mood == Mood::Would => ("would apply", Colour::Green),
        OperationOutcome::Applied { .. } => ("applied", Colour::Green),
        OperationOutcome::AlreadyApplied => ("already applied", Colour::Yellow),
        OperationOutcome::StaleBase { .. } => ("stale base", Colour::Red),
        OperationOutcome::Ambiguous { .. } => ("ambiguous", Colour::Red),
        OperationOutcome::NoMatch { .. } => ("no match", Colour::Red),
        OperationOutcome::MissingFile { .. } => ("missing file", Colour::Red),
        OperationOutcome::FileExists { .. } => ("file exists", Colour::Red),
        OperationOutcome::NotText { .. } => ("not text", Colour::Red),
        OperationOutcome::TooLarge { .. } => ("too large", Colour::Red),
        OperationOutcome::DeniedPath { .. } => ("denied path", Colour::Red),
        OperationOutcome::Overlaps { .. } => ("overlaps", Colour::Red),
        OperationOutcome::Malformed { .. } => ("malformed", Colour::Red),
    }
}

/// The rest of the line, and lines below it.
fn said(outcome: &OperationOutcome) -> String {
    match outcome {
        OperationOutcome::Applied { step, lines } => applied(*step, lines),
        OperationOutcome::AlreadyApplied => String::new(),
        OperationOutcome::Ambiguous { candidates, hint, .. } => {
            let mut text = hint.clone();
            for candidate in candidates {
                let _ = write!(text, "\n{} ({} %)", lines_named(&candidate.lines), candidate.score_percent);
                indent(&mut text, &candidate.excerpt);
            }
            text
        }
        OperationOutcome::NoMatch { nearest, hint, .. } => {
            let mut text = hint.clone();
            if let Some(nearest) = nearest {
                let _ =
                    write!(text, "\nnearest: {} ({} %)", lines_named(&nearest.lines), nearest.score_percent);
                indent(&mut text, &nearest.diff);
            }
            text
        }
        OperationOutcome::Malformed { line, column, what, hint } => match (line, column) {
            (Some(line), Some(column)) => format!("line {line}, column {column}: {what}. {hint}"),
            (Some(line), None) => format!("line {line}: {what}. {hint}"),
            (None, _) => format!("{what}. {hint}"),
        },
        OperationOutcome::DeniedPath { why } => why.clone(),
        OperationOutcome::Overlaps { with, hint } => format!("with operation {}: {hint}", with + 1),
        OperationOutcome::StaleBase { hint, .. }
        | OperationOutcome::MissingFile { hint }
        | OperationOutcome::FileExists { hint }
        | OperationOutcome::NotText { hint }
        | OperationOutcome::TooLarge { hint } => hint.clone(),
    }
}

fn indent(text: &mut String, lines: &str) {
    for line in lines.lines() {
        let _ = write!(text, "\n  {line}");
    }
}

fn applied(step: PlacementStep, lines: &[LineRange]) -> String {
    let step = match step {
        PlacementStep::Base => "on its base",
        PlacementStep::Provenance => "by provenance",
        PlacementStep::Exact => "exact",
        PlacementStep::LineEndings => "but for line endings",
        PlacementStep::TrailingSpace => "but for trailing space",
        PlacementStep::Indentation => "but for indentation",
        PlacementStep::Punctuation => "but for punctuation",
        PlacementStep::Partial => "context partly edited",
    };
    let mut text = step.to_owned();
    for (index, range) in lines.iter().enumerate() {
        let _ = write!(text, "{}{}", if index == 0 { ", " } else { "; " }, lines_named(range));
    }
    text
}

fn lines_named(range: &LineRange) -> String {
    match range.last {
        last if last < range.first => format!("before line {}", range.first),
        last if last == range.first => format!("line {last}"),
        last => format!("lines {}-{last}", range.first),
    }
}
