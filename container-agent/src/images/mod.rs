//! Images: what a sandbox's root file system is made of. The host's own system, a directory, a tarball, or an image out of
//! a registry by its digest; the last two are unpacked once into one tree, which all sandboxes share and none may write.
//!
//! ```text
//!  reference ─▶ store: there? ── yes ──────────────────────────────────────────▶ Image, held while it is used
//!                  │ no: one makes it, the others wait
//!                  ▼
//!  registry: index ─▶ manifest ─▶ configuration, layers ─▶ unpack ─▶ sync ─▶ rename ─▶ evict what is unused
//!            each checked against its digest               │
//!                                                          └─ in images/new, swept after a crash
//! ```
//! A registry and its layers are untrusted. Nothing is written outside the tree (`unpack/tree.rs`), nothing in it is set
//! user id, a device, or kept from its owner, and whatever grows has a limit. The tree belongs to the agent's user.
//!
//! What this does not do: it does not check who signed an image; the digest in the reference is what is trusted. Whoever
//! knows a digest that is in the store may use it, without being asked for the registry's credentials again.

mod error;
mod local;
mod manifest;
mod pull;
mod reference;
mod registry;
mod settings;
mod store;
mod unpack;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{Fault, ImageError};
pub use manifest::variables;
pub use reference::{ImageReference, ReferenceError, RegistryReference};
pub use settings::{Credentials, ImageLimits, RegistrySettings};
pub use unpack::{Known, UnpackFault, UnpackLimits, Unpacker};

use local::Tarballs;
use registry::Client;
use store::{Store, Stored};

pub struct Images {
    store: Arc<Store>,
    client: Arc<Client>,
    tarballs: Arc<Tarballs>,
    limits: ImageLimits,
}

/// An image as a sandbox needs it. The tree stays for as long as this, or a clone of it, lives.
#[derive(Debug, Clone)]
pub struct Image {
    /// The tree, to be mounted read-only. None is the host's own system.
    pub root: Option<PathBuf>,
    /// What it was known by: the digest in the reference, or the SHA-256 of the tarball.
    pub digest: Option<String>,
    pub environment: Vec<(String, String)>,
    /// Absolute, and resolved inside the tree.
    pub working_directory: Option<PathBuf>,
    _stored: Option<Arc<Stored>>,
}

impl Images {
    /// One for each agent: `folder` is locked. Leftovers of an earlier one are swept.
    pub fn open(folder: &Path, limits: ImageLimits, registries: RegistrySettings) -> Result<Self, Fault> {
        let store = Store::open(folder, limits.store_bytes_max)?;
        let client = Client::new(registries).map_err(|error| Fault::Stopped(error.to_string()))?;
        Ok(Self { store, client: Arc::new(client), tarballs: Arc::default(), limits })
    }

    pub async fn get(&self, reference: &ImageReference) -> Result<Image, ImageError> {
        let failed = |fault| ImageError { reference: reference.clone(), fault };
        let (client, limits) = (Arc::clone(&self.client), self.limits.unpack);
        let (digest, stored) = match reference {
            ImageReference::Host => return Ok(Image::host()),
            ImageReference::Directory(path) => {
                let root =
                    local::directory(path, self.store.folder()).map_err(|fault| failed(Arc::new(fault)))?;
                return Ok(Image::without_store(Some(root)));
            }
            ImageReference::Tarball(path) => {
                let digest = self.tarballs.digest(path).await.map_err(|fault| failed(Arc::new(fault)))?;
                let path = path.clone();
                let make = move |work: Arc<work::Work>| async move {
                    let at = Arc::clone(&work);
                    let step = move |is_cancelled| local::unpack(&at, &path, digest, limits, is_cancelled);
                    work.blocking(step).await
                };
                (digest, self.store.get(digest, make).await)
            }
            ImageReference::Registry(registry) => {
                let (registry, store) = (registry.clone(), Arc::clone(&self.store));
                let digest = registry.digest();
                let make = move |work: Arc<work::Work>| async move {
                    let make_room = |bytes| store.make_room(bytes);
                    pull::pull(&client, &registry, &work, limits, make_room).await
                };
                (digest, self.store.get(digest, make).await)
            }
        };
        let stored = stored.map_err(failed)?;
        Ok(Image {
            root: Some(stored.root.clone()),
            digest: Some(format!("sha256:{digest}")),
            environment: stored.description.environment.clone(),
            working_directory: stored.description.working_directory.clone(),
            _stored: Some(stored),
        })
    }
}

impl Image {
    /// The machine's own system.
    pub fn host() -> Self {
        Self::without_store(None)
    }

    fn without_store(root: Option<PathBuf>) -> Self {
        Self { root, digest: None, environment: Vec::new(), working_directory: None, _stored: None }
    }
}
