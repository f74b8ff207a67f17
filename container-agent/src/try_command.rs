//! `patchbay-agent try`: one command in the sandbox over a directory, without a plane. Prints what the command
//! prints, then the diff. The directory itself is not changed.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shared_contracts::executions::Limits;
use shared_contracts::limits as default;
use shared_contracts::sandboxes::SandboxProvider;

use crate::config::{Flags, Settings};
use crate::sandbox::oci::Oci;
use crate::sandbox::sweep::{self, Scratch};
use crate::sandbox::{Egress, Exit, Mounts, Provider, Sandbox, SandboxSpec, Signal};
use crate::workspace::changes;
use crate::{clock, environment, run};

#[derive(Debug, Args)]
pub struct Try {
    #[command(flatten)]
    pub flags: Flags,
    /// Directory to work on; an empty one unless given
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    #[arg(long, default_value_t = default::MEMORY_MB_DEFAULT)]
    memory_mb: u32,
    #[arg(long, default_value_t = default::CPU_CORES_DEFAULT)]
    cpu_cores: f64,
    #[arg(long, default_value_t = default::WALL_SECONDS_DEFAULT)]
    wall_seconds: u32,
    #[arg(long, default_value_t = default::PROCESSES_DEFAULT)]
    processes: u32,
    #[arg(long, default_value_t = default::DISK_MB_DEFAULT)]
    disk_mb: u32,
    /// What makes the sandbox: `namespaces` or `oci`
    #[arg(long, default_value = "namespaces", value_parser = kind)]
    sandbox: SandboxProvider,
    /// The system in it: with `oci` the name of an image of the engine's
    #[arg(long, value_name = "NAME")]
    image: Option<PathBuf>,
    /// Print what was measured, on standard error
    #[arg(long)]
    stats: bool,
    /// Command and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub async fn run(arguments: Try) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let started = clock::now();
    let settings = Settings::load(&arguments.flags)?;
    // 1. A state directory of this run's own.
    let scratch = Scratch::make(&sweep::try_parent())?;
    let result = execute(&arguments, &settings, &scratch.path, &scratch.instance, started).await;
    // 2. Nothing stays behind.
    scratch.remove();
    result
}

async fn execute(
    arguments: &Try,
    settings: &Settings,
    state: &Path,
    instance: &str,
    started: std::time::Instant,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let lower = match &arguments.workspace {
        Some(path) => {
            path.canonicalize().map_err(|error| format!("--workspace {}: {error}", path.display()))?
        }
        None => state.join("empty"),
    };
    if arguments.workspace.is_none() {
        std::fs::create_dir(&lower)?;
    }
    let lower_fd = OwnedFd::from(std::fs::File::open(&lower)?);
    let limits = Limits {
        memory_mb: arguments.memory_mb,
        cpu_cores: arguments.cpu_cores,
        wall_seconds: arguments.wall_seconds,
        processes: arguments.processes,
        disk_mb: arguments.disk_mb,
        ..Limits::default()
    };
    let provider: Box<dyn Provider> = match arguments.sandbox {
        SandboxProvider::Namespaces => Box::new(run::provider(settings, instance.to_owned())),
        SandboxProvider::Oci => Box::new(Oci::connect(run::engine(settings, instance.to_owned())).await?),
    };
    let mut environment = environment::base(settings);
    environment.insert("PATCHBAY_EXECUTION_ID".into(), "try".into());
    let mut sandbox = provider
        .prepare(SandboxSpec {
            name: "try".into(),
            owner: None,
            directory: state.join("execution"),
            mounts: Mounts { workspace: lower, image: arguments.image.clone(), files: Vec::new() },
            command: arguments.command.clone(),
            environment,
            limits,
            egress: Egress::Nothing,
            terminal: None,
            slot: 0,
        })
        .await?;
    let outcome = play(arguments, sandbox.as_mut()).await;
    let usage = sandbox.control().usage().await;
    let collected = sandbox.collect().await;
    let changes = match (&outcome, &collected) {
        (Ok(_), Ok(collected)) => Some(changes::read(&lower_fd, collected)),
        _ => None,
    };
    drop(collected);
    sandbox.remove().await;
    let (exit, timed_out) = outcome?;
    if let Some(changes) = changes.transpose()? {
        if !changes.files.is_empty() {
            print!("{}", patch_engine::unified_diff(&changes.files));
        }
        if let Some(why) = &changes.unsettled {
            eprintln!("patchbay-agent: {why}: the diff may show half of a patch");
        }
        if changes.ignored > 0 {
            eprintln!("patchbay-agent: {} new files left out, because .gitignore says so", changes.ignored);
        }
    }
    if timed_out {
        eprintln!("patchbay-agent: stopped after {} s (--wall-seconds)", arguments.wall_seconds);
    }
    if usage.out_of_memory_kills > 0 {
        eprintln!(
            "patchbay-agent: the kernel killed {} process(es): the memory limit of {} MB was reached (--memory-mb)",
            usage.out_of_memory_kills, arguments.memory_mb
        );
    }
    if usage.refused_forks > 0 {
        eprintln!(
            "patchbay-agent: a new process was refused: the limit of {} was reached (--processes)",
            arguments.processes
        );
    }
    if arguments.stats {
        let seconds = started.elapsed().as_secs_f64();
        let (cpu, peak) = (usage.cpu_us / 1_000, usage.memory_peak_bytes / 1024);
        eprintln!("patchbay-agent: {seconds:.4} s, {cpu} ms of CPU, {peak} KiB at most");
    }
    Ok(match exit {
        _ if timed_out => ExitCode::from(124),
        Exit::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Exit::Signal(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    })
}

/// Runs it to its end with its output passed through.
async fn play(
    arguments: &Try,
    sandbox: &mut dyn Sandbox,
) -> Result<(Exit, bool), crate::sandbox::SandboxError> {
    let mut pumps = Vec::new();
    let output = sandbox.start().await?.output;
    pumps.push(std::thread::spawn(move || pass_on(output.stdout, std::io::stdout())));
    if let Some(stderr) = output.stderr {
        pumps.push(std::thread::spawn(move || pass_on(stderr, std::io::stderr())));
    }
    let control = sandbox.control();
    let limit = Duration::from_secs(arguments.wall_seconds.into());
    let mut timed_out = false;
    let first = tokio::select! {
        exit = sandbox.wait() => Some(exit?),
        () = tokio::time::sleep(limit) => { timed_out = true; None }
        _ = tokio::signal::ctrl_c() => None,
    };
    let exit = match first {
        Some(exit) => exit,
        None => {
            control.signal(Signal::Kill).await?;
            sandbox.wait().await?
        }
    };
    for pump in pumps {
        let _ = pump.join();
    }
    Ok((exit, timed_out))
}

fn kind(text: &str) -> Result<SandboxProvider, String> {
    let found = SandboxProvider::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is neither `namespaces` nor `oci`"))
}

fn pass_on(from: OwnedFd, mut to: impl Write) {
    let mut from = std::fs::File::from(from);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(bytes.get(..count).unwrap_or_default()).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
