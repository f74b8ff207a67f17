//! The Worker's compiler from Debian's packages. They hold no std for wasm, so it is built once from their source.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use shared_contracts::hash::Sha256;

use super::toolchain::{WASM_TARGET, outside_cargo};
use crate::layout;
use crate::process::{run, text_of};
use crate::terminal;

pub const RUSTC: &str = "/usr/bin/rustc";
pub const CARGO: &str = "/usr/bin/cargo";
pub const LINKER: &str = "wasm-ld-19";
const PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
/// clippy of the same version: another one cannot read this std.
const LINT_PACKAGES: [&str; 1] = ["rust-web-clippy"];

fn std_folder() -> PathBuf {
    Path::new("/usr/lib/rustlib").join(WASM_TARGET)
}

/// Names the compiler that the std beside it was built with.
fn stamp_file() -> PathBuf {
    std_folder().join("patchbay-std")
}

pub fn has_apt() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

pub fn holds_std(lib: &Path) -> bool {
    fs::read_dir(lib).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.starts_with("libstd-") && name.ends_with(".rlib")
            })
        })
    })
}

/// Whether everything is there and fits together.
pub fn is_complete() -> bool {
    missing(&PACKAGES).is_empty() && is_std_current()
}

pub fn identity() -> Result<String> {
    let mut text = version()?;
    let mut files: Vec<String> = Vec::new();
    for entry in fs::read_dir(std_folder().join("lib"))
        .context("the std for wasm is missing; run `cargo xtask setup`")?
    {
        let entry = entry?;
        files.push(format!("{} {}\n", entry.file_name().to_string_lossy(), entry.metadata()?.len()));
    }
    files.sort();
    text.extend(files);
    Ok(Sha256::of(text.as_bytes()).to_string())
}

pub(super) fn ensure(reason: &str) -> Result<()> {
    install(&PACKAGES)?;
    if is_std_current() {
        let version = version()?;
        let first = version.lines().next().unwrap_or_default().to_owned();
        terminal::found("wasm target", &format!("Debian's {first}, std built here ({reason})"), None);
        return Ok(());
    }
    let started = Instant::now();
    build_std()?;
    terminal::found("wasm target", "std built from Debian's source", Some(started.elapsed()));
    Ok(())
}

pub(super) fn ensure_lints() -> Result<()> {
    install(&LINT_PACKAGES)
}

fn version() -> Result<String> {
    text_of(Command::new(RUSTC).arg("-vV"))
}

fn missing(packages: &[&'static str]) -> Vec<&'static str> {
    let installed = |package: &&&str| {
        text_of(Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]))
            .is_ok_and(|status| status == "install ok installed")
    };
    packages.iter().filter(|package| !installed(package)).copied().collect()
}

pub(super) fn install(packages: &[&'static str]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !has_apt() {
        bail!(
            "without rustup this needs Debian's packages {list}, and there is no apt-get; install rustup \
             (https://rustup.rs) or build on Debian 12"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "{list} must be installed by root: run `sudo apt-get install --no-install-recommends {list}`, then this again"
        );
    }
    let started = Instant::now();
    run("reading Debian's package lists", apt().arg("update"))?;
    run(
        &format!("installing {list}"),
        apt().args(["install", "--yes", "--no-install-recommends"]).args(&missing),
    )?;
    terminal::found("Debian packages", &list, Some(started.elapsed()));
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("/usr/bin/apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q");
    command
}

fn is_std_current() -> bool {
    let Ok(version) = version() else { return false };
    if !holds_std(&std_folder().join("lib")) {
        return false;
    }
    if fs::read_to_string(stamp_file()).is_ok_and(|stamp| stamp == version) {
        return true;
    }
    // Built by other hands: believed once it links with LTO, as the Worker does.
    let is_usable = probe().is_ok();
    if is_usable {
        // Not writable only means that the probe runs again next time.
        let _ = fs::write(stamp_file(), version);
    }
    is_usable
}

fn probe() -> Result<()> {
    let folder = scratch("std-probe")?;
    let source = folder.join("probe.rs");
    fs::write(
        &source,
        "#[unsafe(no_mangle)] pub extern \"C\" fn f(n: usize) -> usize { vec![0u8; n].len() }\n",
    )?;
    let mut rustc = Command::new(RUSTC);
    rustc
        .args([
            "--edition",
            "2024",
            "--target",
            WASM_TARGET,
            "--crate-type",
            "cdylib",
            "-Clto",
            "-Cpanic=abort",
        ])
        .arg(format!("-Clinker={LINKER}"))
        .arg("-o")
        .arg(folder.join("probe.wasm"))
        .arg(&source);
    let probed = run("trying the std for wasm", &mut rustc);
    let _ = fs::remove_dir_all(folder);
    probed.map(drop)
}

fn scratch(name: &str) -> Result<PathBuf> {
    let folder = layout::cache()?.join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Builds std with the compiler that will link it, and puts it where that compiler looks for it.
fn build_std() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the std for wasm goes below /usr/lib/rustlib: run `cargo xtask setup` once as root");
    }
    let folder = scratch("std-build")?;
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n",
    )?;
    let mut cargo = Command::new(CARGO);
    outside_cargo(&mut cargo);
    cargo
        .args(["build", "--release", "--target", WASM_TARGET, "-Zbuild-std=std,panic_abort"])
        .current_dir(&folder)
        .env("RUSTC", RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        // LTO reads the bitcode; `force-unstable-if-unmarked` is how std itself is built.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Zforce-unstable-if-unmarked")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTUP_TOOLCHAIN");
    run("building std for wasm (about 30 s)", &mut cargo)?;
    let lib = std_folder().join("lib");
    let _ = fs::remove_dir_all(std_folder());
    fs::create_dir_all(&lib).with_context(|| format!("cannot make {}", lib.display()))?;
    for entry in fs::read_dir(folder.join("target").join(WASM_TARGET).join("release/deps"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            fs::copy(&path, lib.join(&name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    probe().context("the std for wasm that was just built cannot be linked")?;
    fs::write(stamp_file(), version()?)?;
    let _ = fs::remove_dir_all(folder);
    Ok(())
}
