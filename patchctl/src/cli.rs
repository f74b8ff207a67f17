//! The command line. `--help`, the manual page and the completions are made from this.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared_contracts::ids::ProjectId;

use crate::failure::EXIT_CODES;
use crate::patch::{Format, Source};

#[derive(Debug, Parser)]
#[command(
    name = "patchctl",
    version,
    about = "Applies patches to a tree: all of a patch or nothing of it, never in the wrong place",
    after_help = EXIT_CODES,
    disable_help_subcommand = true
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Apply a patch: all of it or nothing
    Apply(Box<Apply>),
    /// Say what `apply` would do; write nothing
    Check(Box<Check>),
    /// Take back the last apply, or the one named
    Revert(Box<Revert>),
    /// Finish or take back what a killed run left; every other command does so first as well
    Recover(Recover),
    /// Write a patch in another format
    Convert(Convert),
    /// Check a JSON file of tasks before it is sent
    ValidateTasks(ValidateTasks),
    /// Print the completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    pub patch: Check,
    #[command(flatten)]
    pub keep: Keep,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub target: Target,
    /// The text that PATH had when the patch was made: edits are placed by where its lines are now; may be repeated
    #[arg(long, value_name = "PATH=FILE", conflicts_with = "server")]
    pub base_file: Vec<String>,
    /// The revision of the server's workspace that the patch was made against
    #[arg(long, value_name = "NUMBER", requires = "server")]
    pub base_revision: Option<u64>,
    /// Refuse a patch that touches a path like this; may be repeated
    #[arg(long, value_name = "GLOB", conflicts_with = "server")]
    pub deny: Vec<String>,
    /// Print the receipt or the refusal as one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub origin: Origin,
}

/// What the server records of a patch.
#[derive(Debug, Args)]
pub struct Origin {
    /// Recorded by the server: what the change is
    #[arg(long, requires = "server", default_value = "patchctl apply")]
    pub title: String,
    /// Recorded by the server: which coding agent made it
    #[arg(long, requires = "server", value_name = "NAME")]
    pub coding_agent: Option<String>,
    /// Recorded by the server: which model made it
    #[arg(long, requires = "server", value_name = "NAME")]
    pub model: Option<String>,
    /// Recorded by the server: whose model it was
    #[arg(long, requires = "server", value_name = "NAME")]
    pub provider: Option<String>,
}

#[derive(Debug, Args)]
pub struct Revert {
    /// The receipt's id, or a file that `apply --receipt` wrote; the last apply unless given
    pub receipt: Option<String>,
    #[command(flatten)]
    pub target: Target,
    /// Print the receipt or the refusal as one JSON document
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub keep: Keep,
}

#[derive(Debug, Args)]
pub struct Target {
    /// The tree
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// Not a tree here but a project of this server; the token is in PATCHBAY_TOKEN or --token-file
    #[arg(long, value_name = "URL", requires = "project", conflicts_with = "root")]
    pub server: Option<String>,
    /// The project on the server
    #[arg(long, value_name = "ID", requires = "server")]
    pub project: Option<ProjectId>,
    /// A file that holds nothing but the token
    #[arg(long, value_name = "FILE", requires = "server")]
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Keep {
    /// Write the receipt to this file too, with what takes the change back
    #[arg(long = "receipt", id = "receipt_file", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// All or nothing through a power loss as well, not only when killed; waits for the disk
    #[arg(long, conflicts_with = "server")]
    pub durable: bool,
}

#[derive(Debug, Args)]
pub struct Recover {
    /// The tree
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
}

#[derive(Debug, Args)]
pub struct Convert {
    #[command(flatten)]
    pub source: Source,
    #[arg(long, value_enum)]
    pub to: Format,
    /// The tree that the patch is for
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
}

#[derive(Debug, Args)]
pub struct ValidateTasks {
    /// A list of tasks, or an object with such a list under `tasks`
    pub file: PathBuf,
    /// Print faults as one JSON document
    #[arg(long)]
    pub json: bool,
}
