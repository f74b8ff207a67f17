//! Where things are: this repository, its state folder, the cache of helper programs.

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The repository that this xtask was compiled in.
pub fn repository() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// All state of local planes; ignored by git, and can be deleted whenever none runs.
pub fn state() -> PathBuf {
    repository().join(".patchbay")
}

/// What this user may still write to the repository's disk.
pub fn free_bytes() -> Result<u64> {
    let facts = rustix::fs::statvfs(repository()).context("cannot ask for the free space on the disk")?;
    Ok(facts.f_bavail * facts.f_frsize)
}

/// Where cargo puts native builds.
pub fn native_target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => repository().join(folder),
        None => repository().join("target"),
    }
}

/// The Worker's builds: apart from native ones, so that neither waits for the other's lock.
pub fn worker_target() -> PathBuf {
    repository().join("target").join("worker")
}

/// `~/.cache/patchbay`, or below `XDG_CACHE_HOME`.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder).join("patchbay"));
    }
    let home = std::env::home_dir().context("there is no home directory: set HOME or XDG_CACHE_HOME")?;
    Ok(home.join(".cache").join("patchbay"))
}

/// A program that `npm ci` installed.
pub fn npm_program(name: &str) -> PathBuf {
    repository().join("node_modules").join(".bin").join(name)
}

/// A helper program of exactly this version, installed by setup.
pub fn helper_folder(package: &str, version: &str) -> Result<PathBuf> {
    Ok(cache()?.join("tools").join(format!("{package}-{version}")))
}
