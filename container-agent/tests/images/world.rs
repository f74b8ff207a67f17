//! A store in a temporary folder, and what tests look at in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use container_agent::images::{
    Credentials, Fault, Image, ImageLimits, ImageReference, Images, RegistrySettings,
};

use crate::archive::Tar;
use crate::registry::Pushed;

pub struct World {
    pub folder: tempfile::TempDir,
    pub images: Images,
}

/// Short, so that what never comes is given up soon.
pub fn settings() -> RegistrySettings {
    RegistrySettings { idle_timeout: Duration::from_millis(300), tries_max: 3, ..RegistrySettings::default() }
}

pub fn with_password(host: &str, user: &str, password: &str) -> RegistrySettings {
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    RegistrySettings { credentials: BTreeMap::from([(host.to_owned(), credentials)]), ..settings() }
}

impl World {
    pub fn new() -> Self {
        Self::with(ImageLimits::default(), settings())
    }

    pub fn with(limits: ImageLimits, registries: RegistrySettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::open(&folder.path().join("images"), limits, registries).unwrap();
        Self { folder, images }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub async fn get(&self, reference: &ImageReference) -> Image {
        self.images.get(reference).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why it cannot be had; its text must say this, and what it concerns.
    pub async fn refused(&self, reference: &ImageReference, text: &str) -> std::sync::Arc<Fault> {
        let Err(error) = self.images.get(reference).await else { panic!("{reference} was not refused") };
        let said = error.to_string();
        assert!(said.contains(text) && said.contains(&reference.to_string()), "{said}");
        error.fault
    }

    /// The images that have their names.
    pub fn named(&self) -> BTreeSet<String> {
        named(&self.path("images"))
    }

    /// What is being made.
    pub fn nameless(&self) -> usize {
        fs::read_dir(self.path("images/new")).unwrap().count()
    }
}

pub fn named(store: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("sha256-")).collect()
}

pub fn read(image: &Image, path: &str) -> String {
    fs::read_to_string(image.root.as_ref().unwrap().join(path)).unwrap()
}

/// Two layers: `kept`, `changed` and `removed`, then the second of them anew and the third gone.
pub fn two_layers() -> Pushed {
    let mut image = Pushed::new()
        .gzip(
            Tar::default().file("etc/kept", "below").file("changed", "below").file("removed", "below").end(),
        )
        .zstd(Tar::default().file("changed", "above").file(".wh.removed", "").end());
    image.process =
        serde_json::json!({ "Env": ["PATH=/usr/bin", "EMPTY=", "nonsense"], "WorkingDir": "/work" });
    image
}
