//! `patchbay-agent doctor`: what this machine can do, what that means, how to fix it.

use std::process::ExitCode;

use clap::Args;
use shared_contracts::container_agents::SandboxTier;

use crate::config::{Flags, LimitsMode, Settings, WorkspaceDisk};
use crate::sandbox::probe::{self, Expected, Finding, Verdict};
use crate::sandbox::sweep;

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

/// Every probe that needs nothing running.
pub fn examine(settings: &Settings) -> (SandboxTier, Vec<Finding>) {
    let expected = expected(settings);
    let mut findings = probe::probe(expected);
    if expected.enforce_limits {
        findings
            .push(probe::cgroups_writable(&format!("doctor-{}", sweep::instance_of(&settings.state_dir))));
    }
    (probe::tier(&findings), findings)
}

pub fn run(arguments: &Doctor) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let settings = Settings::load(&arguments.flags)?;
    let (tier, findings) = examine(&settings);
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
    match tier {
        SandboxTier::Strong => "every wall and every limit stands".into(),
        SandboxTier::Limited => format!("every wall stands; less than full: {}", bad.join(", ")),
        SandboxTier::None => format!("no sandbox here; see: {}", bad.join(", ")),
    }
}
