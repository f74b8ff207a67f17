//! Many starts, several at a time, beside bubblewrap's, in rounds that take turns. Each must exit with 0.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::bwrap::Bwrap;
use crate::ours::{Kind, Ours};
use crate::peers::found;
use crate::{PAUSE, Result, say};

const AT_ONCE: usize = 8;
const ROUNDS: usize = 8;

pub async fn measure(directory: &Path, starts: usize) -> Result<()> {
    let workspace = directory.join("workspace");
    std::fs::create_dir(&workspace)?;
    let ours = Arc::new(Ours::new(directory, 0)?);
    let bwrap = found("bwrap", Bwrap::new(&workspace));
    let measured = take_turns(&ours, bwrap.as_ref(), &workspace, starts).await;
    if let Some(ours) = Arc::into_inner(ours) {
        ours.end().await;
    }
    measured
}

async fn take_turns(ours: &Arc<Ours>, bwrap: Option<&Bwrap>, workspace: &Path, starts: usize) -> Result<()> {
    let (mut our_whole, mut their_whole) = (Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        let count = starts / ROUNDS + usize::from(round < starts % ROUNDS);
        tokio::time::sleep(PAUSE).await;
        our_whole += together("patchbay", count, || {
            let (ours, workspace) = (Arc::clone(ours), workspace.to_owned());
            async move { text(ours.once(Kind::Cold, &workspace, &["/bin/true"]).await) }
        })
        .await?;
        let Some(bwrap) = bwrap else { continue };
        tokio::time::sleep(PAUSE).await;
        their_whole += together("bwrap", count, || {
            let bwrap = bwrap.clone();
            async move { text(tokio::task::spawn_blocking(move || text(bwrap.once())).await)? }
        })
        .await?;
    }
    say("patchbay, whole", our_whole);
    if bwrap.is_some() {
        say("bwrap, whole", their_whole);
    }
    Ok(())
}

/// An error that can go from one thread to another.
fn text<T, E: ToString>(result: std::result::Result<T, E>) -> std::result::Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Until the last of them is removed too.
async fn together<F>(name: &str, count: usize, mut start: impl FnMut() -> F) -> Result<Duration>
where
    F: Future<Output = std::result::Result<Duration, String>> + Send + 'static,
{
    let at = Instant::now();
    let tasks = stream::iter(0..count).map(|_| tokio::spawn(start())).buffer_unordered(AT_ONCE);
    let times: Vec<_> = tasks.try_collect().await?;
    let whole = at.elapsed();
    for took in times {
        say(name, took?);
    }
    Ok(whole)
}
