//! Start to exit of `true`, run by run in turn with every peer.

use std::path::Path;

use crate::ours::{Kind, Ours};
use crate::peers::Peer;
use crate::{PAUSE, Result, say};

pub async fn measure(directory: &Path, runs: usize) -> Result<()> {
    let workspace = directory.join("workspace");
    std::fs::create_dir(&workspace)?;
    let ours = Ours::new(directory, 1)?;
    let peers = Peer::all(directory, &workspace).await;
    let measured = take_turns(&ours, &peers, &workspace, runs).await;
    ours.end().await;
    measured
}

async fn take_turns(ours: &Ours, peers: &[Peer], workspace: &Path, runs: usize) -> Result<()> {
    for run in 0..runs {
        for (kind, name) in [(Kind::Cold, "patchbay, cold"), (Kind::Warm, "patchbay, warm")] {
            tokio::time::sleep(PAUSE).await;
            say(name, ours.once(kind, workspace, &["/bin/true"]).await?);
        }
        for peer in peers.iter().filter(|peer| peer.has_turn(run, runs)) {
            tokio::time::sleep(PAUSE).await;
            say(peer.name(), peer.once().await?);
        }
    }
    Ok(())
}
