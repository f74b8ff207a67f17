//! The npm packages that build and run the Worker, exactly as package-lock.json names them.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use shared_contracts::hash::Sha256;

use super::debian;
use crate::layout;
use crate::process::{run, text_of};
use crate::terminal;

/// What is in use, for the line that setup prints.
const PROGRAMS: &str = "node, wrangler, esbuild, binaryen";

pub(super) fn ensure() -> Result<()> {
    let root = layout::repository();
    let lock_file = root.join("package-lock.json");
    let lock = fs::read(&lock_file).with_context(|| format!("cannot read {}", lock_file.display()))?;
    let wanted = Sha256::of(&lock).to_string();
    let stamp = root.join("node_modules/.patchbay-lock");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted)
        && let Ok(version) = text_of(Command::new(layout::npm_program("node")).arg("--version"))
    {
        terminal::found("npm packages", &format!("{PROGRAMS}; node {}", version.trim()), None);
        return Ok(());
    }
    if text_of(Command::new("npm").arg("--version")).is_err() {
        if !debian::has_apt() {
            bail!("npm is missing; install Node.js with npm (https://nodejs.org), then run this again");
        }
        debian::install(&["npm"])?;
    }
    let started = Instant::now();
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&root);
    run("installing npm packages", &mut npm)?;
    text_of(Command::new(layout::npm_program("node")).arg("--version"))
        .context("npm installed no working node; remove node_modules and run this again")?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    terminal::found("npm packages", &format!("{PROGRAMS} installed"), Some(started.elapsed()));
    Ok(())
}
