//! `patchbay-agent doctor`: what this machine can do, what that means, how to fix it.

use std::process::ExitCode;

use clap::Args;
use shared_contracts::sandboxes::SandboxTier;

use crate::config::{Flags, LimitsMode, Settings, WorkspaceDisk};
use crate::sandbox::probe::{self, Expected, Finding, Verdict};
use crate::sandbox::sweep::Scratch;
use crate::sandbox::trial::{self, Trial};
use crate::{environment, run};

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub flags: Flags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn expected(settings: &Settings) -> Expected {
    Expected {
        enforce_limits: settings.limits == LimitsMode::Enforce,
        disk_in_memory: settings.workspace_disk == WorkspaceDisk::Memory,
    }
}

/// What this machine can do, by running one sandbox on it. Leaves nothing behind.
pub async fn examine(settings: &Settings) -> (SandboxTier, Vec<Finding>) {
    // First: the kernel loads what it has as a module.
    let trial = try_one(settings).await;
    let findings = probe::probe(expected(settings), trial);
    (probe::tier(&findings), findings)
}

async fn try_one(settings: &Settings) -> Trial {
    let scratch = match Scratch::make(&settings.state_dir.join("doctor")) {
        Ok(scratch) => scratch,
        Err(error) => {
            let meaning = "nothing can be kept in it";
            return Trial::failed(
                "state directory",
                error.to_string(),
                meaning,
                "name another one (--state-dir)",
            );
        }
    };
    tracing::debug!(instance = scratch.instance, "trying one sandbox");
    let provider = run::provider(settings, scratch.instance.clone());
    let trial = trial::run(&provider, &scratch.path, environment::base(settings)).await;
    scratch.remove();
    trial
}

pub async fn run(arguments: Doctor) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let settings = Settings::load(&arguments.flags)?;
    let (tier, findings) = examine(&settings).await;
    if arguments.json {
        println!("{}", serde_json::json!({ "tier": tier, "findings": findings }));
    } else {
        print_table(tier, &findings);
    }
    Ok(if tier == SandboxTier::None { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print_table(tier: SandboxTier, findings: &[Finding]) {
    let width = |of: fn(&Finding) -> usize| findings.iter().map(of).max().unwrap_or_default();
    let (what, found) =
        (width(|finding| finding.what.len()), width(|finding| finding.found.chars().count().min(48)));
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok     ",
            Verdict::Limited => "limited",
            Verdict::Missing => "MISSING",
        };
        println!("{mark}  {:what$}  {:found$}  {}", finding.what, finding.found, finding.meaning);
        if !finding.fix.is_empty() {
            println!("{:9}{:what$}  fix: {}", "", "", finding.fix);
        }
    }
    println!("\nsandbox tier: {} ({})", tier.as_str(), reason(tier, findings));
}

pub fn reason(tier: SandboxTier, findings: &[Finding]) -> String {
    let bad: Vec<_> = findings.iter().filter(|f| f.verdict != Verdict::Good).map(|f| f.what).collect();
    let missing = || {
        let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing);
        missing.map(|f| format!("{}: {}", f.what, f.found)).collect::<Vec<_>>().join("; ")
    };
    match tier {
        SandboxTier::Strong => "every wall and every limit stands".into(),
        SandboxTier::Limited => format!("every wall stands; less than full: {}", bad.join(", ")),
        SandboxTier::Engine | SandboxTier::None => format!("no sandbox here; {}", missing()),
    }
}
