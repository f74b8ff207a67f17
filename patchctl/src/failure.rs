//! Every way a command ends without success, and the exit code of each.

use std::process::ExitCode;

use shared_contracts::patches::{OperationOutcome, OperationReceipt};
use shared_contracts::problem::{Problem, ProblemKind};

use crate::disk::DiskError;

/// For `--help` and the manual page.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  everything is in place (what was there already counts)
  1  refused: the patch does not fit; nothing was changed
  2  the command line, the patch or the task file cannot be read; nothing was changed
  3  a file cannot be read or written; nothing was changed, unless the message says otherwise
  4  the server cannot be reached, or does not let this happen";

/// A patch that cannot be read is not one that does not fit.
pub fn cannot_be_read(operations: &[OperationReceipt]) -> bool {
    let mut failed = operations.iter().filter(|receipt| !receipt.outcome.is_success()).peekable();
    failed.peek().is_some()
        && failed.all(|receipt| matches!(receipt.outcome, OperationOutcome::Malformed { .. }))
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// With what became of each operation.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    #[error("{0}")]
    Malformed(String),
    /// A task file against the contract.
    #[error("{}", .0.detail)]
    Invalid(Box<Problem>),
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: String, source: std::io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the process that changes the files was killed; a check tells whether the patch is in place")]
    WorkerKilled,
    #[error("{0}")]
    Server(String),
    /// What the server said.
    #[error("{}", .0)]
    Answered(Box<Problem>),
}

impl Failure {
    pub fn io(doing: &'static str, path: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_string();
        move |source| Self::Io { doing, path, source }
    }

    pub fn refused(detail: impl Into<String>) -> Self {
        Self::Refused(Box::new(Problem::new(ProblemKind::PatchRefused, detail)))
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(problem) if problem.kind == ProblemKind::Malformed => 2,
            Self::Refused(problem) if cannot_be_read(&problem.outcomes) => 2,
            Self::Refused(_) | Self::Disk(DiskError::Changed { .. }) => 1,
            Self::Malformed(_) | Self::Invalid(_) => 2,
            Self::Io { .. } | Self::Disk(_) | Self::WorkerKilled => 3,
            Self::Server(_) | Self::Answered(_) => 4,
        })
    }

    /// The same as one document, for `--json`.
    pub fn problem(&self) -> Problem {
        match self {
            Self::Refused(problem) | Self::Answered(problem) | Self::Invalid(problem) => (**problem).clone(),
            Self::Disk(DiskError::Changed { .. }) => {
                Problem::new(ProblemKind::PatchRefused, self.to_string())
            }
            Self::Malformed(detail) => Problem::new(ProblemKind::Malformed, detail),
            Self::Io { .. } | Self::Disk(_) | Self::WorkerKilled => {
                Problem::new(ProblemKind::Internal, self.to_string())
            }
            Self::Server(detail) => Problem::new(ProblemKind::Overloaded, detail),
        }
    }
}
