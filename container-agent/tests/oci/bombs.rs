//! Bombs in an engine's containers: see `bomb_site`.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::bomb_site::{self, Site};
use crate::engines::Engine;
use crate::probe_program;
use crate::remains::Ground;

const ROUNDS_DEFAULT: usize = 1;

/// The machine, and an engine that other tests use as well: what is looked for are this test's own containers.
struct Containers<'a> {
    engine: &'a Engine,
    ground: Ground,
    /// The container of each run that was seen.
    ids: BTreeMap<String, String>,
}

impl Site for Containers<'_> {
    /// Engines' own processes end after their containers.
    const TIDY: Duration = Duration::from_secs(20);

    fn agent(&self) -> Command {
        let mut agent = Command::new(probe_program::AGENT);
        agent.arg("try").args(self.engine.options()).env("TMPDIR", self.ground.path());
        agent
    }

    fn look(&mut self) {
        self.ground.look();
        for run in self.ground.seen() {
            if self.ids.contains_key(run) {
                continue;
            }
            if let Some(id) = Handle::current().block_on(self.engine.made_for(run)) {
                self.ids.insert(run.clone(), id);
            }
        }
    }

    fn seen(&self) -> usize {
        self.ids.len()
    }

    fn remains(&self, going_on: &[u32]) -> Vec<String> {
        let mut remains = self.ground.remains(going_on.len());
        let found = Handle::current().block_on(self.engine.names());
        let of = |id: &String| found.iter().filter(|name| name.contains(id.as_str())).cloned().collect();
        let left: Vec<Vec<_>> =
            self.ids.values().map(of).filter(|names: &Vec<_>| !names.is_empty()).collect();
        if left.len() > going_on.len() {
            remains.extend(left.concat());
        }
        remains
    }
}

pub async fn every_bomb_is_contained_and_its_neighbour_unharmed(engine: &Engine) {
    tokio::task::block_in_place(|| {
        let ground = Ground::new();
        bomb_site::assert_contained(&mut Containers { engine, ground, ids: BTreeMap::new() }, ROUNDS_DEFAULT);
    });
}
