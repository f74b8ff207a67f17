//! Sandboxes that wait: built to the point where only the workspace and the command are missing, each of them for one
//! execution. After a payload ran in one it is removed as any other is; none is used twice.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::running::Running;
use super::{CAPACITY_IDS, Namespaces, Place};

/// Whoever took one is starting it, and building another takes the same locks of the kernel.
const NOT_BEFORE: Duration = Duration::from_millis(20);
/// After a failure; what failed is in the log, and executions are built for as if nothing waited.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How many wait, and where.
#[derive(Debug)]
pub struct Warm {
    count: usize,
    directory: PathBuf,
    ready: Mutex<Vec<Running>>,
    /// Counts them, so that no two that live have the same uid or name.
    next: AtomicU32,
    taken: Notify,
}

impl Warm {
    /// Below `directory`, which is emptied: nothing of an earlier agent waits.
    pub fn new(count: u32, directory: &Path) -> std::io::Result<Arc<Self>> {
        let _ = crate::sandbox::sweep::remove_tree(directory);
        std::fs::create_dir_all(directory)?;
        Ok(Arc::new(Self {
            count: count as usize,
            directory: directory.to_owned(),
            ready: Mutex::default(),
            next: AtomicU32::new(0),
            taken: Notify::new(),
        }))
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Running>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that waits longest. What ended while it waited was killed by somebody, and goes.
    pub(super) fn take(self: &Arc<Self>) -> Option<Running> {
        let mut ready = self.ready();
        ready.retain(|running| !running.line.is_over());
        let mut taken = (!ready.is_empty()).then(|| ready.remove(0))?;
        taken.taken_from = Some(Arc::clone(self));
        Some(taken)
    }

    /// Call it when what was taken runs.
    pub(super) fn refill(&self) {
        self.taken.notify_one();
    }

    /// Keeps as many waiting as there should be, until it is dropped with its runtime.
    pub async fn keep(self: Arc<Self>, namespaces: Namespaces) {
        loop {
            while self.ready().len() < self.count {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let name = format!("warm-{number}");
                let place = Place {
                    directory: self.directory.join(&name),
                    owns_directory: true,
                    slot: CAPACITY_IDS + number,
                    name,
                    image: None,
                };
                match namespaces.build_whole(&place).await {
                    Ok(running) => self.ready().push(running),
                    Err(error) => {
                        tracing::warn!(%error, "no sandbox can be kept waiting; trying again");
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                }
            }
            self.taken.notified().await;
            tokio::time::sleep(NOT_BEFORE).await;
        }
    }

    /// Those that still wait go.
    pub async fn close(&self) {
        let waiting = std::mem::take(&mut *self.ready());
        for running in waiting {
            crate::sandbox::Sandbox::remove(Box::new(running)).await;
        }
        let _ = std::fs::remove_dir(&self.directory);
    }
}
