//! One command a file. Each answers what to print, or a [`crate::failure::Failure`].

pub mod apply;
pub mod convert;
pub mod describe;
pub mod recover;
pub mod revert;
pub mod validate_tasks;

use crate::cli::Keep;
use crate::local::{Writing, noted};
use crate::state::State;

type Outcome = Result<String, crate::failure::Failure>;

fn writing<'command>(keep: &'command Keep, state: &'command std::io::Result<State>) -> Writing<'command> {
    Writing { state: noted(state), receipt: keep.file.as_deref(), is_durable: keep.durable }
}
