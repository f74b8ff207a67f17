#![no_main]
//! Layers of an image. The first byte says what the others are: one layer as it is; one whose checksums are made right;
//! or entries, described in a few bytes each, of as many layers as it says.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use patch_engine_fuzz::archive::{Tar, gzip, zstd};
use patch_engine_fuzz::canary::{Canary, LIMITS};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Parts of names that have a meaning somewhere, and few enough to meet each other.
const PARTS: [&str; 20] = [
    "a",
    "b",
    "c",
    "..",
    ".",
    "",
    "outside",
    "secret",
    "folder",
    "link",
    "proc",
    "self",
    "OUT",
    ".wh.a",
    ".wh.b",
    ".wh.secret",
    ".wh..wh..opq",
    ".wh..wh.plnk",
    ".wh.",
    "a name that is longer than a header has room for when it stands twice",
];
const KINDS: &[u8] = b"0512346x7S";

fuzz_target!(|input: &[u8]| {
    let Some((how, rest)) = input.split_first() else { return };
    let canary = Canary::new();
    let layers = match how % 8 {
        0 => vec![rest.to_vec()],
        1 => vec![with_right_sums(rest.to_vec())],
        how => described(rest, usize::from(how) - 1, &canary.outside()),
    };
    let _ = canary.unpack(&layers);
    assert!(canary.is_untouched(), "something outside changed");
    let (mut files, mut bytes) = (HashSet::new(), 0);
    measure(&canary.root(), &mut files, &mut bytes);
    assert!(files.len() as u64 <= LIMITS.entries_max, "{} entries", files.len());
    assert!(bytes <= LIMITS.unpacked_bytes_max, "{bytes} bytes");
    canary.assert_harmless("it");
});

/// Headers whose other fields are anything would hardly ever have the right sum.
fn with_right_sums(mut tar: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while let Some(block) = tar.get_mut(at..).and_then(|rest| rest.get_mut(..BLOCK)) {
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        if block.iter().any(|byte| *byte != 0) {
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
        let content = usize::try_from(header.entry_size().unwrap_or_default()).unwrap_or(usize::MAX);
        at = content.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX).saturating_add(at + BLOCK);
    }
    tar
}

/// The bytes in turn.
struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn next(&mut self) -> Option<usize> {
        self.0.next().map(|byte| usize::from(*byte))
    }

    fn path(&mut self, outside: &str) -> Option<String> {
        let parts = (0..self.next()? % 5).map(|_| Some(PARTS[self.next()? % PARTS.len()]));
        let parts: Vec<_> = parts.collect::<Option<_>>()?;
        Some(parts.join("/").replace("OUT", outside))
    }

    fn entry(&mut self, tar: Tar, outside: &str) -> Option<Tar> {
        let kind = KINDS[self.next()? % KINDS.len()];
        let (path, link) = (self.path(outside)?, self.path(outside)?);
        let mode = self.next()? * 16 + self.next()? % 16;
        Some(match kind {
            b'x' => tar.pax(["path", "linkpath", "size", "mtime"][mode % 4], &link),
            b'0' => tar.entry(EntryType::Regular, &path, "", mode as u32, &vec![b'x'; mode]),
            kind => tar.entry(EntryType::new(kind), &path, &link, mode as u32, b""),
        })
    }
}

fn described(bytes: &[u8], layers: usize, outside: &str) -> Vec<Vec<u8>> {
    let length = bytes.len().div_ceil(layers).max(1);
    let layer = |bytes: &[u8]| {
        let mut bytes = Bytes(bytes.iter());
        let compression = bytes.next().unwrap_or_default() % 8;
        let mut tar = Tar::default();
        while let Some(more) = bytes.entry(tar.clone(), outside) {
            tar = more;
        }
        match compression {
            0 => gzip(&tar.end()),
            1 => zstd(&tar.end()),
            _ => tar.end(),
        }
    };
    bytes.chunks(length).map(layer).collect()
}

/// Every entry once, and the bytes of those that are files.
fn measure(directory: &Path, files: &mut HashSet<u64>, bytes: &mut u64) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let metadata = entry.path().symlink_metadata().unwrap();
        if files.insert(metadata.ino()) && metadata.is_file() {
            *bytes += metadata.len();
        }
        if metadata.is_dir() {
            measure(&entry.path(), files, bytes);
        }
    }
}
