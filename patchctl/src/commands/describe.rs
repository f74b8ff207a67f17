//! What a shell and a manual page want to know, made from the command line's own definition.

use clap::CommandFactory;

use super::Outcome;
use crate::cli::Arguments;
use crate::failure::Failure;

pub fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "patchctl", &mut bytes);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub fn man() -> Outcome {
    let command = Arguments::command();
    let io = || Failure::io("cannot write", "the manual page");
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut bytes).map_err(io())?;
    for part in command.get_subcommands() {
        let title = format!("patchctl {}", part.get_name());
        let man = clap_mangen::Man::new(part.clone().display_name(title));
        man.render_name_section(&mut bytes).map_err(io())?;
        man.render_options_section(&mut bytes).map_err(io())?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
