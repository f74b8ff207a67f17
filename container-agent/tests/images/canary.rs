//! A root to unpack into, with a tree around it in which nothing may change.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use container_agent::images::{Known, UnpackFault, UnpackLimits, Unpacker};

pub const LIMITS: UnpackLimits = UnpackLimits { unpacked_bytes_max: 1 << 20, entries_max: 500 };

pub struct Canary {
    folder: tempfile::TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Canary {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir_all(outside.join("folder")).unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(outside.join("secret"), "canary").unwrap();
        fs::write(outside.join("folder/secret"), "canary").unwrap();
        std::os::unix::fs::symlink("secret", outside.join("link")).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o750)).unwrap();
        let mut canary = Self { folder, before: BTreeMap::new() };
        canary.before = canary.around();
        canary
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The absolute path of what an attacker is after.
    pub fn outside(&self) -> String {
        self.folder.path().join("outside").to_str().unwrap().to_owned()
    }

    pub fn unpack(&self, layers: &[Vec<u8>]) -> Result<u64, UnpackFault> {
        self.unpack_within(LIMITS, layers)
    }

    pub fn unpack_within(&self, limits: UnpackLimits, layers: &[Vec<u8>]) -> Result<u64, UnpackFault> {
        let mut unpacker = Unpacker::new(&self.root(), limits, Arc::default()).unwrap();
        for layer in layers {
            unpacker.layer(&layer[..], Known::Nothing)?;
        }
        Ok(unpacker.skipped())
    }

    /// Everything but the root's inside: contents, kinds, modes, links, times of change.
    fn around(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut |path, metadata| {
            let is_inside = path.starts_with(self.root()) && path != self.root();
            if path == self.root() || path == self.folder.path() {
                // Unpacking changes its times and its mode.
                found.insert(path.to_owned(), format!("{:?}", metadata.file_type()));
            } else if !is_inside {
                let content =
                    if metadata.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
                let facts = (
                    metadata.mode(),
                    metadata.nlink(),
                    metadata.ino(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                );
                found.insert(path.to_owned(), format!("{facts:?} {content}"));
            }
        });
        found
    }

    pub fn is_untouched(&self) -> bool {
        self.around() == self.before
    }

    /// What an unpacked tree never holds.
    pub fn assert_harmless(&self, name: &str) {
        walk(&self.root(), &mut |path, metadata| {
            let at = format!("{name}: {}", path.display());
            let kind = metadata.file_type();
            assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{at}: {kind:?}");
            if !kind.is_symlink() {
                assert_eq!(metadata.mode() & 0o6000, 0, "{at}: set user id");
                let least = if kind.is_dir() { 0o700 } else { 0o400 };
                assert_eq!(metadata.mode() & least, least, "{at}: kept from its owner");
                assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw(), "{at}: owner");
            }
            let mut names = [0; 4096];
            let length = rustix::fs::llistxattr(path, &mut names).unwrap();
            let names = String::from_utf8_lossy(&names[..length]).into_owned();
            assert!(
                names.split('\0').all(|name| name.is_empty() || name.starts_with("security.selinux")),
                "{at}: {names}"
            );
        });
        fs::remove_dir_all(self.root()).unwrap();
    }

    /// The tree as text: `path kind mode content`, a line for each.
    pub fn shown(&self) -> BTreeMap<String, String> {
        let mut shown = BTreeMap::new();
        walk(&self.root(), &mut |path, metadata| {
            let name = path.strip_prefix(self.root()).unwrap().to_string_lossy().into_owned();
            let text = if metadata.is_dir() {
                "dir".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(path).unwrap().display())
            } else {
                String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
            };
            shown.insert(name, text);
        });
        shown.remove("");
        shown
    }
}

fn walk(path: &Path, visit: &mut impl FnMut(&Path, &fs::Metadata)) {
    let metadata = fs::symlink_metadata(path).unwrap();
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), visit);
        }
    }
}

/// An unpacker as a careless one is: shows which shapes would get out.
pub fn unpack_naively(root: &Path, layer: &[u8]) {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { return };
        let path = PathBuf::from(String::from_utf8_lossy(&entry.path_bytes()).into_owned());
        let path = root.join(path);
        let link = entry.link_name().ok().flatten().map(|link| link.into_owned());
        let _ = fs::create_dir_all(path.parent().unwrap());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mode = fs::Permissions::from_mode(entry.header().mode().unwrap_or(0o644));
        let _ = match entry.header().entry_type() {
            _ if name == ".wh..wh..opq" => fs::read_dir(path.parent().unwrap()).map(|entries| {
                for entry in entries.flatten() {
                    let _ = fs::remove_file(entry.path());
                }
            }),
            _ if name.starts_with(".wh.") => fs::remove_file(path.with_file_name(&name[4..])),
            tar::EntryType::Directory => {
                fs::create_dir_all(&path).and_then(|()| fs::set_permissions(&path, mode))
            }
            tar::EntryType::Symlink => std::os::unix::fs::symlink(link.unwrap_or_default(), &path),
            tar::EntryType::Link => fs::hard_link(root.join(link.unwrap_or_default()), &path),
            _ => {
                let mut content = Vec::new();
                let _ = entry.read_to_end(&mut content);
                fs::write(&path, content)
            }
        };
    }
}
