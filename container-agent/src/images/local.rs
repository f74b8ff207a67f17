//! Images that are on this machine already: a directory, a tarball.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::Digest;
use shared_contracts::hash::Sha256;

use super::error::Fault;
use super::pull::Made;
use super::unpack::{Known, UnpackLimits, Unpacker};
use super::work::Work;

/// With all that is in them, the host's own.
const REFUSED_BELOW: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/etc"];
/// As they are; a directory inside may be an image.
const REFUSED: [&str; 10] =
    ["/", "/root", "/home", "/usr", "/var", "/boot", "/tmp", "/srv", "/opt", "/var/lib"];

/// The directory itself, if a sandbox may see all of it.
pub fn directory(path: &Path, state_directory: &Path) -> Result<PathBuf, Fault> {
    let refused = |what| Fault::Directory { path: path.to_owned(), what };
    let real = path.canonicalize().map_err(Fault::io("open", path))?;
    if !real.is_dir() {
        return Err(refused("is no directory"));
    }
    let is_host = REFUSED.iter().any(|host| real == Path::new(host))
        || REFUSED_BELOW.iter().any(|host| real.starts_with(host));
    if is_host {
        return Err(refused("is part of the host's own system, which is not for a sandbox to see"));
    }
    if state_directory.starts_with(&real) {
        return Err(refused("holds the agent's own state"));
    }
    Ok(real)
}

/// Which file it was: hashed once, and again when it is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[derive(Default)]
pub struct Tarballs(Mutex<BTreeMap<PathBuf, (Stamp, Sha256)>>);

impl Tarballs {
    pub async fn digest(self: &Arc<Self>, path: &Path) -> Result<Sha256, Fault> {
        let (known, path) = (Arc::clone(self), path.to_owned());
        let hashed = tokio::task::spawn_blocking(move || known.digest_now(path)).await;
        hashed.unwrap_or_else(|error| Err(Fault::Stopped(error.to_string())))
    }

    fn digest_now(&self, path: PathBuf) -> Result<Sha256, Fault> {
        let mut file = open(&path)?;
        let stamp = stamp(&file, &path)?;
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&path).copied();
        if let Some((_, digest)) = known.filter(|(of, _)| *of == stamp) {
            return Ok(digest);
        }
        let digest = hash(&mut file).map_err(Fault::io("read", &path))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (stamp, digest));
        Ok(digest)
    }
}

/// Unpacks what hashes to `digest`, and nothing else.
pub fn unpack(
    work: &Work,
    path: &Path,
    digest: Sha256,
    limits: UnpackLimits,
    is_cancelled: Arc<AtomicBool>,
) -> Result<Made, Fault> {
    let root = work.root();
    let mut unpacker = Unpacker::new(&root, limits, is_cancelled).map_err(Fault::io("open", &root))?;
    let mut hashed = Hashed { source: open(path)?, hasher: sha2::Sha256::new() };
    let unpacked = unpacker.layer(&mut hashed, Known::Nothing);
    unpacked.map_err(|fault| Fault::of_unpacking(fault, &root, Fault::Tarball))?;
    // What stands behind the compressed stream belongs to the file.
    std::io::copy(&mut hashed, &mut std::io::sink()).map_err(Fault::io("read", path))?;
    if Sha256::from_bytes(hashed.hasher.finalize().into()) != digest {
        return Err(Fault::Changed { path: path.to_owned() });
    }
    // Links are not followed: they lead out of here.
    let has = |name: &str| root.join(name).symlink_metadata().is_ok();
    let sign = ["oci-layout", "manifest.json"].into_iter().find(|name| has(name));
    if let Some(name) = sign.filter(|_| !has("usr") && !has("bin")) {
        return Err(Fault::ImageArchive(name));
    }
    Ok(Made { environment: Vec::new(), working_directory: None, skipped: unpacker.skipped() })
}

struct Hashed {
    source: File,
    hasher: sha2::Sha256,
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// A fifo does not block, and is then no file.
fn open(path: &Path) -> Result<File, Fault> {
    use std::os::unix::fs::OpenOptionsExt;
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path);
    let file = file.map_err(Fault::io("open", path))?;
    let is_file = file.metadata().map_err(Fault::io("open", path))?.is_file();
    is_file.then_some(file).ok_or_else(|| Fault::Io {
        doing: "open",
        path: path.to_owned(),
        source: std::io::Error::other("it is no file"),
    })
}

fn stamp(file: &File, path: &Path) -> Result<Stamp, Fault> {
    Ok(Stamp::of(&file.metadata().map_err(Fault::io("read", path))?))
}

fn hash(file: &mut File) -> std::io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(Sha256::from_bytes(hasher.finalize().into()))
}
