//! A patch as it comes in: its text, its format, and what its files were when it was made.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use patch_engine::formats;
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{PatchFormat, PatchOperation};
use shared_contracts::paths::WorkspacePath;

use crate::failure::Failure;

#[derive(Debug, Args)]
pub struct Source {
    /// What the patch is written in; told from the text unless given
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Standard input unless given, or given as `-`
    #[arg(value_name = "PATCHFILE")]
    pub patch: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// As `git diff` writes it
    #[value(name = "udiff", alias = "unified_diff")]
    UnifiedDiff,
    /// Search/replace blocks
    #[value(name = "sr", alias = "search_replace")]
    SearchReplace,
    /// `*** Begin Patch`
    Codex,
    /// Whole files in fenced blocks
    #[value(name = "whole", alias = "whole_file")]
    WholeFile,
    /// Operations of a patch batch
    Json,
}

impl From<Format> for PatchFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::UnifiedDiff => Self::UnifiedDiff,
            Format::SearchReplace => Self::SearchReplace,
            Format::Codex => Self::Codex,
            Format::WholeFile => Self::WholeFile,
            Format::Json => Self::Json,
        }
    }
}

impl Source {
    /// None for standard input.
    fn file(&self) -> Option<&Path> {
        self.patch.as_deref().filter(|path| *path != Path::new("-"))
    }

    pub fn read(&self) -> Result<formats::Read, Failure> {
        self.read_text(&self.text()?)
    }

    /// In the format that was asked for.
    pub fn read_text(&self, text: &str) -> Result<formats::Read, Failure> {
        formats::read(text, self.format.map(PatchFormat::from)).map_err(|fault| {
            let name = self.file().map_or("standard input".into(), Path::to_string_lossy);
            Failure::Malformed(format!(
                "{name}:{}:{}: {}. {}",
                fault.line, fault.column, fault.what, fault.hint
            ))
        })
    }

    pub fn text(&self) -> Result<String, Failure> {
        let bytes = match self.file() {
            Some(path) => std::fs::read(path).map_err(Failure::io("cannot read", path.display()))?,
            None => {
                let mut bytes = Vec::new();
                let read = std::io::stdin().lock().read_to_end(&mut bytes);
                read.map_err(Failure::io("cannot read", "standard input"))?;
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Failure::Malformed(format!(
                "the patch is not UTF-8 (byte {at}); send such files as JSON with base64 content"
            ))
        })
    }
}

/// The text that a file had when the patch was made.
pub struct Base {
    pub path: WorkspacePath,
    pub sha256: Sha256,
    pub bytes: Vec<u8>,
}

impl Base {
    /// From `PATH=FILE`.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let malformed = |why: &str| Failure::Malformed(format!("--base-file {text}: {why}"));
        let (path, file) = text.split_once('=').ok_or_else(|| malformed("write it as PATH=FILE"))?;
        let path = WorkspacePath::parse(path).map_err(|error| malformed(&error.to_string()))?;
        let bytes = std::fs::read(file).map_err(Failure::io("cannot read", file))?;
        Ok(Self { path, sha256: Sha256::of(&bytes), bytes })
    }

    /// For an operation on its path. What the operation says of its base itself is believed first.
    pub fn set(&self, operation: &mut PatchOperation) {
        match operation {
            PatchOperation::Edit { base_sha256, .. }
            | PatchOperation::Replace { base_sha256, .. }
            | PatchOperation::Delete { base_sha256, .. }
            | PatchOperation::Rename { base_sha256, .. }
            | PatchOperation::Insert { base_sha256, .. }
            | PatchOperation::EditLines { base_sha256, .. } => {
                base_sha256.get_or_insert(self.sha256);
            }
            PatchOperation::Create { .. } | PatchOperation::Write { .. } | PatchOperation::SetMode { .. } => {
            }
        }
    }
}
