//! The fuzz targets of the patch engine, of redaction and of unpacking images, with libFuzzer and a stable compiler: what
//! cargo-fuzz wants a nightly one for are passes that LLVM has anyway.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{capture_quietly, run as run_to_end, text_of};
use crate::setup::outside_cargo;
use crate::{layout, terminal};

/// A workspace of its own: libFuzzer's flags are for this build only.
pub const MANIFEST: &str = "patch-engine/fuzz/Cargo.toml";
const TARGETS: [&str; 8] = [
    "read_unified",
    "read_search_replace",
    "read_codex",
    "read_whole_file",
    "read_json",
    "place",
    "redact",
    "unpack_layers",
];
/// Coverage as libFuzzer reads it.
const RUSTFLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
];
/// Patches and texts may take 100 ms for so much, which their targets hold every input to.
const INPUT_BYTES_MAX: u32 = 100_000;
/// Where a target makes files: on a disk it would try a quarter as many inputs.
const IN_MEMORY: &str = "/dev/shm";
/// For an input that never ends.
const INPUT_SECONDS_MAX: u32 = 10;
const SECONDS_IN_CI: u32 = 3;
const SECONDS_DEFAULT: u32 = 60;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// All unless given.
    pub targets: Vec<String>,
    /// Of each target.
    pub runs: Option<u64>,
    pub seconds: Option<u32>,
}

/// As long as is asked for, from what earlier runs have found.
pub fn run(options: &Options) -> Result<()> {
    if let Some(unknown) = options.targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
        bail!("there is no fuzz target `{unknown}`; there are {}", TARGETS.join(", "));
    }
    let end = match (options.runs, options.seconds) {
        (None, seconds) => vec![format!("-max_total_time={}", seconds.unwrap_or(SECONDS_DEFAULT))],
        (Some(runs), None) => vec![format!("-runs={runs}")],
        (Some(runs), Some(seconds)) => vec![format!("-runs={runs}"), format!("-max_total_time={seconds}")],
    };
    build()?;
    for target in TARGETS {
        if options.targets.is_empty() || options.targets.iter().any(|wanted| wanted == target) {
            let (inputs, took) = fuzz(target, &end)?;
            terminal::found(target, &format!("{inputs} inputs"), Some(took));
        }
    }
    Ok(())
}

/// A few seconds of each target: the kept corpus, then the same inputs every time, as many as the machine manages.
pub fn shortly() -> Result<()> {
    build()?;
    let mut inputs = 0;
    for target in TARGETS {
        let finds = finds(target);
        if finds.exists() {
            fs::remove_dir_all(&finds).with_context(|| format!("cannot remove {}", finds.display()))?;
        }
        inputs += fuzz(target, &["-seed=1".into(), format!("-max_total_time={SECONDS_IN_CI}")])?.0;
    }
    let count = TARGETS.len();
    terminal::found("libFuzzer", &format!("{count} targets, {inputs} inputs: no panic, none too slow"), None);
    Ok(())
}

/// cargo for the fuzz targets; its command and options come next.
pub fn cargo(command: &str) -> Command {
    let mut cargo = Command::new("cargo");
    outside_cargo(&mut cargo);
    cargo
        .args([command, "--quiet", "--locked", "--release", "--manifest-path", MANIFEST])
        // With a target named, programs that cargo runs while it builds are free of the flags.
        .args(["--target", "host-tuple"])
        .current_dir(layout::repository())
        .env("CARGO_TARGET_DIR", target_folder())
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

fn target_folder() -> PathBuf {
    layout::native_target().join("fuzz")
}

/// New inputs that a run has found worth keeping; what should stay is copied into `patch-engine/fuzz/corpus` by hand.
fn finds(target: &str) -> PathBuf {
    target_folder().join("finds").join(target)
}

fn build() -> Result<()> {
    let took = run_to_end("building the fuzz targets", cargo("build").arg("--bins"))?;
    terminal::found("fuzz targets", "ready", Some(took));
    Ok(())
}

/// How many inputs it was given.
fn fuzz(target: &str, end: &[String]) -> Result<(u64, Duration)> {
    let version = text_of(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let finds = finds(target);
    fs::create_dir_all(&finds).with_context(|| format!("cannot make {}", finds.display()))?;
    let mut command = Command::new(target_folder().join(host).join("release").join(target));
    command
        .env("TMPDIR", IN_MEMORY)
        .args(end)
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}-", finds.display()))
        .arg(&finds)
        .arg(layout::repository().join("patch-engine/fuzz/corpus").join(target));
    let output = capture_quietly(&format!("fuzzing {target}"), &mut command)?;
    if !output.is_success {
        bail!("the fuzz target {target} found a fault ({}); it said:\n{}", output.status, output.excerpt);
    }
    let inputs = executed(&output.excerpt).with_context(|| format!("{target} does not say what it did"))?;
    Ok((inputs, output.took))
}

/// `stat::number_of_executed_units: 1234`
fn executed(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_in_the_manifest() {
        let manifest = fs::read_to_string(layout::repository().join(MANIFEST)).unwrap();
        let named = manifest.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let named: Vec<&str> = named.filter(|name| *name != "patch-engine-fuzz").collect();
        assert_eq!(named, TARGETS);
    }

    #[test]
    fn libfuzzer_says_how_many_inputs_it_tried() {
        let said =
            "Done 7 runs in 1 second(s)\nstat::number_of_executed_units: 7\nstat::average_exec_per_sec: 7";
        assert_eq!(executed(said), Some(7));
        assert_eq!(executed("==1== ERROR: libFuzzer: deadly signal"), None);
    }
}
