//! Finishing what a killed run left is what opening a tree does; this command does nothing else.

use super::Outcome;
use crate::cli::Recover;
use crate::disk::{Recovered, Tree};

pub fn run(arguments: &Recover) -> Outcome {
    let (_, recovered) = Tree::open(&arguments.root)?;
    Ok(match recovered {
        Recovered::Nothing => "nothing to recover\n",
        Recovered::Discarded => "a killed run had changed nothing yet; what it had prepared is removed\n",
        Recovered::Finished => "finished what a killed run had begun: its whole patch is in place\n",
        Recovered::TakenBack => "took back what a killed run had begun: nothing of its patch is in place\n",
    }
    .to_owned())
}
