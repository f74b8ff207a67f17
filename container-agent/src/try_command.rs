//! `patchbay-agent try`: one command in the sandbox over a directory, without a plane. Prints what the command
//! prints, then the diff. The directory itself is not changed.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use redaction::Redactor;
use shared_contracts::executions::{Limits, Terminal};
use shared_contracts::limits as default;
use shared_contracts::sandboxes::SandboxProvider;
use shared_contracts::secrets::{LeasedSecret, SecretForm};

use crate::config::{Flags, Settings};
use crate::egress::Moment;
use crate::images::Image;
use crate::sandbox::oci::Oci;
use crate::sandbox::sweep::{self, Scratch};
use crate::sandbox::{Exit, Mounts, Provider, Sandbox, SandboxSpec, Signal, Started};
use crate::way_out::{self, Told};
use crate::workspace::{changes, closed};
use crate::{clock, environment, offer, run, secrets};

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
    #[arg(long, default_value_t = default::OPEN_FILES_DEFAULT)]
    open_files: u32,
    /// What it may reach over the network, such as example.com:443; repeat for more. Nothing unless given
    #[arg(long, value_name = "HOST:PORT")]
    egress: Vec<String>,
    /// Variable of this environment that the command gets and that its output is cleaned of; repeat for more
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// The same, as the file /run/secrets/NAME
    #[arg(long, value_name = "NAME")]
    secret_file: Vec<String>,
    /// Give it a pseudo-terminal of this size, such as 24x80
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = terminal)]
    terminal: Option<Terminal>,
    /// What makes the sandbox: `namespaces` or `oci`, which takes `--image` for the name of an image of the engine's
    #[arg(long, default_value = "namespaces", value_parser = kind)]
    sandbox: SandboxProvider,
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
    let scratch = Scratch::make(&sweep::try_parent()?)?;
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
        open_files: arguments.open_files,
        ..Limits::default()
    };
    let secrets = secrets_of(arguments)?;
    let redactor = match secrets.is_empty() {
        true => None,
        false => Some(Redactor::new(secrets.iter().map(|secret| (&secret.name, &secret.value)))?),
    };
    let named = settings.images.first().filter(|image| *image != offer::HOST);
    // What is unpacked is held to the end.
    let (provider, mounted, of_image, _unpacked): (Box<dyn Provider>, _, _, _) = match arguments.sandbox {
        SandboxProvider::Oci => {
            let oci = Oci::connect(run::engine(settings, instance.to_owned())).await?;
            let of_image = oci.image_environment(named.map(String::as_str)).await?;
            (Box::new(oci), named.map(PathBuf::from), of_image, None)
        }
        SandboxProvider::Namespaces => {
            let image = match named {
                // What is unpacked stays for the next one.
                Some(image) => offer::open_images(settings)?.get(&image.parse()?).await?,
                None => Image::host(),
            };
            let provider = Box::new(run::provider(settings, instance.to_owned(), state));
            (provider, image.root.clone(), image.environment.clone(), Some(image))
        }
    };
    let mut environment = environment::base(settings);
    environment.insert("PATCHBAY_EXECUTION_ID".into(), "try".into());
    environment.extend(secrets::environment(&secrets));
    let egress = way_out::announce(&arguments.egress, &mut environment);
    let mut sandbox = provider
        .prepare(SandboxSpec {
            name: "try".into(),
            owner: None,
            directory: state.join("execution"),
            mounts: Mounts { workspace: lower, image: mounted, files: secrets::files(&secrets).collect() },
            command: arguments.command.clone(),
            environment: environment::complete(settings, &of_image, environment),
            limits,
            egress,
            terminal: arguments.terminal,
            slot: 0,
        })
        .await?;
    let outcome = play(arguments, settings, redactor.as_ref(), sandbox.as_mut()).await;
    let usage = sandbox.control().usage().await;
    let changes = closed::collect(sandbox.as_mut()).await;
    let changes = changes.map(|collected| changes::read(&lower_fd, &collected));
    sandbox.remove().await;
    provider.close().await;
    let (exit, timed_out) = outcome?;
    let changes = changes??;
    if !changes.files.is_empty() {
        print!("{}", patch_engine::unified_diff(&changes.files));
    }
    if let Some(why) = &changes.unsettled {
        eprintln!("patchbay-agent: {why}: the diff may show half of a patch");
    }
    if changes.ignored > 0 {
        eprintln!("patchbay-agent: {} new files left out, because .gitignore says so", changes.ignored);
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
    if usage.disk_full {
        eprintln!("patchbay-agent: the disk limit of {} MB was reached (--disk-mb)", arguments.disk_mb);
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
    settings: &Settings,
    redactor: Option<&Redactor>,
    sandbox: &mut dyn Sandbox,
) -> Result<(Exit, bool), Box<dyn std::error::Error>> {
    let mut pumps = Vec::new();
    let Started { output, egress } = sandbox.start().await?;
    let (out, err) = (redactor.map(Redactor::stream), redactor.map(Redactor::stream));
    pumps.push(std::thread::spawn(move || pass_on(output.stdout, std::io::stdout(), out)));
    if let Some(stderr) = output.stderr {
        pumps.push(std::thread::spawn(move || pass_on(stderr, std::io::stderr(), err)));
    }
    let way_out = match egress {
        Some(listener) => {
            Some(way_out::open(listener, &arguments.egress, &settings.egress_vouched, print_told)?)
        }
        None => None,
    };
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
    if let Some(way_out) = way_out {
        way_out.close().await;
    }
    for pump in pumps {
        let _ = pump.join();
    }
    Ok((exit, timed_out))
}

/// Each decision about the network as it is made.
fn print_told(told: Told) {
    let text = match told {
        Told::Decision(decision) if decision.moment == Moment::Decided => {
            let verdict = if decision.allowed { "allowed" } else { "refused" };
            let port = decision.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("egress {verdict}: {}{port} ({})", decision.host, decision.detail)
        }
        Told::Decision(_) => return,
        Told::Dropped(count) => format!("{count} more decisions about the network were only counted"),
        Told::Broken(error) => format!("the sandbox has no way out: {error}"),
    };
    eprintln!("patchbay-agent: {text}");
}

fn secrets_of(arguments: &Try) -> Result<Vec<LeasedSecret>, String> {
    let forms = [(&arguments.secret, SecretForm::Environment), (&arguments.secret_file, SecretForm::File)];
    let named = forms.into_iter().flat_map(|(names, form)| names.iter().map(move |name| (name, form)));
    let secret = |(name, form): (&String, SecretForm)| match std::env::var(name) {
        Ok(value) => Ok(LeasedSecret { name: name.clone(), form, value }),
        Err(error) => Err(format!("--secret {name}: this environment's variable of that name: {error}")),
    };
    named.map(secret).collect()
}

fn terminal(text: &str) -> Result<Terminal, String> {
    let size = text.split_once('x').and_then(|(rows, columns)| {
        Some(Terminal { rows: rows.parse().ok()?, columns: columns.parse().ok()? })
    });
    size.ok_or_else(|| format!("`{text}` is not a size such as 24x80"))
}

fn kind(text: &str) -> Result<SandboxProvider, String> {
    let found = SandboxProvider::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| format!("`{text}` is neither `namespaces` nor `oci`"))
}

fn pass_on(from: OwnedFd, mut to: impl Write, mut redaction: Option<redaction::Stream>) {
    let mut from = std::fs::File::from(from);
    let (mut bytes, mut clean) = (vec![0; 64 * 1024], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let mut read = bytes.get(..count).unwrap_or_default();
        if let Some(stream) = &mut redaction {
            clean.clear();
            stream.feed(read, &mut clean);
            read = &clean;
        }
        if to.write_all(read).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
    if let Some(stream) = redaction {
        clean.clear();
        stream.finish(&mut clean);
        let _ = to.write_all(&clean).and_then(|()| to.flush());
    }
}
