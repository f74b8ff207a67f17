//! The images on disk: each a folder named by its digest, finished before it gets that name.
//!
//! ```text
//!  images/lock                      one agent's, for as long as it runs
//!  images/new/<random>/             what is being made or removed; swept when an agent starts
//!  images/sha256-<digest>/root      the tree
//!  images/sha256-<digest>/image.json
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use serde::{Deserialize, Serialize};
use shared_contracts::hash::Sha256;

use super::error::Fault;
use super::pull::Made;
use super::work::Work;
use crate::{beneath, clock};

const NEW: &str = "new";
const DESCRIPTION: &str = "image.json";

pub struct Store {
    folder: PathBuf,
    bytes_max: u64,
    slots: Mutex<BTreeMap<Sha256, Slot>>,
    _lock: File,
}

type Outcome = Result<Arc<Stored>, Arc<Fault>>;

/// One image's place while somebody makes or uses it.
#[derive(Default)]
struct Slot {
    making: Option<WeakShared<BoxFuture<'static, Outcome>>>,
    used: Weak<Stored>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.used.strong_count() == 0 && self.making().is_none()
    }

    fn making(&self) -> Option<Shared<BoxFuture<'static, Outcome>>> {
        self.making.as_ref().and_then(WeakShared::upgrade)
    }
}

