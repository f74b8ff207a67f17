//! Tries to get out of a sandbox, one named way after the other, and prints one JSON line for each: `open` is a breach.
//!
//! ```text
//!   --stand      on the host: makes what there is to find (sockets, files, memory, secrets), until its input ends
//!   (nothing)    in the sandbox: looks for it, and tries what only a host may do
//!   --control    on the host, in namespaces of its own: the same; here every probe must be open, so that it can fail
//! ```
//! `--bomb NAME` uses up what it is given, `--work` works beside it.
//!
//! Nothing is harmed by a probe: what can be written is opened and closed, what would change the machine is asked for
//! with arguments that change nothing, what changes a process happens in a child of its own.

mod bombs;
mod call;
mod control;
mod outside;
mod probe;
mod probes;
mod runner;
mod stand;

use std::process::ExitCode;

use outside::Outside;

const USAGE: &str = "sandbox-probes [--list] [--only ID] [--stand | --control | --euid | --work] [--bomb NAME] [--number N] [--directory DIR] \
                     [--port PORT] [--terminal FILE] [--agent FILE] [--state DIR] [--victim PID]";

fn main() -> ExitCode {
    // Before anything is opened here.
    let inherited = outside::inherited_descriptors();
    let mut outside = Outside { inherited, ..Outside::default() };
    let (mut only, mut bomb, mut mode) = (None, None, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--list" | "--stand" | "--control" | "--euid" | "--work" => mode = name,
            _ => match arguments.next() {
                Some(value) if name == "--only" => only = Some(value),
                Some(value) if name == "--bomb" => bomb = Some(value),
                Some(value) if outside.set(&name, &value) => {}
                _ => {
                    eprintln!("{name}: not understood; usage: {USAGE}");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
    let wanted = |id: &str| only.as_deref().is_none_or(|only| only == id);
    let result = match mode.as_str() {
        _ if bomb.is_some() => bombs::explode(&bomb.unwrap_or_default()),
        "--work" => bombs::work(),
        "--list" => {
            probes::all().filter(|probe| wanted(probe.id)).for_each(|probe| println!("{}", probe.line()));
            Ok(())
        }
        "--euid" => {
            println!("{}", call::effective_user());
            Ok(())
        }
        "--stand" => stand::stand(&outside),
        "--control" => control::run(outside, |outside| runner::run_all(outside, true, wanted)),
        _ => {
            runner::run_all(&outside, false, wanted);
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox-probes {mode}: {error}");
            ExitCode::FAILURE
        }
    }
}
