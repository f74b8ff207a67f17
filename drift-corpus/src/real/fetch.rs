//! Published versions of crates, by cargo itself: whatever registry it is configured for, it downloads from there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// A larger file says nothing that a smaller one does not.
const FILE_BYTES_MAX: u64 = 512 * 1024;

/// A version's text files by path.
pub type Files = BTreeMap<String, String>;

pub fn files(name: &str, version: &str) -> Result<Files> {
    let folder = match unpacked(name, version)? {
        Some(folder) => folder,
        None => {
            download(name, version)?;
            unpacked(name, version)?.with_context(|| format!("cargo did not unpack {name} {version}"))?
        }
    };
    let mut files = Files::new();
    read(&folder, &folder, &mut files)?;
    Ok(files)
}

fn sources() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .context("no home directory: set CARGO_HOME")?;
    Ok(home.join("registry").join("src"))
}

fn unpacked(name: &str, version: &str) -> Result<Option<PathBuf>> {
    let Ok(registries) = std::fs::read_dir(sources()?) else { return Ok(None) };
    let mut folders = registries.flatten().map(|entry| entry.path().join(format!("{name}-{version}")));
    // Cargo writes this file last.
    Ok(folders.find(|folder| folder.join(".cargo-ok").is_file()))
}

/// `cargo info` downloads a package and none of its dependencies.
fn download(name: &str, version: &str) -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["info", "--quiet", &format!("{name}@{version}")]);
    // Not in this workspace, whose lock file would choose the version.
    cargo.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
    let output = cargo.output().context("running cargo info")?;
    if !output.status.success() {
        bail!("{name} {version} could not be fetched:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn read(root: &Path, folder: &Path, files: &mut Files) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read(root, &path, files)?;
        } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            let is_made_by_cargo = name.starts_with(".cargo") || name == "Cargo.lock";
            match String::from_utf8(std::fs::read(&path)?) {
                Ok(text) if !text.contains('\0') && !is_made_by_cargo => {
                    files.insert(name, text);
                }
                _ => {}
            }
        }
    }
    Ok(())
}
