//! Blobs on disk, each a file named by its SHA-256 and checked before it gets that name. An executable file is a
//! second file with `.x` behind its name, because hard links share their mode.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::Digest;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ProjectId;
use shared_contracts::workspaces::{FileMode, ManifestEntry};

use crate::clock;

pub struct Cache {
    root: PathBuf,
    bytes_max: u64,
}

/// A blob that is not here yet.
#[derive(Debug, Clone, Copy)]
pub struct Missing {
    pub sha256: Sha256,
    pub size_bytes: u64,
}

impl Cache {
    pub fn open(root: &Path, bytes_max: u64) -> io::Result<Self> {
        // What a crash left half-made.
        let _ = fs::remove_dir_all(root.join("new"));
        for name in ["blobs", "trees", "new"] {
            fs::create_dir_all(root.join(name))?;
        }
        // Sources are nobody else's business.
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
        Ok(Self { root: root.to_owned(), bytes_max })
    }

    pub fn tree_path(&self, project_id: ProjectId, revision: u64) -> PathBuf {
        self.root.join("trees").join(format!("{project_id}-{revision}"))
    }

    /// A name below which something can be made before it gets its real one.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("new").join(format!("{:032x}", clock::random()))
    }

    fn blob_path(&self, sha256: Sha256, executable: bool) -> PathBuf {
        let name = sha256.to_string();
        let directory = self.root.join("blobs").join(name.get(..2).unwrap_or_default());
        directory.join(if executable { format!("{name}.x") } else { name })
    }

    pub fn missing(&self, manifest: &[ManifestEntry]) -> Vec<Missing> {
        let mut missing: Vec<_> = manifest
            .iter()
            .filter(|entry| !self.blob_path(entry.sha256, false).exists())
            .map(|entry| Missing { sha256: entry.sha256, size_bytes: entry.size_bytes })
            .collect();
        missing.sort_by_key(|missing| missing.sha256);
        missing.dedup_by_key(|missing| missing.sha256);
        missing
    }

    /// Takes a blob in, if it is what it is called.
    pub fn store(&self, sha256: Sha256, mut content: impl Read) -> io::Result<()> {
        let temporary = self.temporary();
        let mut file = File::options().write(true).create_new(true).open(&temporary)?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = content.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            hasher.update(bytes);
            file.write_all(bytes)?;
        }
        if Sha256::from_bytes(hasher.finalize().into()) != sha256 {
            let _ = fs::remove_file(&temporary);
            return Err(io::Error::other(format!("the content does not hash to {sha256}")));
        }
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        let path = self.blob_path(sha256, false);
        fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
        fs::rename(temporary, path)
    }

    /// Puts a blob at `target` as a file of a tree.
    pub fn place(&self, sha256: Sha256, mode: FileMode, target: &Path) -> io::Result<()> {
        let plain = self.blob_path(sha256, false);
        let executable = mode == FileMode::Executable;
        let source = self.blob_path(sha256, executable);
        if executable && !source.exists() {
            let temporary = self.temporary();
            fs::copy(&plain, &temporary)?;
            fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))?;
            fs::rename(temporary, &source)?;
        }
        match fs::hard_link(&source, target) {
            // An empty file may stand in a tree more often than a file may have links.
            Err(error) if error.raw_os_error() == Some(libc::EMLINK) => fs::copy(&source, target).map(drop),
            other => other,
        }
    }

    pub fn read(&self, sha256: Sha256) -> io::Result<Vec<u8>> {
        fs::read(self.blob_path(sha256, false))
    }

    /// Makes room: blobs that no tree needs, then tree after tree that nobody uses, longest unused first, each with
    /// the blobs that it alone needed. Called while nothing is linked.
    pub fn evict(&self, in_use: &[PathBuf]) {
        let mut blobs = self.blobs();
        let mut total: u64 = blobs.iter().map(|blob| blob.bytes).sum();
        if total <= self.bytes_max {
            return;
        }
        blobs.sort_by_key(|blob| blob.modified);
        let mut trees = self.unused_trees(in_use).into_iter();
        while total > self.bytes_max {
            blobs.retain(|blob| {
                let is_needed = fs::metadata(&blob.path).is_ok_and(|metadata| metadata.nlink() > 1);
                if is_needed || total <= self.bytes_max || fs::remove_file(&blob.path).is_err() {
                    return true;
                }
                total -= blob.bytes;
                false
            });
            if total > self.bytes_max {
                let Some(tree) = trees.next() else { return };
                tracing::info!(tree = %tree.display(), "evicted from the cache");
                self.remove_tree(&tree);
            }
        }
    }

    /// A tree loses its name first: half of one must never be taken for the whole.
    fn remove_tree(&self, tree: &Path) {
        let nameless = self.temporary();
        if fs::rename(tree, &nameless).is_ok() {
            let _ = fs::remove_dir_all(nameless);
        }
    }

    /// Longest unused first.
    fn unused_trees(&self, in_use: &[PathBuf]) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root.join("trees")).into_iter().flatten().flatten();
        let mut trees: Vec<_> =
            entries.map(|entry| entry.path()).filter(|path| !in_use.contains(path)).collect();
        trees.sort_by_cached_key(|tree| modified(tree));
        trees
    }

    fn blobs(&self) -> Vec<Blob> {
        let directories = fs::read_dir(self.root.join("blobs")).into_iter().flatten().flatten();
        let files =
            directories.flat_map(|directory| fs::read_dir(directory.path()).into_iter().flatten().flatten());
        let blob = |file: fs::DirEntry| {
            let metadata = file.metadata().ok()?;
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some(Blob { path: file.path(), bytes: metadata.len(), modified })
        };
        files.filter_map(blob).collect()
    }
}

