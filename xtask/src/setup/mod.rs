//! Finds what a build, a run or a check needs, and installs what is missing: one line for each.
//!
//! Everything is pinned: the npm packages by package-lock.json, the helper programs by version here or in
//! Cargo.lock. When all is there, nothing is started that takes time.

mod debian;
mod engines;
mod guest;
mod helpers;
mod npm;
mod toolchain;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

pub use guest::{GuestFiles, guest};
pub use helpers::{CARGO_DENY, Helper, WORKER_BUILD, wasm_bindgen};
pub use toolchain::{WASM_TARGET, WasmToolchain, outside_cargo};

use crate::layout;
use crate::process::{run, text_of};
use crate::terminal;

/// What `cargo xtask test` writes from nothing: builds, npm's packages, the state of its planes.
const WRITTEN_BYTES: u64 = 6 << 30;

/// What the things are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Building and running the system.
    Running,
    /// The checks as well.
    Everything,
}

/// Says what is found and installs the rest.
pub fn everything(extent: Extent) -> Result<()> {
    let started = Instant::now();
    terminal::heading("Setup");
    look_at_disk()?;
    let toolchain = toolchain::ensure()?;
    if extent == Extent::Everything && toolchain == WasmToolchain::Debian {
        debian::ensure_lints()?;
    }
    npm::ensure()?;
    wasm_bindgen()?.ensure()?;
    WORKER_BUILD.ensure()?;
    if extent == Extent::Everything {
        CARGO_DENY.ensure()?;
        ensure_cpp()?;
        ensure_registry()?;
        engines::ensure()?;
    }
    terminal::line(&format!("  everything is there, checked in {}", terminal::seconds(started.elapsed())));
    Ok(())
}

/// A full disk fails far from its cause: SQLite's writes, a linker's output.
fn look_at_disk() -> Result<()> {
    let free = layout::free_bytes()?;
    let shown = terminal::bytes(free);
    if free < WRITTEN_BYTES {
        terminal::notice(&format!(
            "only {shown} free on the disk; all builds together take {}",
            terminal::bytes(WRITTEN_BYTES)
        ));
    } else {
        terminal::found("disk", &format!("{shown} free"), None);
    }
    Ok(())
}

/// libFuzzer, which the fuzz targets are linked with, is C++.
fn ensure_cpp() -> Result<()> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if let Ok(version) = text_of(Command::new(&compiler).arg("--version")) {
        terminal::found("C++ compiler", version.lines().next().unwrap_or_default(), None);
        return Ok(());
    }
    if !debian::has_apt() {
        bail!(
            "`{}` is missing, which libFuzzer is compiled with; install a C++ compiler",
            compiler.display()
        );
    }
    debian::install(&["g++"])
}

/// The registry that tests pull images from; they start and stop it themselves.
fn ensure_registry() -> Result<()> {
    if let Ok(version) = text_of(Command::new("docker-registry").arg("--version")) {
        terminal::found("docker-registry", version.lines().next().unwrap_or_default(), None);
        return Ok(());
    }
    if !debian::has_apt() {
        bail!(
            "`docker-registry` is missing, which tests pull images from; install it (Debian has a package)"
        );
    }
    debian::install(&["docker-registry"])?;
    // The package starts one for the whole machine, on port 5000, which nobody asked for.
    if Path::new("/run/systemd/system").exists() {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["disable", "--now", "docker-registry.service"]);
        run("stopping the registry that Debian's package started", &mut systemctl)?;
    }
    Ok(())
}
