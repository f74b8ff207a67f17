//! `cargo xtask corpus`: the table of the generated corpus; with `--peers` and `--real` more of them.

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};
use drift_corpus::case::Case;
use drift_corpus::judge::Verdict;
use drift_corpus::round_trip::{Pair, Trips, Ways, trips};
use drift_corpus::{generate, pairs, readme, real, report};

const CORPUS_README: &str = "drift-corpus/README.md";

/// Edits against drifted files: how many the engine places right, refuses, places wrong.
#[derive(Parser)]
#[command(name = "cargo xtask corpus", bin_name = "cargo xtask corpus")]
struct Arguments {
    /// How many cases are generated
    #[arg(long, default_value_t = generate::CASES)]
    cases: usize,
    /// Run GNU patch, git, codex and aider beside the engine; what is missing is installed, where that can be
    #[arg(long)]
    peers: bool,
    /// How many cases the peers get
    #[arg(long, default_value_t = 1_260)]
    sample: usize,
    /// Edits from published versions of well-known crates as well; cargo downloads them the first time
    #[arg(long)]
    real: bool,
    /// Instead: whether differences lead there and back, in every format; with --real of the crates' files as well
    #[arg(long)]
    round_trips: bool,
    /// How many pairs of contents are generated for --round-trips
    #[arg(long, default_value_t = pairs::PAIRS)]
    pairs: usize,
    /// Put the tables into README.md and drift-corpus/README.md as well
    #[arg(long, conflicts_with_all = ["only", "round_trips"])]
    write: bool,
    /// Print every case that came out so
    #[arg(long, value_enum, ignore_case = true)]
    show: Vec<Shown>,
    /// Only cases whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shown {
    Wrong,
    Refused,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.round_trips {
        return round_trips(&arguments);
    }
    let generated = run("Generated", generate::cases(arguments.cases), &arguments)?;
    if arguments.write {
        readme::put(CORPUS_README, "generated", &generated.engine)?;
        if let Some(peers) = &generated.peers {
            readme::put(CORPUS_README, "generated, peers", peers)?;
            readme::put("README.md", "peers", peers)?;
        }
    }
    if arguments.real {
        let real = real::cases(&real::histories()?);
        println!("\n{} crates, {} changed files", real.crates, real.changed_files);
        let real = run("Real histories", real.cases, &arguments)?;
        if arguments.write {
            readme::put(CORPUS_README, "real", &real.engine)?;
            if let Some(peers) = &real.peers {
                readme::put(CORPUS_README, "real, peers", peers)?;
            }
        }
    }
    Ok(())
}

fn round_trips(arguments: &Arguments) -> Result<()> {
    there_and_back("Generated pairs", arguments.pairs, Ways::One, pairs::pair)?;
    if arguments.real {
        let histories = real::histories()?;
        let pairs = real::pairs(&histories);
        let title = format!("Files changed between versions of {} crates", histories.len());
        there_and_back(&title, pairs.len(), Ways::All, |number| pairs[number].clone())?;
    }
    Ok(())
}

fn there_and_back(title: &str, count: usize, ways: Ways, pair: impl Fn(usize) -> Pair + Sync) -> Result<()> {
    let started = Instant::now();
    let Trips { pairs, texts, unwritable, failed, failures } = trips(count, ways, pair);
    println!(
        "{title}: {pairs} there and back; {texts} texts from one format to another, {unwritable} that a format cannot \
         say; {failed} failed; {:.1?}",
        started.elapsed()
    );
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    Ok(())
}

/// In Markdown.
#[derive(Default)]
struct Tables {
    engine: String,
    peers: Option<String>,
}

fn run(title: &str, mut cases: Vec<Case>, arguments: &Arguments) -> Result<Tables> {
    cases.retain(|case| case.name.contains(&arguments.only));
    if cases.is_empty() {
        println!("\n{title}: no case's name contains `{}`", arguments.only);
        return Ok(Tables::default());
    }
    let wanted = |shown: &Shown| match shown {
        Shown::Wrong => Verdict::Wrong,
        Shown::Refused => Verdict::Refused,
    };
    let started = Instant::now();
    let shown: Vec<Verdict> = arguments.show.iter().map(wanted).collect();
    let tally = report::engine(&cases, &shown);
    let engine = tally.written();
    println!("\n{title}: {} cases, planned in {:.1?}\n\n{engine}", cases.len(), started.elapsed());
    let mut peers = None;
    if arguments.peers {
        // Kinds go round fastest among generated cases; real ones are ordered by crate.
        let sample = spread(&cases, arguments.sample);
        let compared = report::peers(&sample, &readme::document(".patchbay/peers"))?;
        println!("{compared}");
        peers = Some(compared);
    }
    Ok(Tables { engine, peers })
}

/// Every n-th case, where n shares no factor with the rounds that cases come in.
fn spread(cases: &[Case], wanted: usize) -> Vec<Case> {
    const PRIME: usize = 10_007;
    let chosen = (0..wanted.min(cases.len())).map(|number| number * PRIME % cases.len());
    chosen.map(|number| cases[number].clone()).collect()
}
