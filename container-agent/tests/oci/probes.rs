//! The ways out of a sandbox that `namespaces` is tried with, tried from inside an engine's container.

use std::path::Path;

use crate::engines::Engine;
use crate::image::PROBED;
use crate::probe_program;
use crate::stand::Stand;

pub async fn no_probe_works(engine: &Engine) {
    tokio::task::block_in_place(|| {
        let (state, workspace) = (tempfile::tempdir().unwrap(), probe_program::workspace());
        let stand = Stand::new();
        println!("{}", stand.assert_open_outside());
        let agent = || {
            let mut agent = stand.agent();
            agent.args(engine.options()).env("TMPDIR", state.path());
            agent
        };
        let runs = state.path().join("patchbay-try");
        stand.assert_closed(agent, Path::new(PROBED), workspace.path(), &runs);
    });
}
