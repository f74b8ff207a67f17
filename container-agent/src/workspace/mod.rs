//! The workspace on this machine: blobs cached by SHA-256, revisions as shared read-only trees made of hard links to
//! them, and what a payload changed on top of one.
//!
//! ```text
//!   manifest ─▶ blobs that the cache lacks, in packs ─▶ cache/blobs ─ links ─▶ cache/trees/<project>-<revision>
//! ```

mod cache;
pub mod changes;
pub mod closed;
mod fetch;
mod ignored;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use shared_contracts::ids::ProjectId;
use tokio::sync::RwLock;

use crate::api::{ApiError, Plane};
use crate::lease::Held;
use cache::Cache;

type Key = (ProjectId, u64);

pub struct Workspaces {
    plane: Arc<Plane>,
    cache: Arc<Cache>,
    /// Held for reading while blobs are linked, for writing while they are evicted.
    eviction: RwLock<()>,
    trees: Mutex<BTreeMap<Key, Weak<Slot>>>,
}

/// One tree's place: its lock makes the first user build it while the others wait.
struct Slot {
    building: tokio::sync::Mutex<()>,
    path: PathBuf,
}

/// A revision on disk. It is not evicted while this lives.
#[derive(Clone)]
pub struct Tree {
    slot: Arc<Slot>,
}

impl Tree {
    pub fn path(&self) -> &Path {
        &self.slot.path
    }

    pub fn open(&self) -> io::Result<OwnedFd> {
        Ok(std::fs::File::open(&self.slot.path)?.into())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error("the manifest of revision {revision}: {source}")]
    Manifest { revision: u64, source: ApiError },
    #[error("the manifest of revision {revision}, line {line}: {detail}")]
    ManifestLine { revision: u64, line: usize, detail: String },
    #[error("fetching {count} blobs: {source}")]
    Fetch { count: usize, source: ApiError },
    #[error("the plane sent a blob that is not what was asked for: {0}")]
    WrongBlob(String),
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
}

impl WorkspaceError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Runs what blocks, and turns a panic in it into an error.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkspaceError> + Send + 'static,
) -> Result<T, WorkspaceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(WorkspaceError::Io { what: "finish".into(), source: io::Error::other(error) }),
    }
}

impl Workspaces {
    pub fn open(state_directory: &Path, cache_mb: u64, plane: Arc<Plane>) -> io::Result<Self> {
        let cache = Cache::open(&state_directory.join("cache"), cache_mb.saturating_mul(1024 * 1024))
            .map_err(|error| io::Error::new(error.kind(), format!("the blob cache: {error}")))?;
        Ok(Self {
            plane,
            cache: Arc::new(cache),
            eviction: RwLock::new(()),
            trees: Mutex::new(BTreeMap::new()),
        })
    }

    /// A revision as a tree; built once, shared by all that run on it.
    pub async fn materialise(
        &self,
        held: &Held,
        project_id: ProjectId,
        revision: u64,
    ) -> Result<Tree, WorkspaceError> {
        let slot = self.slot((project_id, revision));
        let fetched = {
            let _building = slot.building.lock().await;
            let _no_eviction = self.eviction.read().await;
            if slot.path.is_dir() {
                tree::mark_used(&slot.path);
                0
            } else {
                self.build(held, project_id, revision, &slot.path).await?
            }
        };
        if fetched > 0 {
            self.evict().await;
        }
        Ok(Tree { slot })
    }

    fn slot(&self, key: Key) -> Arc<Slot> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.retain(|_, slot| slot.strong_count() > 0);
        if let Some(slot) = trees.get(&key).and_then(Weak::upgrade) {
            return slot;
        }
        let path = self.cache.tree_path(key.0, key.1);
        let slot = Arc::new(Slot { building: tokio::sync::Mutex::new(()), path });
        trees.insert(key, Arc::downgrade(&slot));
        slot
    }

    /// Returns how many blobs came over the network.
    async fn build(
        &self,
        held: &Held,
        project_id: ProjectId,
        revision: u64,
        path: &Path,
    ) -> Result<usize, WorkspaceError> {
        let manifest = match revision {
            0 => Vec::new(),
            _ => fetch::manifest(&self.plane, held, project_id, revision).await?,
        };
        let manifest = Arc::new(manifest);
        let missing = {
            let (cache, manifest) = (Arc::clone(&self.cache), Arc::clone(&manifest));
            blocking(move || Ok(cache.missing(&manifest))).await?
        };
        let count = missing.len();
        fetch::blobs(&self.plane, held, project_id, &self.cache, missing).await?;
        let (cache, path) = (Arc::clone(&self.cache), path.to_owned());
        blocking(move || tree::build(&cache, &manifest, &path)).await?;
        Ok(count)
    }

    async fn evict(&self) {
        let _alone = self.eviction.write().await;
        let in_use: Vec<PathBuf> = {
            let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            trees.values().filter_map(Weak::upgrade).map(|slot| slot.path.clone()).collect()
        };
        let cache = Arc::clone(&self.cache);
        let _ = tokio::task::spawn_blocking(move || cache.evict(&in_use)).await;
    }
}
