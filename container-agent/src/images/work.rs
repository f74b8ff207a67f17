//! The folder in which one image is made, before it has a name. It goes with the last who holds it, and with the next
//! start of the agent at the latest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Fault;
use crate::clock;

pub struct Work {
    folder: PathBuf,
}

impl Work {
    /// `parent` is where everything nameless is.
    pub fn begin(parent: &Path) -> Result<Arc<Self>, Fault> {
        let folder = parent.join(format!("{:032x}", clock::random()));
        let work = Self { folder };
        let root = work.root();
        fs::create_dir_all(&root).map_err(Fault::io("make", &root))?;
        Ok(Arc::new(work))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The tree.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    pub fn layer_path(&self, number: usize) -> PathBuf {
        self.folder.join(format!("layer-{number}"))
    }

    /// Runs `step` on a thread of its own, which keeps the folder. Given up by whoever waits, it is told to stop.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        step: impl FnOnce(Arc<AtomicBool>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let given_up = GivenUp(Arc::default());
        let is_cancelled = Arc::clone(&given_up.0);
        let kept = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let outcome = step(is_cancelled);
            drop(kept);
            outcome
        });
        done.await.unwrap_or_else(|error| Err(Fault::Stopped(error.to_string())))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Once it has its name, nothing is here any more.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Says so when it is dropped.
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
