//! Bombs in the agent's own sandbox: see `bomb_site`. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]
#![allow(clippy::expect_used, reason = "what is not there is a failed test")]

mod bomb_site;
mod probe_program;
mod processes;
mod remains;

use std::process::Command;
use std::time::Duration;

use bomb_site::Site;
use remains::Ground;

const ROUNDS_DEFAULT: usize = 3;

/// The machine itself.
struct Machine(Ground);

impl Site for Machine {
    /// With the agent everything ends.
    const TIDY: Duration = Duration::ZERO;

    fn agent(&self) -> Command {
        let mut agent = Command::new(probe_program::AGENT);
        agent.arg("try").env("TMPDIR", self.0.path());
        agent
    }

    fn look(&mut self) {
        self.0.look();
    }

    fn seen(&self) -> usize {
        self.0.seen().len()
    }

    fn remains(&self, going_on: &[u32]) -> Vec<String> {
        [processes::remaining(going_on), self.0.remains(going_on.len())].concat()
    }
}

#[test]
fn every_bomb_is_contained_and_its_neighbour_unharmed() {
    processes::adopt_orphans();
    bomb_site::assert_contained(&mut Machine(Ground::new()), ROUNDS_DEFAULT);
}
