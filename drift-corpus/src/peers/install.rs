//! The peers that come from npm and PyPI, in the versions that the files in `peers/` pin. Each is optional: an error says
//! why one cannot be had here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where the lock files and the driver are.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

pub fn in_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").context("there is no PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("`{program}` is not on PATH"))
}

/// The codex binary under the name that makes it `apply_patch`.
pub fn apply_patch(folder: &Path) -> Result<PathBuf> {
    let link = folder.join("apply_patch");
    let lock_file = sources().join("package-lock.json");
    if !link.exists() || !is_made_by(&folder.join("package-lock.json"), &lock_file) {
        let _ = std::fs::remove_file(&link);
        std::fs::create_dir_all(folder)?;
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(sources().join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]);
        run(npm.current_dir(folder))?;
        let binary = native_binary(&folder.join("node_modules"));
        std::os::unix::fs::symlink(binary.context("npm installed no codex binary for this machine")?, &link)?;
    }
    Ok(link)
}

/// `node_modules/@openai/codex-…/vendor/…/bin/codex`: the folders in between name the platform.
fn native_binary(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.map(|entry| entry.path()).partition(|path| path.is_dir());
    let is_it = |file: &PathBuf| {
        let is_named = file.file_name().is_some_and(|name| name == "codex");
        is_named && std::fs::metadata(file).is_ok_and(|metadata| metadata.len() > 1024 * 1024)
    };
    files.into_iter().find(is_it).or_else(|| folders.iter().find_map(|folder| native_binary(folder)))
}

/// A Python that has aider.
pub fn aider_python(folder: &Path) -> Result<PathBuf> {
    let python = folder.join("bin").join("python");
    let requirements = sources().join("requirements.txt");
    // Copied last: an installation that was cut short begins again.
    let done = folder.join("requirements.txt");
    if !is_made_by(&done, &requirements) {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements))?;
        std::fs::copy(requirements, done)?;
    }
    Ok(python)
}

/// Whether what is installed is what the pinned versions say today.
fn is_made_by(kept: &Path, pinned: &Path) -> bool {
    std::fs::read(kept).ok().is_some_and(|kept| std::fs::read(pinned).is_ok_and(|pinned| kept == pinned))
}

/// Runs it quietly; what it said last is the reason of its failure.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said =
            String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
        bail!("{name} failed ({}): {}", output.status, said.take(3).collect::<Vec<_>>().join("; "));
    }
    Ok(())
}
