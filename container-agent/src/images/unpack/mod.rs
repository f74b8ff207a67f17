//! Layers into one tree. They are untrusted: what they may not do, they cannot do, and what they hold too much of ends
//! them with a sentence that says so.

mod archive;
mod decompress;
mod fault;
mod name;
mod tree;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::Digest;
use shared_contracts::hash::Sha256;

use archive::{Archive, Entry, Kind};
pub use fault::UnpackFault;
use name::Name;
use tree::Tree;

const BUFFER_BYTES: usize = 128 * 1024;

#[derive(Debug, Clone, Copy)]
pub struct UnpackLimits {
    /// Of all layers together, with the headers and the filling of their tars: what a compression bomb makes.
    pub unpacked_bytes_max: u64,
    /// Files, directories and links of all layers together.
    pub entries_max: u64,
}

pub struct Unpacker {
    tree: Tree,
    limits: UnpackLimits,
    bytes_left: u64,
    /// Devices and fifos, which no image needs: the sandbox has its own.
    skipped: u64,
    is_cancelled: Arc<AtomicBool>,
}

/// What a layer is known to be.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// Its uncompressed SHA-256.
    DiffId(Sha256),
    /// Nothing: then only the closing block tells that it is whole.
    Nothing,
}

impl Unpacker {
    /// `root` is an empty directory that nobody else writes to. Setting `is_cancelled` ends the work soon.
    pub fn new(root: &Path, limits: UnpackLimits, is_cancelled: Arc<AtomicBool>) -> io::Result<Self> {
        let tree = Tree::new(root, limits.entries_max)?;
        Ok(Self { tree, limits, bytes_left: limits.unpacked_bytes_max, skipped: 0, is_cancelled })
    }

    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Puts a layer, compressed or not, on top of those before.
    pub fn layer(&mut self, layer: impl Read, known: Known) -> Result<(), UnpackFault> {
        self.tree.begin_layer();
        let Self { tree, limits, bytes_left, skipped, is_cancelled } = self;
        let bytes_max = limits.unpacked_bytes_max;
        let source = decompress::decompressed(BufReader::with_capacity(BUFFER_BYTES, layer))?;
        let mut metered =
            Metered { source, hasher: sha2::Sha256::new(), bytes_left, bytes_max, is_cancelled };
        let mut archive = Archive::new(BufReader::with_capacity(BUFFER_BYTES, &mut metered));
        while let Some(entry) = archive.next()? {
            *skipped += u64::from(!place(tree, &entry, &mut archive)?);
        }
        if !archive.is_closed() && matches!(known, Known::Nothing) {
            return Err(UnpackFault::Truncated);
        }
        archive.drain()?;
        let actual = Sha256::from_bytes(metered.hasher.finalize().into());
        match known {
            Known::DiffId(expected) if expected != actual => {
                Err(UnpackFault::WrongDiffId { expected, actual })
            }
            _ => Ok(()),
        }
    }
}

/// Whether the entry is one that the tree has.
fn place(tree: &mut Tree, entry: &Entry, content: &mut impl Read) -> Result<bool, UnpackFault> {
    let (parent, name) = match name::read(&entry.path)? {
        Name::In { parent, name } => (parent, name),
        Name::Whiteout { parent, name } => return tree.hide(&parent, &name).map(|()| true),
        Name::Opaque { directory } => return tree.hide_all(&directory).map(|()| true),
        Name::Metadata => return Ok(true),
        Name::Root if matches!(entry.kind, Kind::Directory) => {
            return tree.root_mode(entry.mode).map(|()| true);
        }
        Name::Root => return Err(UnpackFault::name(&entry.path, "is the root, and no directory")),
    };
    match &entry.kind {
        Kind::Directory => tree.directory(&parent, &name, entry.mode)?,
        Kind::File => {
            let mut file = tree.file(&parent, &name, entry.mode)?;
            copy(content, &mut file)?;
            tree::set_modified(&file, entry.modified_s)?;
        }
        Kind::Symlink { target } if target.contains(&0) => {
            return Err(UnpackFault::name(&entry.path, "is a link with a zero in its target"));
        }
        Kind::Symlink { target } => tree.symlink(&parent, &name, target)?,
        Kind::HardLink { target } => {
            let Name::In { parent: from, name: target_name } = name::read(target)? else {
                return Err(UnpackFault::name(&entry.path, "is a hard link to a directory or a whiteout"));
            };
            tree.hard_link((&parent, &name), (&from, &target_name))?;
        }
        Kind::Special => {
            tree.clear(&parent, &name)?;
            return Ok(false);
        }
    }
    Ok(true)
}

fn copy(from: &mut impl Read, to: &mut File) -> io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        to.write_all(bytes)?;
    }
}

/// What comes out of the decompressor: digested, counted, and ended when nobody waits for it.
struct Metered<'a, R> {
    source: R,
    hasher: sha2::Sha256,
    bytes_left: &'a mut u64,
    bytes_max: u64,
    is_cancelled: &'a AtomicBool,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_cancelled.load(Ordering::Relaxed) {
            return Err(UnpackFault::Cancelled.into());
        }
        let count = self.source.read(buffer)?;
        let Some(left) = self.bytes_left.checked_sub(count as u64) else {
            return Err(UnpackFault::TooManyBytes { bytes_max: self.bytes_max }.into());
        };
        *self.bytes_left = left;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}
