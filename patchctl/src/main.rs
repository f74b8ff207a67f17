//! `patchctl`: applies, checks, reverts and converts patches on a local tree, all or nothing, or against a server.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use patchctl::cli::{Arguments, Command};
use patchctl::{commands, local, report};

fn main() -> ExitCode {
    if let Some(code) = local::worker_was_killed() {
        return code;
    }
    let command = Arguments::parse().command;
    let as_json = match &command {
        Command::Apply(arguments) => arguments.patch.json,
        Command::Check(arguments) => arguments.json,
        Command::Revert(arguments) => arguments.json,
        Command::ValidateTasks(arguments) => arguments.json,
        _ => false,
    };
    let result = match command {
        Command::Apply(arguments) => commands::apply::apply(&arguments),
        Command::Check(arguments) => commands::apply::check(&arguments),
        Command::Revert(arguments) => commands::revert::run(&arguments),
        Command::Recover(arguments) => commands::recover::run(&arguments),
        Command::Convert(arguments) => commands::convert::run(&arguments),
        Command::ValidateTasks(arguments) => commands::validate_tasks::run(&arguments),
        Command::Completions { shell } => commands::describe::completions(shell),
        Command::Man => commands::describe::man(),
    };
    // What a command has to say comes at once and last; a reader that went away is not an error.
    let (text, code) = match result {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(failure) => (report::failure(&failure, as_json), failure.exit_code()),
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    code
}
