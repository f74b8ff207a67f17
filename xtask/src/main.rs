//! `cargo xtask COMMAND`: what a command is called and which options it takes; the work is in the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::terminal::{self, ColorChoice};
use xtask::{bench, build, check, corpus, demo, dev, fuzz, guest, openapi, setup, test};

/// Set up, build, run, show and test Patchbay.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    /// Colour the output: always, never, or only on a terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", default_missing_value = "always", num_args = 0..=1, require_equals = true)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: the wasm target, helper programs, npm packages
    Setup,
    /// Build the Worker's WASM, the container agent and patchctl
    Build,
    /// Show the main job end to end: import, execute in a sandbox, watch, apply the patch, check the result
    Demo {
        /// The git repository whose HEAD is imported; this one unless given
        #[arg(long, value_name = "PATH")]
        repo: Option<PathBuf>,
        /// A shell command that runs the repository's tests without a network
        #[arg(long, value_name = "COMMAND")]
        tests: Option<String>,
        /// Keep the state folder for a look at it
        #[arg(long)]
        keep: bool,
    },
    /// Leave the system running and say how to reach it; Ctrl-C stops it
    Dev {
        /// The port of the Worker; a free one unless given
        #[arg(long)]
        port: Option<u16>,
        /// Start with an empty state folder
        #[arg(long)]
        fresh: bool,
    },
    /// Measure on this machine, beside what it is compared with; prints one table, asserts nothing
    Bench {
        /// A smoke run of every row, about a minute once everything is built
        #[arg(long)]
        quick: bool,
        /// Only these rows, by number: 1 sandbox start, 2 fan-out, 3 output line, 4 sustained lines, 5 rows written,
        /// 6 WASM size, 7 late join, 8 import; of the patch engine: 9 unified diff, 10 near miss, 11 `patchctl` as a
        /// process, 12 in workerd beside JavaScript, 13 in workerd beside itself, 14 growth;
        /// 15 redaction beside sed; of sandboxes, start to exit: 16 beside bubblewrap, runc and Docker, 17 over a large
        /// workspace, 18 eight at a time; of the container agent: 19 archive of artifacts beside tar, 20 memory while idle
        #[arg(long, value_name = "ROW", value_delimiter = ',')]
        only: Vec<u32>,
        /// A folder with a Worker that is built already; nothing is built then
        #[arg(long, value_name = "FOLDER")]
        worker: Option<PathBuf>,
        /// A port of workerd for a profiler
        #[arg(long, value_name = "PORT")]
        inspector_port: Option<u16>,
    },
    /// Edits against drifted files through the patch engine, and beside it through its peers; `-- --help` says more
    Corpus {
        /// Options of the corpus itself: --peers, --real, --round-trips, --cases, --show, --only
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<String>,
    },
    /// Feed the patch engine's parsers, its placement, redaction, and the unpacker of images with made-up input, with
    /// libFuzzer; ends at the first fault
    Fuzz {
        /// Which targets; all unless given
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
        /// How many inputs each of them gets
        #[arg(long, value_name = "COUNT")]
        runs: Option<u64>,
        /// How long each of them runs; 60 unless --runs is given
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u32>,
    },
    /// The sandbox in a virtual machine with control groups v2 alone and an older kernel; one of the long tests
    Guest,
    /// Format, lints, licences, and whether openapi.json is fresh
    Check,
    /// Everything CI runs: check, unit tests, acceptance tests, a short run of the fuzz targets
    Test {
        /// Also what takes long: the sandbox in a virtual machine, a million cases of redaction, bombs and kills
        #[arg(long)]
        long: bool,
    },
    /// Write openapi.json from the list of routes
    Openapi {
        /// Only say whether the file is what would be written
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    terminal::choose_color(arguments.color);
    let done = match arguments.command {
        Command::Setup => setup::everything(setup::Extent::Everything),
        Command::Build => build_all(),
        Command::Demo { repo, tests, keep } => demo::run(demo::Options { repo, tests, keep }),
        Command::Dev { port, fresh } => dev::run(dev::Options { port, fresh }),
        Command::Bench { quick, only, worker, inspector_port } => {
            bench::run(bench::Options { quick, only, worker, inspector_port })
        }
        Command::Corpus { options } => corpus::run(&options),
        Command::Fuzz { targets, runs, seconds } => fuzz_all(fuzz::Options { targets, runs, seconds }),
        Command::Guest => guest_alone(),
        Command::Check => check::everything(),
        Command::Test { long } => {
            test::everything(if long { test::Length::Long } else { test::Length::Ordinary })
        }
        Command::Openapi { check } => openapi::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn build_all() -> anyhow::Result<()> {
    setup::everything(setup::Extent::Running)?;
    build::worker()?;
    build::agent()?;
    build::patchctl()?;
    Ok(())
}

fn fuzz_all(options: fuzz::Options) -> anyhow::Result<()> {
    setup::everything(setup::Extent::Everything)?;
    fuzz::run(&options)
}

fn guest_alone() -> anyhow::Result<()> {
    match guest::run()? {
        guest::Played { failed: 0, .. } => Ok(()),
        played => anyhow::bail!("{} of the guest's scenarios failed; what they said is above", played.failed),
    }
}