/// An image in the store. As long as it lives, its tree stays.
#[derive(Debug)]
pub struct Stored {
    pub root: PathBuf,
    pub description: Description,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Description {
    pub environment: Vec<(String, String)>,
    pub working_directory: Option<PathBuf>,
    /// Devices and fifos that were in its layers and are not in its tree.
    pub skipped: u64,
    /// What the tree takes on disk.
    pub bytes: u64,
}

impl Store {
    /// Sweeps what an earlier agent left half-made or half-removed.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Arc<Self>, Fault> {
        fs::create_dir_all(folder).map_err(Fault::io("make", folder))?;
        // What images hold is nobody else's business.
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder, private).map_err(Fault::io("close to others", folder))?;
        let folder = folder.canonicalize().map_err(Fault::io("open", folder))?;
        let path = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Fault::io("open", &path))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let held = "another agent uses it; stop that one, or give this one a state directory of its own";
            let source = match error {
                rustix::io::Errno::WOULDBLOCK => io::Error::other(held),
                error => error.into(),
            };
            Fault::io("lock", &path)(source)
        })?;
        let new = folder.join(NEW);
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Fault::io("sweep", &new)(error));
            }
            _ => fs::create_dir(&new).map_err(Fault::io("make", &new))?,
        }
        let store = Self { folder, bytes_max, slots: Mutex::default(), _lock: lock };
        for nameless in store.give_up(0) {
            fs::remove_dir_all(&nameless).map_err(Fault::io("remove", &nameless))?;
        }
        Ok(Arc::new(store))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The image `digest`, made by `make` if it is not there. Whoever asks meanwhile waits for the same; when nobody
    /// waits any more, the work ends.
    pub async fn get<F>(
        self: &Arc<Self>,
        digest: Sha256,
        make: impl FnOnce(Arc<Work>) -> F + Send + 'static,
    ) -> Outcome
    where
        F: Future<Output = Result<Made, Fault>> + Send,
    {
        let making = {
            let mut slots = self.slots();
            slots.retain(|_, slot| !slot.is_empty());
            let slot = slots.entry(digest).or_default();
            if let Some(stored) = slot.used.upgrade() {
                self.touch(digest);
                return Ok(stored);
            }
            match slot.making() {
                Some(making) => making,
                None => {
                    let store = Arc::clone(self);
                    let making = async move { store.make(digest, make).await.map_err(Arc::new) };
                    let making = making.boxed().shared();
                    slot.making = making.downgrade();
                    making
                }
            }
        };
        making.await
    }

    async fn make<F>(
        self: Arc<Self>,
        digest: Sha256,
        make: impl FnOnce(Arc<Work>) -> F + Send,
    ) -> Result<Arc<Stored>, Fault>
    where
        F: Future<Output = Result<Made, Fault>> + Send,
    {
        if let Some(stored) = self.load(digest) {
            return Ok(stored);
        }
        let work = Work::begin(&self.folder.join(NEW))?;
        let made = make(Arc::clone(&work)).await?;
        let (store, at) = (Arc::clone(&self), Arc::clone(&work));
        work.blocking(move |_| store.keep(&at, digest, made)).await?;
        let stored =
            self.load(digest).ok_or_else(|| Fault::Stopped("it vanished from the store".to_owned()))?;
        self.make_room(0);
        Ok(stored)
    }

    /// Gives finished work its name. What has a name is whole on the disk, whenever the power fails.
    fn keep(&self, work: &Work, digest: Sha256, made: Made) -> Result<(), Fault> {
        let root = work.root();
        let opened = rustix::fs::open(&root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let measured =
            opened.map_err(io::Error::from).and_then(|root| bytes_on_disk(&root, &mut HashSet::new()));
        let bytes = measured.map_err(Fault::io("measure", &root))?;
        let Made { environment, working_directory, skipped } = made;
        let description = Description { environment, working_directory, skipped, bytes };
        let path = work.folder().join(DESCRIPTION);
        let text = serde_json::to_vec(&description).map_err(io::Error::from);
        text.and_then(|text| fs::write(&path, text)).map_err(Fault::io("write", &path))?;
        let synced = File::open(work.folder()).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
        synced.map_err(Fault::io("sync", work.folder()))?;
        let named = self.path(digest);
        // What stands there could not be used.
        if let Ok(wreck) = self.unname(digest) {
            fs::remove_dir_all(&wreck).map_err(Fault::io("remove", &wreck))?;
        }
        fs::rename(work.folder(), &named).map_err(Fault::io("rename", work.folder()))?;
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(Fault::io("sync", &self.folder))
    }

    /// What is there, now in use.
    fn load(&self, digest: Sha256) -> Option<Arc<Stored>> {
        let path = self.path(digest);
        let description = describe(&path)?;
        let stored = Arc::new(Stored { root: path.join("root"), description });
        self.slots().entry(digest).or_default().used = Arc::downgrade(&stored);
        self.touch(digest);
        Some(stored)
    }

    /// The folder's time is that of its last use.
    fn touch(&self, digest: Sha256) {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(clock::now_ms());
        // Only the order of eviction suffers if it fails.
        let _ = File::open(self.path(digest)).and_then(|folder| folder.set_modified(now));
    }

    fn path(&self, digest: Sha256) -> PathBuf {
        self.folder.join(format!("sha256-{digest}"))
    }

    /// Removes what nobody uses, longest unused first, until `bytes` more fit.
    pub fn make_room(&self, bytes: u64) {
        for nameless in self.give_up(bytes) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = fs::remove_dir_all(&nameless) {
                    tracing::warn!(%error, path = %nameless.display(), "cannot remove an image");
                }
            });
        }
    }

    /// Takes images' names away; where they are now.
    fn give_up(&self, bytes: u64) -> Vec<PathBuf> {
        // Held: nobody comes to use one meanwhile.
        let slots = self.slots();
        let mut images = self.images();
        let mut total = images.iter().filter_map(|image| image.bytes).fold(bytes, u64::saturating_add);
        images.retain(|image| slots.get(&image.digest).is_none_or(Slot::is_empty));
        images.sort_by_key(|image| image.used);
        let mut nameless = Vec::new();
        for image in images {
            // One that says nothing of itself is of no use to anybody.
            if image.bytes.is_some() && total <= self.bytes_max {
                continue;
            }
            if let Ok(path) = self.unname(image.digest) {
                tracing::info!(digest = %image.digest, bytes = image.bytes, "evicted from the image store");
                total = total.saturating_sub(image.bytes.unwrap_or_default());
                nameless.push(path);
            }
        }
        nameless
    }

    /// Half of a tree must never be taken for the whole: it loses its name first. Where it is then.
    fn unname(&self, digest: Sha256) -> io::Result<PathBuf> {
        let nameless = self.folder.join(NEW).join(format!("{:032x}", clock::random()));
        fs::rename(self.path(digest), &nameless)?;
        Ok(nameless)
    }

    fn images(&self) -> Vec<Kept> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let image = |entry: fs::DirEntry| {
            let digest = entry.file_name().to_str()?.strip_prefix("sha256-")?.parse().ok()?;
            let used =
                entry.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = describe(&entry.path()).map(|description| description.bytes);
            Some(Kept { digest, bytes, used })
        };
        entries.filter_map(image).collect()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Sha256, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An image on disk, as eviction sees it.
struct Kept {
    digest: Sha256,
    bytes: Option<u64>,
    used: SystemTime,
}

fn describe(image: &Path) -> Option<Description> {
    serde_json::from_slice(&fs::read(image.join(DESCRIPTION)).ok()?).ok()
}

/// In whole blocks, whatever the file system makes of small and empty files; each file once, however many names it has.
fn bytes_on_disk(directory: &OwnedFd, seen: &mut HashSet<u64>) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut bytes = BLOCK;
    for entry in beneath::list(directory, Path::new(""))? {
        let name = Path::new(&entry.name);
        bytes += match entry.kind {
            FileType::Directory => bytes_on_disk(&beneath::open(directory, name, OFlags::PATH)?, seen)?,
            FileType::RegularFile => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let size = u64::try_from(stat.st_size).unwrap_or_default();
                let is_counted = stat.st_nlink > 1 && !seen.insert(stat.st_ino);
                if is_counted { 0 } else { size.div_ceil(BLOCK) * BLOCK }
            }
            _ => 0,
        };
    }
    Ok(bytes)
}
