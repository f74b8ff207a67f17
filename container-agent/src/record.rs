//! What is kept on disk of each lease, so that the next start can close what this one left open.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared_contracts::dispatch::{Lease, LeasedExecution};

use crate::output::segment::write_atomically;

const FILE: &str = "execution.json";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub lease: Lease,
    pub execution_token: String,
    /// Of the first event under this lease.
    pub next_sequence: u64,
}

impl Record {
    pub fn of(leased: &LeasedExecution) -> Self {
        Self {
            lease: leased.lease,
            execution_token: leased.execution_token.clone(),
            next_sequence: leased.next_sequence,
        }
    }

    pub fn save(&self, directory: &Path) -> io::Result<()> {
        write_atomically(&directory.join(FILE), &serde_json::to_vec(self)?)
    }

    pub fn load(directory: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(directory.join(FILE))?)?)
    }
}

pub fn directory_of(executions: &Path, lease: Lease) -> PathBuf {
    executions.join(format!("{}-g{}", lease.execution_id, lease.generation))
}
