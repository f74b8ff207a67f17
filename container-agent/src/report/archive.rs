//! The declared files as one `artifacts.tar.gz`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use redaction::Redactor;
use sha2::Digest;
use shared_contracts::hash::Sha256;
use shared_contracts::limits::ARTIFACT_BYTES_MAX;
use shared_contracts::paths::WorkspacePath;

use super::parallel_gzip::ParallelGzip;
use crate::beneath;
use crate::secrets::Search;

pub const NAME: &str = "artifacts.tar.gz";

/// A whole archive.
pub struct Archived {
    pub file: File,
    pub size_bytes: u64,
    pub sha256: Sha256,
    /// Files that could not be opened, each with why.
    pub left_out: Vec<String>,
    /// Secrets that stand in its files: which file, name, offset.
    pub found: Vec<(WorkspacePath, String, u64)>,
}

/// Hashes and counts what is written, and refuses what would be too large to be kept.
struct Measured {
    file: File,
    hasher: sha2::Sha256,
    bytes: u64,
}

impl Write for Measured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        if self.bytes > ARTIFACT_BYTES_MAX {
            return Err(io::Error::other(format!("it would be larger than {ARTIFACT_BYTES_MAX} bytes")));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Packs these files below `root`, in this order, into a file without a name in `directory`. Blocks.
pub fn pack(
    root: &OwnedFd,
    paths: &[WorkspacePath],
    directory: &Path,
    redactor: Option<&Redactor>,
) -> io::Result<Archived> {
    let file = Measured { file: unnamed(directory)?, hasher: sha2::Sha256::new(), bytes: 0 };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut tar = tar::Builder::new(ParallelGzip::new(file, threads)?);
    let (mut left_out, mut found) = (Vec::new(), Vec::new());
    for path in paths {
        let opened = beneath::open_file(root, Path::new(path.as_str()));
        let (mut content, stat) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                left_out.push(format!("`{path}`: {error}"));
                continue;
            }
        };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        header.set_size(size);
        header.set_mode(if stat.st_mode & 0o111 == 0 { 0o644 } else { 0o755 });
        header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
        let mut search = Search::new(redactor);
        let passed = Passed { content: Read::by_ref(&mut content).take(size), search: &mut search };
        tar.append_data(&mut header, path.as_str(), passed)?;
        found.extend(search.finish().into_iter().map(|(name, offset)| (path.clone(), name, offset)));
    }
    let Measured { file, hasher, bytes } = tar.into_inner()?.finish()?;
    let sha256 = Sha256::from_bytes(hasher.finalize().into());
    Ok(Archived { file, size_bytes: bytes, sha256, left_out, found })
}

/// A content on its way into the archive.
struct Passed<'a, 'r> {
    content: io::Take<&'a mut File>,
    search: &'a mut Search<'r>,
}

impl Read for Passed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        if count == 0 && self.content.limit() > 0 && !buffer.is_empty() {
            // Nothing writes to it any more, so its size did not tell the truth; the archive would be torn here.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.search.feed(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

fn unnamed(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR)?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_unpacks_what_was_packed() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let long = format!("deep/{}end.txt", "a-long-name/".repeat(20));
        let big: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
        for (name, content) in
            [("a.txt", b"one\n".as_slice()), ("empty", b""), (&long, &big), ("leak", b"x hunter2-hunter2")]
        {
            let path = from.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        std::fs::create_dir(&to).unwrap();
        let root: OwnedFd = File::open(&from).unwrap().into();
        let paths = ["a.txt", "empty", &long, "leak", "link"].map(|path| WorkspacePath::parse(path).unwrap());
        let redactor = Redactor::new([("TOKEN", "hunter2-hunter2")]).unwrap();
        let Archived { mut file, size_bytes, sha256, left_out, found } =
            pack(&root, &paths, directory.path(), Some(&redactor)).unwrap();
        assert_eq!(left_out.len(), 1, "a link is not followed: {left_out:?}");
        assert_eq!(found, [(paths[3].clone(), "TOKEN".to_owned(), 2)]);
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.len() as u64, Sha256::of(&bytes)), (size_bytes, sha256));
        std::fs::write(directory.path().join(NAME), &bytes).unwrap();
        let tar =
            Command::new("tar").arg("-xzf").arg(directory.path().join(NAME)).arg("-C").arg(&to).status();
        assert!(tar.unwrap().success());
        for name in ["a.txt", "empty", &long, "leak"] {
            assert!(
                std::fs::read(to.join(name)).unwrap() == std::fs::read(from.join(name)).unwrap(),
                "{name}"
            );
        }
        assert!(!to.join("link").exists());
    }
}
