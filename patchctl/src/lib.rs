//! What `patchctl` is made of. Any program applies to a tree with [`patch`], [`local`] and [`report`]; without the
//! feature `command` that is all there is. Its `main` asks [`local::worker_was_killed`] first.

#[cfg(feature = "command")]
pub mod cli;
#[cfg(feature = "command")]
pub mod commands;
pub mod disk;
pub mod failure;
pub mod local;
pub mod patch;
pub mod report;
#[cfg(feature = "command")]
mod server;
pub mod state;
