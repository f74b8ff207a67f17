//! Peers that are programs: a folder with the file in it, one process, and what it left.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::Peer;
use crate::case::Case;
use crate::judge::Answer;

pub fn answer(peer: Peer, program: &Path, case: &Case) -> Result<Answer> {
    let folder = tempfile::tempdir().context("a scratch folder")?;
    let root = folder.path();
    let file = root.join(&case.path);
    std::fs::create_dir_all(file.parent().context("a case's file lies in a folder")?)?;
    std::fs::write(&file, &case.current)?;
    std::fs::write(root.join("patch"), &case.patch)?;
    let mut command = Command::new(program);
    command.current_dir(root).stdin(Stdio::null()).stderr(Stdio::null()).env("GIT_CEILING_DIRECTORIES", root);
    match peer {
        Peer::GnuPatch => {
            command.args(["-p1", "-N", "-s", "-f", "--no-backup-if-mismatch", "-r", "-", "-i", "patch"]);
        }
        Peer::GitApply => {
            command.args(["apply", "patch"]);
        }
        Peer::GitApplyC1 => {
            command.args(["apply", "-C1", "patch"]);
        }
        Peer::GitMergeFile => {
            std::fs::write(root.join("base"), &case.base)?;
            std::fs::write(root.join("after"), &case.after)?;
            command.args(["merge-file", "-p", "-q"]).arg(&file).args(["base", "after"]);
        }
        Peer::CodexApplyPatch => {
            command.arg(&case.patch);
        }
        Peer::AiderSearchReplace => unreachable!("aider is one process for all cases"),
    }
    let output = command.output().with_context(|| format!("running {}", program.display()))?;
    let content = match (peer, output.status.success()) {
        // It prints the merged file; with conflict marks in it where it could not.
        (Peer::GitMergeFile, true) => output.stdout,
        _ => std::fs::read(&file)?,
    };
    Ok(Answer { is_done: output.status.success(), content: String::from_utf8(content)? })
}
