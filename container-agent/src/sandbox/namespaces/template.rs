//! The template: the agent's own program once more, with one thread and an empty environment. It builds the system that
//! every sandbox of one kind gets, once, in a mount namespace of its own, and is then forked for each of them. A fork of this
//! small process takes a tenth of what starting a program and building the system again would.
//!
//! It never changes: when what it is made of does, the agent starts another, see [`super::templates`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use super::message::{self, Base, Blueprint, Order, Report};
use super::walls::Seccomp;
use super::workspace::IdMap;
use super::{helper, root, sys};

/// The hidden argument that makes the program a template.
pub const ARGUMENT: &str = "__sandbox-template";
/// Each holds a descriptor.
const ID_MAPS_MAX: usize = 64;

/// The whole life of a template. Its standard input is the agent's socket.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let failed = Report::Failed(message::short(&error.to_string()));
            let _ = message::send(io::stdin().as_fd(), &failed, &[]);
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let agent = io::stdin();
    // 1. What they all have.
    let Some((Order::Build, fds)) = message::receive::<Order>(agent.as_fd())? else { return Ok(()) };
    let base: Base = message::read_memory_file(helper::first(fds)?)?;
    root::build(&base)?;
    let seccomp = Seccomp::compile().map_err(io::Error::other)?;
    // Not before: the kernel would not let a user map its own ids.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    // Whoever ends is gone without being asked.
    sys::set_signal(libc::SIGCHLD, libc::SIG_IGN)?;
    message::send(agent.as_fd(), &Report::Built, &[])?;
    // 2. One after the other, for as long as the agent is there.
    let mut id_maps = IdMaps::default();
    while let Some((blueprint, fds)) = message::receive::<Blueprint>(agent.as_fd())? {
        // Without one the helper makes its own, and says why it cannot.
        let id_map = if base.privileged { id_maps.get(blueprint.outer_id).ok() } else { None };
        if sys::fork_into(0, None)? == 0 {
            helper::run(&blueprint, fds, &seccomp, id_map);
        }
    }
    // Whoever waits for this process waits for all of them.
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok() {}
    Ok(())
}

/// From the agent's own user to those of executions: places are used again and again, and making one takes a process.
#[derive(Default)]
struct IdMaps(BTreeMap<u32, OwnedFd>);

impl IdMaps {
    fn get(&mut self, id: u32) -> io::Result<IdMap<'_>> {
        let from = rustix::process::geteuid().as_raw();
        if !self.0.contains_key(&id) {
            let made = IdMap::make(from, id)?;
            if self.0.len() >= ID_MAPS_MAX {
                self.0.pop_first();
            }
            self.0.insert(id, made);
        }
        let namespace = self.0.get(&id).ok_or_else(|| io::Error::other("no id map"))?;
        Ok(IdMap { from, namespace: namespace.as_fd() })
    }
}
