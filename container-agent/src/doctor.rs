//! `patchbay-agent doctor`: what this machine can do, what that means, how to fix it.

use std::process::ExitCode;

use clap::Args;
use shared_contracts::sandboxes::{Finding, OfferedSandbox, SandboxProvider, SandboxTier, Verdict};

use crate::config::{Flags, LimitsMode, Settings, WorkspaceDisk};
use crate::sandbox::Provider;
use crate::sandbox::oci::{self, Oci};
use crate::sandbox::probe::{self, Expected, bad};
use crate::sandbox::sweep::Scratch;
use crate::sandbox::trial::{self, Trial};
use crate::{environment, offer, run};

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

/// What this machine can do.
pub struct Examined {
    pub sandboxes: Vec<OfferedSandbox>,
    /// If one can be used. It has said what it is; to ask again takes Podman over a second.
    pub engine: Option<Oci>,
}

/// Runs a sandbox of each kind. Leaves nothing behind.
pub async fn examine(settings: &Settings) -> Examined {
    // First: the kernel loads what it has as a module.
    let trial = try_one(settings).await;
    let findings = probe::probe(expected(settings), trial);
    let tier = probe::tier(&findings);
    let images = settings.images.iter().filter(|image| offer::is_understood(image)).cloned().collect();
    let namespaces = offer::offered(SandboxProvider::Namespaces, tier, findings, images);
    let (of_engine, engine) = try_engine(settings).await;
    Examined { sandboxes: vec![namespaces, of_engine], engine }
}

async fn try_engine(settings: &Settings) -> (OfferedSandbox, Option<Oci>) {
    let of = |tier, findings| {
        // What only the agent's own sandbox understands is not for an engine.
        let others = settings.images.iter().filter(|image| !offer::is_of_this_machine(image)).cloned();
        let images = settings.engine_image.iter().cloned().chain(others).collect();
        offer::offered(SandboxProvider::Oci, tier, findings, images)
    };
    let scratch = match scratch(settings) {
        Ok(scratch) => scratch,
        Err(finding) => return (of(SandboxTier::None, vec![finding]), None),
    };
    let engine = Oci::connect(run::engine(settings, scratch.instance.clone())).await;
    let (tier, findings) = oci::probe::examine(&engine, &scratch.path).await;
    scratch.remove();
    (of(tier, findings), engine.ok().filter(|_| tier == SandboxTier::Engine))
}

/// A place for one trial.
fn scratch(settings: &Settings) -> Result<Scratch, Finding> {
    Scratch::make(&settings.state_dir.join("doctor")).map_err(|error| {
        let (meaning, fix) = ("nothing can be kept in it", "name another one (--state-dir)");
        bad("state directory", Verdict::Missing, error.to_string(), meaning, fix)
    })
}

async fn try_one(settings: &Settings) -> Trial {
    let scratch = match scratch(settings) {
        Ok(scratch) => scratch,
        Err(finding) => return Trial { ran: false, findings: vec![finding] },
    };
    tracing::debug!(instance = scratch.instance, "trying one sandbox");
    let provider = run::provider(settings, scratch.instance.clone(), &scratch.path);
    let environment = environment::complete(settings, &[], environment::base(settings));
    let trial = trial::run(&provider, &scratch.path, environment).await;
    provider.close().await;
    scratch.remove();
    trial
}

pub async fn run(arguments: Doctor) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let settings = Settings::load(&arguments.flags)?;
    let sandboxes = examine(&settings).await.sandboxes;
    let tier = offer::strongest(&sandboxes);
    if arguments.json {
        println!("{}", serde_json::json!({ "tier": tier, "sandboxes": sandboxes }));
    } else {
        sandboxes.iter().for_each(print_table);
        println!("this machine: {}", tier.as_str());
    }
    Ok(if tier == SandboxTier::None { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print_table(sandbox: &OfferedSandbox) {
    let OfferedSandbox { provider, tier, reason, findings, .. } = sandbox;
    let width = |of: fn(&Finding) -> usize| findings.iter().map(of).max().unwrap_or_default();
    let (what, found) =
        (width(|finding| finding.what.len()), width(|finding| finding.found.chars().count().min(48)));
    println!("{}: {} ({reason})\n", provider.as_str(), tier.as_str());
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok     ",
            Verdict::Limited => "limited",
            Verdict::Missing => "MISSING",
        };
        println!("  {mark}  {:what$}  {:found$}  {}", finding.what, finding.found, finding.meaning);
        if !finding.fix.is_empty() {
            println!("{:11}{:what$}  fix: {}", "", "", finding.fix);
        }
    }
    println!();
}

pub fn reason(tier: SandboxTier, findings: &[Finding]) -> String {
    let bad: Vec<_> =
        findings.iter().filter(|f| f.verdict != Verdict::Good).map(|f| f.what.as_str()).collect();
    let missing = || {
        let missing = findings.iter().filter(|finding| finding.verdict == Verdict::Missing);
        missing.map(|f| format!("{}: {}", f.what, f.found)).collect::<Vec<_>>().join("; ")
    };
    match tier {
        SandboxTier::Strong => "every wall and every limit stands".into(),
        SandboxTier::Limited => format!("every wall stands; less than full: {}", bad.join(", ")),
        SandboxTier::Engine if bad.is_empty() => "containers of an engine on this machine".into(),
        SandboxTier::Engine => {
            format!("containers of an engine on this machine; less than full: {}", bad.join(", "))
        }
        SandboxTier::None => format!("no sandbox here; {}", missing()),
    }
}
