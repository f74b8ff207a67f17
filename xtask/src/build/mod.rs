//! Builds what runs: the Worker's WASM, the container agent, patchctl. None is built again for unchanged inputs.

mod inputs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use shared_contracts::hash::Sha256;

use crate::layout;
use crate::process::{run, text_of};
use crate::setup::{self, WasmToolchain};
use crate::terminal;

/// What the Worker is made from.
const WORKER_INPUTS: [&str; 7] =
    ["src", "shared-contracts", "patch-engine", "Cargo.toml", "Cargo.lock", ".cargo", "entrypoints.mjs"];

/// Builds `build/index.js` and `build/index_bg.wasm`, unless they are what the sources say.
pub fn worker() -> Result<()> {
    let started = Instant::now();
    let root = layout::repository();
    let toolchain = WasmToolchain::present()?;
    let identity = toolchain.identity()?;
    let bindgen = setup::wasm_bindgen()?;
    let builder = setup::WORKER_BUILD;
    let tools = format!("{identity}\n{} {}", bindgen.version, builder.version);
    let wanted = inputs::fingerprint(&root, &WORKER_INPUTS, &tools)?;
    let stamp = root.join("build/.patchbay-inputs");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) && wasm().exists() {
        terminal::found("Worker", &format!("unchanged, {}", wasm_size()?), Some(started.elapsed()));
        return Ok(());
    }
    forget_other_std(&identity)?;
    let mut command = toolchain.command(builder.path()?);
    command
        .arg("--release")
        .current_dir(&root)
        .env("CARGO_TARGET_DIR", layout::worker_target())
        .env("WASM_BINDGEN_BIN", bindgen.path()?)
        .env("WASM_OPT_BIN", layout::npm_program("wasm-opt"))
        .env("ESBUILD_BIN", layout::npm_program("esbuild"))
        // esbuild and wasm-opt are scripts for `node`.
        .env_remove("RUST_BACKTRACE");
    prepend_node(&mut command);
    run("building the Worker", &mut command)?;
    if !wasm().exists() {
        bail!("worker-build succeeded and left no {}; has its layout changed?", wasm().display());
    }
    shrink()?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    terminal::found("Worker", &format!("built, {}", wasm_size()?), Some(started.elapsed()));
    Ok(())
}

/// worker-build keeps the functions' names for stack traces. The log names the operation instead, and every isolate
/// would load a seventh more. Without them, another pass over the code still finds something; it may take the lowest
/// kilobyte of memory for unused, which is the far end of the stack.
fn shrink() -> Result<()> {
    let module = wasm();
    let mut command = Command::new(layout::npm_program("wasm-opt"));
    command.arg(&module).args([
        "--strip-debug",
        "--strip-producers",
        "--low-memory-unused",
        "-Oz",
        "--output",
    ]);
    command.arg(&module);
    // What the compiler and worker-build enable, and no more: newer encodings are not workerd's yet.
    for feature in [
        "simd",
        "mutable-globals",
        "sign-ext",
        "nontrapping-float-to-int",
        "bulk-memory",
        "multivalue",
        "reference-types",
        "exception-handling",
    ] {
        command.arg(format!("--enable-{feature}"));
    }
    prepend_node(&mut command);
    run("shrinking the Worker", &mut command).map(drop)
}

/// Builds the container agent for this machine and says where it is.
pub fn agent() -> Result<PathBuf> {
    ready("container agent", &["--package", "container-agent"], agent_path())
}

/// Where [`agent`] puts it; `PATCHBAY_AGENT_BIN` names another one.
pub fn agent_path() -> PathBuf {
    native_path("PATCHBAY_AGENT_BIN", "patchbay-agent")
}

/// Builds patchctl for this machine and says where it is.
pub fn patchctl() -> Result<PathBuf> {
    ready("patchctl", &["--package", "patchctl"], patchctl_path())
}

/// Where [`patchctl`] puts it; `PATCHCTL_BIN` names another one.
pub fn patchctl_path() -> PathBuf {
    native_path("PATCHCTL_BIN", "patchctl")
}

fn ready(name: &str, what: &[&str], path: PathBuf) -> Result<PathBuf> {
    let started = Instant::now();
    native(what)?;
    if !path.exists() {
        bail!("cargo succeeded and left no {}; does {} still build it?", path.display(), what.join(" "));
    }
    terminal::found(name, "ready", Some(started.elapsed()));
    Ok(path)
}

/// As releases are built: `cargo native`, one static program that runs on any Linux and in any image.
pub fn native(what: &[&str]) -> Result<()> {
    let mut cargo = Command::new("cargo");
    setup::outside_cargo(&mut cargo);
    cargo.args(["native", "--locked"]).args(what);
    cargo.current_dir(layout::repository()).env("CARGO_TARGET_DIR", layout::native_target());
    run(&format!("building {} (minutes, once)", what.join(" ")), &mut cargo).map(drop)
}

/// Where [`native`] puts programs.
pub fn native_folder() -> PathBuf {
    let host = text_of(Command::new("rustc").arg("-vV")).ok().and_then(|version| {
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        host.map(str::to_owned)
    });
    layout::native_target().join(host.unwrap_or_default()).join("native")
}

fn native_path(variable: &str, binary: &str) -> PathBuf {
    match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => native_folder().join(binary),
    }
}

/// The Worker's module.
pub fn wasm() -> PathBuf {
    layout::repository().join("build/index_bg.wasm")
}

/// Bytes of a Worker's module, compressed as Cloudflare counts them.
pub fn gzip_bytes(module: &Path) -> Result<u64> {
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &bytes)?;
    Ok(encoder.finish()?.len() as u64)
}

fn wasm_size() -> Result<String> {
    Ok(format!("{} gzipped", terminal::bytes(gzip_bytes(&wasm())?)))
}

/// Objects linked against another std fail with E0463: they go.
fn forget_other_std(identity: &str) -> Result<()> {
    let target = layout::worker_target();
    let stamp = target.join(".patchbay-std");
    let wanted = Sha256::of(identity.as_bytes()).to_string();
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if target.exists() {
        terminal::notice("the compiler or its std has changed: building the Worker from scratch");
        fs::remove_dir_all(&target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(())
}

/// The npm programs are scripts for `node`, which must be the one that npm installed.
fn prepend_node(command: &mut Command) {
    let set = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
    let path = set.map(ToOwned::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    let bin = layout::repository().join("node_modules/.bin");
    // At the end: `node_modules/.bin` comes after the compiler's folder, which must stay first.
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.insert(usize::from(!folders.is_empty()), bin);
    if let Ok(joined) = std::env::join_paths(folders) {
        command.env("PATH", joined);
    }
}
