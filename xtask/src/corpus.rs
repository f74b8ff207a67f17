//! The drift corpus as an optimised program of its own: it needs the patch engine and nothing of the plane.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::layout;
use crate::setup::outside_cargo;

pub fn run(options: &[String]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    outside_cargo(&mut cargo);
    cargo
        .current_dir(layout::repository())
        .args(["run", "--quiet", "--profile", "bench-client", "--package", "drift-corpus", "--"])
        .args(options);
    let status = cargo.status().context("running cargo")?;
    ensure!(status.success(), "the corpus failed ({status})");
    Ok(())
}
