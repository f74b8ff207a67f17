//! Which compiler builds the Worker: the one on `PATH` (rustup's, as a rule) or Debian's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::process::{run, text_of};
use crate::terminal;

pub const WASM_TARGET: &str = "wasm32-unknown-unknown";
const VARIABLE: &str = "PATCHBAY_WASM_TOOLCHAIN";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WasmToolchain {
    /// The `rustc` on `PATH` has the wasm target.
    OnPath,
    /// `/usr/bin/rustc`, with a std for wasm that setup built from Debian's source package.
    Debian,
}

impl WasmToolchain {
    /// The one to build with, without installing anything.
    pub fn present() -> Result<Self> {
        if wants_debian()? {
            return Ok(Self::Debian);
        }
        if has_target_on_path() {
            return Ok(Self::OnPath);
        }
        if debian::is_complete() {
            return Ok(Self::Debian);
        }
        bail!("no compiler here can build for {WASM_TARGET}; run `cargo xtask setup`")
    }

    /// A cargo command that builds for wasm with this compiler.
    pub fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        outside_cargo(&mut command);
        if self == Self::Debian {
            command
                .env("PATH", debian_path())
                .env("RUSTC", debian::RUSTC)
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", debian::LINKER)
                .env_remove("RUSTUP_TOOLCHAIN");
        }
        command
    }

    /// Changes whenever objects built with this compiler can no longer be linked with new ones.
    pub fn identity(self) -> Result<String> {
        match self {
            Self::OnPath => text_of(Command::new("rustc").arg("-vV")),
            Self::Debian => debian::identity(),
        }
    }

    pub fn cargo(self) -> &'static str {
        match self {
            Self::OnPath => "cargo",
            Self::Debian => debian::CARGO,
        }
    }
}

/// Takes away what `cargo run` left for this process, so that a cargo below starts as from a shell.
pub fn outside_cargo(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO" || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

fn debian_path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let rest = std::env::split_paths(&path);
    let all: Vec<PathBuf> = std::iter::once(PathBuf::from("/usr/bin")).chain(rest).collect();
    std::env::join_paths(all).unwrap_or(path)
}

fn wants_debian() -> Result<bool> {
    match std::env::var(VARIABLE).ok().as_deref() {
        None | Some("" | "rustup") => Ok(false),
        Some("debian") => Ok(true),
        Some(other) => bail!("{VARIABLE} is `{other}`; it may be `rustup`, `debian` or absent"),
    }
}

fn has_target_on_path() -> bool {
    let Ok(sysroot) = text_of(Command::new("rustc").args(["--print", "sysroot"])) else { return false };
    let lib = Path::new(sysroot.trim()).join("lib/rustlib").join(WASM_TARGET).join("lib");
    // Debian's own sysroot is `/usr`: there the std that setup built must be complete.
    if sysroot.trim() == "/usr" { false } else { debian::holds_std(&lib) }
}

/// Finds or installs a compiler for wasm.
pub(super) fn ensure() -> Result<WasmToolchain> {
    if wants_debian()? {
        return debian_for(&format!("{VARIABLE}=debian"));
    }
    if has_target_on_path() {
        let version = text_of(Command::new("rustc").arg("--version"))?;
        terminal::found("wasm target", &format!("{WASM_TARGET} of {}", version.trim()), None);
        return Ok(WasmToolchain::OnPath);
    }
    if text_of(Command::new("rustup").arg("--version")).is_err() {
        return debian_for("no rustup here");
    }
    if debian::is_complete() {
        return debian_for("rustup lacks the target, Debian's packages have it");
    }
    let started = Instant::now();
    let added = run("adding the wasm target", Command::new("rustup").args(["target", "add", WASM_TARGET]));
    match added {
        Ok(_) => {
            terminal::found("wasm target", "added with rustup", Some(started.elapsed()));
            Ok(WasmToolchain::OnPath)
        }
        Err(error) if debian::has_apt() => {
            let text = format!("{error:#}");
            let reason = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            terminal::notice(&format!(
                "rustup cannot add {WASM_TARGET} ({reason}); taking Debian's packages"
            ));
            debian_for("rustup cannot add the target")
        }
        Err(error) => Err(error).context(format!(
            "the Worker needs rustc's target {WASM_TARGET}; add it with `rustup target add {WASM_TARGET}`"
        )),
    }
}

fn debian_for(reason: &str) -> Result<WasmToolchain> {
    debian::ensure(reason)?;
    Ok(WasmToolchain::Debian)
}
