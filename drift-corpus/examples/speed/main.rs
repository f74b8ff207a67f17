//! How fast the engine is beside others, and whether its time grows with its input and no faster: the part of
//! `cargo xtask bench` that wants none of the plane, in a program that is built as `patchctl` is. It prints figures, each
//! a line of JSON, and asserts nothing but that all compared programs come to the same bytes.

mod growth;
mod measure;
mod near_miss;
mod plan;
mod process;
mod text;
mod unified;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    measured: Measured,
}

#[derive(Subcommand)]
enum Measured {
    /// A unified diff applied, beside diffy and mpatch
    Unified,
    /// Blocks that stand nowhere, beside aider's edit distance
    NearMiss,
    /// `patchctl apply` as a process, beside git and codex
    Process {
        #[arg(long)]
        patchctl: PathBuf,
        /// Where the peers from npm and PyPI are, or are installed
        #[arg(long)]
        peers: PathBuf,
    },
    /// Ten times the input
    Growth,
    /// The engine's own time for the patches on standard input
    Plan,
}

fn main() -> Result<()> {
    match Arguments::parse().measured {
        Measured::Unified => unified::figures(),
        Measured::NearMiss => near_miss::figures(),
        Measured::Process { patchctl, peers } => process::figures(&patchctl, &peers),
        Measured::Growth => growth::figures(),
        Measured::Plan => plan::times(),
    }
}
