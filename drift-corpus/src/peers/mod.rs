//! Other programs that place edits, each given the cases of the format it takes.

mod aider;
mod install;
mod programs;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::case::Case;
use crate::format::Format;
use crate::judge::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    GnuPatch,
    GitApply,
    GitApplyC1,
    GitMergeFile,
    CodexApplyPatch,
    AiderSearchReplace,
}

pub const PEERS: [Peer; 6] = [
    Peer::GnuPatch,
    Peer::GitApply,
    Peer::GitApplyC1,
    Peer::GitMergeFile,
    Peer::CodexApplyPatch,
    Peer::AiderSearchReplace,
];

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Self::GnuPatch => "GNU patch",
            Self::GitApply => "git apply",
            Self::GitApplyC1 => "git apply -C1",
            Self::GitMergeFile => "git merge-file",
            Self::CodexApplyPatch => "codex apply_patch",
            Self::AiderSearchReplace => "aider search/replace",
        }
    }

    /// Which truth it is held against.
    pub fn has_base(self) -> bool {
        self == Self::GitMergeFile
    }

    pub fn takes(self, format: Format) -> bool {
        match self {
            Self::GnuPatch | Self::GitApply | Self::GitApplyC1 => format.is_unified(),
            Self::GitMergeFile => true,
            Self::CodexApplyPatch => format == Format::Codex,
            Self::AiderSearchReplace => format == Format::SearchReplace,
        }
    }

    /// The program: on PATH, in this folder, or now installed into it. The error says why it cannot be had.
    pub fn program(self, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::GnuPatch => install::in_path("patch"),
            Self::GitApply | Self::GitApplyC1 | Self::GitMergeFile => install::in_path("git"),
            Self::CodexApplyPatch => install::apply_patch(&folder.join("codex")),
            Self::AiderSearchReplace => install::aider_python(&folder.join("aider")),
        }
    }

    /// One answer for each case, in their order.
    pub fn answers(self, program: &Path, cases: &[&Case]) -> Result<Vec<Answer>> {
        let answers: Result<Vec<Answer>> = match self {
            Self::AiderSearchReplace => aider::answers(program, cases),
            _ => cases.iter().map(|case| programs::answer(self, program, case)).collect(),
        };
        Ok(answers?.into_iter().zip(cases).map(|(answer, case)| as_open(answer, case)).collect())
    }
}

/// Some close a last line that was open; that is not a wrong place.
fn as_open(mut answer: Answer, case: &Case) -> Answer {
    if !case.current.ends_with('\n') && answer.content.ends_with('\n') {
        answer.content.pop();
    }
    answer
}
