//! Declared artifacts as one tar.gz, beside GNU tar over the same files: a copy of what the machine has of text and of
//! binaries.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use container_agent::report::archive;
use serde_json::json;
use shared_contracts::paths::WorkspacePath;

use crate::Result;
use crate::peers::timed;

/// Text, mostly, and binaries: as much of each.
const FROM: [&str; 2] = ["/usr/share", "/usr/lib"];
const BYTES_OF_EACH: u64 = 100_000_000;
/// One large file would be all there is.
const FILE_BYTES_MAX: u64 = 8_000_000;
/// Nothing is left in these for either to do.
const COMPRESSED: [&str; 6] = ["gz", "jar", "png", "webp", "xz", "zip"];

/// Of so many pairs of runs the fastest of each side counts.
pub fn measure(directory: &Path, pairs: usize) -> Result<()> {
    let tree = directory.join("tree");
    let (mut paths, mut tree_bytes) = (Vec::new(), 0);
    for from in FROM {
        tree_bytes += copy(Path::new(from), &tree, &mut paths)?;
    }
    let root: OwnedFd = File::open(&tree)?.into();
    let theirs = directory.join("tree.tar.gz");
    let (mut our_best, mut our_bytes, mut their_best) = (Duration::MAX, 0, Duration::MAX);
    for _ in 0..pairs.max(1) {
        let at = Instant::now();
        let packed = archive::pack(&root, &paths, directory, None)?;
        our_best = our_best.min(at.elapsed());
        our_bytes = packed.size_bytes;
        if let Some(why) = packed.left_out.first() {
            return Err(format!("not in the archive: {why}").into());
        }
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&theirs).arg("-C").arg(&tree).arg(".");
        their_best = their_best.min(timed(&mut tar)?);
    }
    let figures = json!({
        "files": paths.len(),
        "tree_bytes": tree_bytes,
        "us": our_best.as_micros() as u64,
        "bytes": our_bytes,
        "tar_us": their_best.as_micros() as u64,
        "tar_bytes": fs::metadata(&theirs)?.len(),
    });
    println!("{figures}");
    Ok(())
}

/// The first regular files below `from`, until there are enough.
fn copy(from: &Path, to: &Path, paths: &mut Vec<WorkspacePath>) -> Result<u64> {
    let (mut bytes, mut folders) = (0, vec![from.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let mut entries: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
        // The next to be looked into is the first by name.
        entries.sort_by(|one, other| other.cmp(one));
        for path in entries {
            let facts = path.symlink_metadata()?;
            if facts.is_dir() {
                folders.push(path);
            } else if facts.is_file() && facts.len() <= FILE_BYTES_MAX && !is_compressed(&path) {
                if bytes + facts.len() > BYTES_OF_EACH {
                    return Ok(bytes);
                }
                let name = path.strip_prefix("/")?;
                let Some(name) = name.to_str().and_then(|name| WorkspacePath::parse(name).ok()) else {
                    continue;
                };
                let copy = to.join(name.as_str());
                copy.parent().map(fs::create_dir_all).transpose()?;
                bytes += fs::copy(&path, copy)?;
                paths.push(name);
            }
        }
    }
    Ok(bytes)
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| COMPRESSED.iter().any(|known| extension == *known))
}
