//! Everything CI runs, in the order in which it fails fastest; then, if asked for, what takes too long for it. The
//! first failure ends it.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::process::run_loudly;
use crate::setup::{self, Extent, outside_cargo};
use crate::terminal::{self, Tone};
use crate::{build, check, fuzz, guest, layout, openapi};

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// What CI runs.
    Ordinary,
    /// The long stages as well.
    Long,
}

/// Tests of the container agent that repeat what the variable says: the stage, its target, those of it whose names have
/// this in them; what the variable is in the long run.
const REPEATED: [(&str, &str, &str, &str, &str); 3] = [
    ("bombs", "bombs", "bomb", "PATCHBAY_BOMBS", "100"),
    ("bombs in engines", "oci", "bomb", "PATCHBAY_BOMBS", "100"),
    ("kills", "kills", "kill", "PATCHBAY_KILLS", "1000"),
];
const REDACTION_CASES: &str = "1000000";

/// Tests counted in cargo's own result lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

pub fn everything(length: Length) -> Result<()> {
    setup::everything(Extent::Everything)?;
    let mut total = Count::default();
    let mut outcome = stages(&mut total);
    if length == Length::Long {
        outcome = outcome.and_then(|()| long_stages(&mut total));
    }
    if outcome.is_err() && total.failed == 0 {
        // The stage that failed counts as one: a summary that says `0 failed` must mean it.
        total.failed = 1;
    }
    terminal::line("");
    terminal::line(&format!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.ignored));
    outcome
}

fn stages(total: &mut Count) -> Result<()> {
    stage("format", |_| check::format(), total)?;
    stage("clippy", |_| check::lints(), total)?;
    stage("licences", |_| check::licences(), total)?;
    stage("openapi", |_| openapi::run(true), total)?;
    let unit = ["test", "--workspace", "--exclude", "acceptance", "--locked"];
    stage("unit tests", |total| cargo_test(&unit, &[], total), total)?;
    stage("build", |_| build_all(), total)?;
    stage(
        "acceptance tests",
        |total| cargo_test(&["test", "--package", "acceptance", "--locked"], &[], total),
        total,
    )?;
    stage("fuzz", |_| fuzz::shortly(), total)
}

fn long_stages(total: &mut Count) -> Result<()> {
    stage("guest", in_a_guest, total)?;
    // The properties over cuts and clean lines; so many cases of the others take hours.
    let redaction =
        ["test", "--release", "--package", "redaction", "--locked", "--lib", "--", "sweep", "clean"];
    let cases = [("PROPTEST_CASES", REDACTION_CASES)];
    stage("redaction, long", |total| cargo_test(&redaction, &cases, total), total)?;
    for (what, target, named, variable, count) in REPEATED {
        let arguments = ["test", "--package", "container-agent", "--locked", "--test", target, "--", named];
        let work = |total: &mut Count| cargo_test(&arguments, &[(variable, count)], total);
        stage(&format!("{what}, {count} times"), work, total)?;
    }
    Ok(())
}

fn in_a_guest(total: &mut Count) -> Result<()> {
    let played = guest::run()?;
    total.passed += played.passed;
    total.failed += played.failed;
    if played.failed > 0 {
        bail!("{} scenarios failed; what they said is above", played.failed);
    }
    Ok(())
}

fn build_all() -> Result<()> {
    build::worker()?;
    build::agent()?;
    build::patchctl()?;
    Ok(())
}

/// Runs a stage and says in one line how it went.
fn stage(name: &str, work: impl FnOnce(&mut Count) -> Result<()>, total: &mut Count) -> Result<()> {
    terminal::heading(&format!("── {name}"));
    let started = Instant::now();
    let before = *total;
    let outcome = work(total);
    let counted = match (total.passed - before.passed, total.failed - before.failed) {
        (0, 0) => String::new(),
        (passed, failed) => format!(", {passed} passed, {failed} failed"),
    };
    let (mark, word) = if outcome.is_ok() {
        (terminal::tone(Tone::Good, "✓"), "passed")
    } else {
        (terminal::tone(Tone::Bad, "✗"), "FAILED")
    };
    let took = terminal::seconds(Duration::from_millis(started.elapsed().as_millis() as u64));
    terminal::line(&format!("{mark} {name}: {word}{counted} in {took}"));
    outcome
}

fn cargo_test(arguments: &[&str], variables: &[(&str, &str)], total: &mut Count) -> Result<()> {
    let mut cargo = Command::new("cargo");
    outside_cargo(&mut cargo);
    cargo.args(arguments).envs(variables.iter().copied()).current_dir(layout::repository());
    let mut counted = Count::default();
    let output = run_loudly("cargo test", &mut cargo, &mut |line| {
        if let Some(found) = counted_in(line) {
            counted.passed += found.passed;
            counted.failed += found.failed;
            counted.ignored += found.ignored;
        }
    })?;
    total.passed += counted.passed;
    total.failed += counted.failed;
    total.ignored += counted.ignored;
    if !output.is_success {
        bail!("`cargo {}` failed ({}); what failed is above", arguments.join(" "), output.status);
    }
    if counted.passed == 0 {
        bail!("`cargo {}` ran no test", arguments.join(" "));
    }
    Ok(())
}

/// `test result: ok. 14 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.14s`
fn counted_in(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut found = Count::default();
    for part in counts.split("; ") {
        let Some((number, word)) = part.split_once(' ') else { continue };
        match word {
            "passed" => found.passed = number.parse().ok()?,
            "failed" => found.failed = number.parse().ok()?,
            "ignored" => found.ignored = number.parse().ok()?,
            _ => {}
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line = "test result: FAILED. 14 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.14s";
        assert_eq!(counted_in(line), Some(Count { passed: 14, failed: 2, ignored: 1 }));
        assert_eq!(counted_in("running 3 tests"), None);
    }
}
