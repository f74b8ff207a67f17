//! What must hold before tests are worth running: format, lints, licences, generated files.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::fuzz;
use crate::layout;
use crate::openapi;
use crate::process::{capture_quietly, run, run_loudly};
use crate::setup::{self, CARGO_DENY, Extent, WASM_TARGET, WasmToolchain, outside_cargo};
use crate::terminal;

/// Where cargo-deny's own words say that it could not get the advisories.
const UNREACHABLE: [&str; 3] = ["failed to fetch advisory database", "unable to fetch", "failed to fetch"];

/// This workspace, and the one of the fuzz targets.
const MANIFESTS: [&str; 2] = ["Cargo.toml", fuzz::MANIFEST];

pub fn everything() -> Result<()> {
    setup::everything(Extent::Everything)?;
    terminal::heading("Check");
    format()?;
    lints()?;
    licences()?;
    openapi::run(true)
}

pub fn format() -> Result<()> {
    let mut took = Duration::ZERO;
    for manifest in MANIFESTS {
        let mut fmt = cargo();
        fmt.args(["fmt", "--all", "--manifest-path", manifest, "--", "--check", "-l"]);
        let output = capture_quietly("checking the format", &mut fmt)?;
        if !output.is_success {
            bail!("not formatted, run `cargo fmt --all --manifest-path {manifest}`:\n{}", output.excerpt);
        }
        took += output.took;
    }
    terminal::found("format", "rustfmt has nothing to change", Some(took));
    Ok(())
}

/// clippy for this machine, and for the Worker's own target, where other code is compiled.
pub fn lints() -> Result<()> {
    let took = loudly(
        "clippy",
        cargo().args([
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    terminal::found("clippy", "workspace, all targets", Some(took));
    let took = loudly("clippy for the fuzz targets", fuzz::cargo("clippy").args(["--", "-D", "warnings"]))?;
    terminal::found("clippy", "fuzz targets", Some(took));
    let toolchain = WasmToolchain::present()?;
    let mut wasm = toolchain.command(toolchain.cargo());
    wasm.current_dir(layout::repository())
        .env("CARGO_TARGET_DIR", layout::worker_target())
        .args(["clippy", "--quiet", "--package", "patchbay", "--lib", "--target", WASM_TARGET, "--locked"])
        .args(["--", "-D", "warnings"]);
    let took = loudly("clippy for the Worker", &mut wasm)?;
    terminal::found("clippy", &format!("Worker, {WASM_TARGET}"), Some(took));
    Ok(())
}

/// cargo-deny: licences, bans and sources always; advisories where their database can be had.
pub fn licences() -> Result<()> {
    let mut took = Duration::ZERO;
    for manifest in MANIFESTS {
        let mut licences = deny(manifest);
        licences.args(["check", "licenses", "bans", "sources"]);
        took += run("checking licences, bans and sources", &mut licences)?;
    }
    terminal::found("cargo-deny", "licences, bans, sources", Some(took));
    for manifest in MANIFESTS {
        let output = capture_quietly("checking advisories", deny(manifest).args(["check", "advisories"]))?;
        if output.is_success {
            continue;
        }
        if UNREACHABLE.iter().any(|words| output.excerpt.contains(words)) {
            terminal::notice("advisories are NOT checked: their database cannot be reached from here");
            return Ok(());
        }
        bail!("cargo-deny found advisories:\n{}", output.excerpt);
    }
    terminal::found("cargo-deny", "advisories", None);
    Ok(())
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    outside_cargo(&mut cargo);
    cargo.current_dir(layout::repository());
    cargo
}

fn deny(manifest: &str) -> Command {
    let program = CARGO_DENY.path().unwrap_or_else(|_| CARGO_DENY.program.into());
    let mut deny = Command::new(program);
    outside_cargo(&mut deny);
    deny.current_dir(layout::repository()).args(["--workspace", "--locked", "--color", "never"]);
    deny.args(["--manifest-path", manifest, "--config", "deny.toml"]);
    deny
}

fn loudly(doing: &str, command: &mut Command) -> Result<Duration> {
    let output = run_loudly(doing, command, &mut |_| {})?;
    if !output.is_success {
        bail!("{doing} failed ({}); its complaints are above", output.status);
    }
    Ok(output.took)
}
