//! `patchbay-agent`: takes leased executions from the plane, runs them in sandboxes on this machine, posts events,
//! artifacts and patches back. It dials out; nothing listens here.
//!
//! The program is [`main`]. What is public besides can be used, and is tested, without a plane.

mod api;
mod backoff;
mod beneath;
mod clock;
mod config;
mod connect;
mod containers;
mod doctor;
pub mod egress;
mod environment;
mod execution;
pub mod images;
mod lease;
mod machine;
mod offer;
mod output;
mod record;
mod recover;
pub mod report;
mod run;
pub mod sandbox;
mod secrets;
mod stop;
mod tools;
mod try_command;
mod watch;
mod way_out;
mod workspace;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "patchbay-agent",
    version,
    about = "Runs Patchbay's executions in sandboxes on this machine"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Connect to the plane and take executions until told to stop
    Run(Box<run::Run>),
    /// Say what this machine's sandbox can do, and how to fix what it cannot
    Doctor(Box<doctor::Doctor>),
    /// Run one command in the sandbox over a directory and print the diff; no plane needed
    Try(Box<try_command::Try>),
    /// Apply a patch to the workspace: all of it or nothing, and what to send instead where it does not fit
    Apply(Box<tools::apply::Apply>),
    /// Serve `apply_patch` and `check_patch` to a coding agent: the Model Context Protocol on standard input and output
    Mcp,
}

/// The whole program.
pub fn main() -> ExitCode {
    // Before anything else: these have one thread, and no environment that could say more.
    match std::env::args_os().nth(1) {
        Some(first) if first == sandbox::namespaces::template::ARGUMENT => {
            return sandbox::namespaces::template::main();
        }
        Some(first) if first == sandbox::oci::mounts::ARGUMENT => return sandbox::oci::mounts::main(),
        Some(first) if first == sandbox::oci::init::ARGUMENT => return sandbox::oci::init::main(),
        Some(first) if first == tools::settle::ARGUMENT => return tools::settle::main(),
        _ => {}
    }
    if let Some(code) = patchctl::local::worker_was_killed() {
        return code;
    }
    log_to_stderr();
    // Both HTTP and WebSocket use it; a second call would only find the first one's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match Arguments::parse_from(arguments()).command {
        Command::Run(arguments) => block_on(2, run::run(*arguments)),
        Command::Doctor(arguments) => block_on(1, doctor::run(*arguments)),
        Command::Try(arguments) => block_on(1, try_command::run(*arguments)),
        Command::Apply(arguments) => Ok(tools::apply::run(&arguments)),
        Command::Mcp => block_on(1, tools::mcp::run()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("patchbay-agent: {error}");
        ExitCode::FAILURE
    })
}

/// Called as `apply_patch`, it is `apply`.
fn arguments() -> Vec<OsString> {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    let called = arguments.first().and_then(|name| Path::new(name).file_name());
    if called.is_some_and(|name| name == tools::APPLY_PATCH) {
        arguments.insert(1, "apply".into());
    }
    arguments
}

/// `PATCHBAY_LOG` names the levels, such as `debug` or `patchbay_agent=debug`.
fn log_to_stderr() {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_env("PATCHBAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

type Done = Result<ExitCode, Box<dyn std::error::Error>>;

fn block_on(threads: usize, future: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(future)
}