struct Blob {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_hashes_right_is_kept_and_what_is_used_stays() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path(), 10).unwrap();
        let (kept, unused) = (Sha256::of(b"kept kept"), Sha256::of(b"unused unused"));
        cache.store(kept, &b"kept kept"[..]).unwrap();
        cache.store(unused, &b"unused unused"[..]).unwrap();
        assert!(cache.store(kept, &b"other"[..]).is_err());
        let tree = directory.path().join("trees/tree");
        fs::create_dir(&tree).unwrap();
        cache.place(kept, FileMode::Regular, &tree.join("a")).unwrap();
        cache.place(kept, FileMode::Executable, &tree.join("b")).unwrap();
        assert_eq!(fs::metadata(tree.join("b")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::metadata(tree.join("a")).unwrap().mode() & 0o777, 0o644);
        cache.evict(std::slice::from_ref(&tree));
        assert!(cache.read(kept).is_ok() && cache.read(unused).is_err() && tree.exists());
        cache.evict(&[]);
        assert!(!tree.exists());
    }

    /// A cache of 30 bytes with three trees of a blob of 10 bytes each and another that all share, used in this order.
    fn three_trees(directory: &Path) -> (Cache, Vec<PathBuf>) {
        let cache = Cache::open(directory, 30).unwrap();
        let shared = Sha256::of(b"of all ...");
        cache.store(shared, &b"of all ..."[..]).unwrap();
        let trees = ["second", "first", "third"].map(|name| directory.join("trees").join(name));
        for (tree, used) in trees.iter().zip([20, 10, 30]) {
            let content = format!("{:>10}", tree.file_name().unwrap().display());
            let own = Sha256::of(content.as_bytes());
            cache.store(own, content.as_bytes()).unwrap();
            fs::create_dir(tree).unwrap();
            cache.place(own, FileMode::Regular, &tree.join("own")).unwrap();
            cache.place(shared, FileMode::Regular, &tree.join("shared")).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(used);
            File::open(tree).unwrap().set_modified(at).unwrap();
        }
        (cache, trees.into())
    }

    fn left(trees: &[PathBuf]) -> Vec<bool> {
        trees.iter().map(|tree| tree.join("own").exists() && tree.join("shared").exists()).collect()
    }

    #[test]
    fn the_tree_unused_for_longest_goes_first_and_no_more_than_must() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, trees) = three_trees(directory.path());
        cache.evict(&[]);
        assert_eq!(left(&trees), [true, false, true]);
        cache.evict(&[]);
        assert_eq!(left(&trees), [true, false, true], "there is room");
        cache.store(Sha256::of(b"new"), &b"new"[..]).unwrap();
        cache.evict(&[]);
        assert_eq!(left(&trees), [true, false, true], "a blob that no tree needs goes before any tree");
        assert!(!directory.path().join("trees/first").exists());
        assert_eq!(fs::read_dir(directory.path().join("new")).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_in_use_never_goes() {
        let directory = tempfile::tempdir().unwrap();
        let (mut cache, trees) = three_trees(directory.path());
        cache.evict(&trees[1..2]);
        assert_eq!(left(&trees), [false, true, true], "the next in line goes instead");
        cache.bytes_max = 0;
        cache.evict(&trees);
        assert_eq!(left(&trees), [false, true, true]);
        cache.evict(&trees[1..2]);
        assert_eq!(left(&trees), [false, true, false]);
        assert!(cache.read(Sha256::of(b"of all ...")).is_ok(), "the tree in use needs it");
        assert!(cache.read(Sha256::of(b"     third")).is_err());
    }
}
