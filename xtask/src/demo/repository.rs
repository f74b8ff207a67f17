//! A repository's HEAD: as a tar for the import, and unpacked here to compute what must come out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use shared_contracts::limits::MIB;

use crate::client::tree::LocalTree;
use crate::process::text_of;

/// Above this the import goes in parts; the platform itself takes no body over 100 MB.
pub const ONE_TAR_BYTES_MAX: u64 = 64 * MIB;

pub struct Repository {
    pub path: PathBuf,
    pub name: String,
    /// Abbreviated.
    pub commit: String,
    pub tar: Vec<u8>,
    /// The unpacked tar; nobody changes it.
    pub tree: LocalTree,
}

impl Repository {
    /// Archives HEAD and unpacks it below `scratch`.
    pub fn archive(path: &Path, scratch: &Path) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("there is no {}", path.display()))?;
        let commit = text_of(git(&path).args(["rev-parse", "--short", "HEAD"]))
            .with_context(|| format!("{} is not a git repository with a commit", path.display()))?;
        let mut archive = git(&path);
        let output = archive.args(["archive", "--format=tar", "HEAD"]).stdin(Stdio::null()).output();
        let output = output.context("cannot start git")?;
        if !output.status.success() {
            bail!("`git archive` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let folder = scratch.join("tree");
        unpack(&output.stdout, &folder)?;
        let name = path.file_name().map_or("repository".into(), |name| name.to_string_lossy().into_owned());
        Ok(Self {
            commit: commit.trim().to_owned(),
            tree: LocalTree::scan(&folder)?,
            tar: output.stdout,
            name,
            path,
        })
    }
}

/// Unpacks a tar into a folder that is new.
pub fn unpack(tar: &[u8], folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    tar::Archive::new(tar).unpack(folder).with_context(|| format!("cannot unpack into {}", folder.display()))
}

fn git(path: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(path);
    git
}
