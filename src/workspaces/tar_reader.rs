//! Reads a tar, or tar.gz, that arrives in pieces (POSIX.1-2017 pax, GNU long names). Pure: bytes in, steps out;
//! the header fields themselves are the `tar` crate's.

use shared_contracts::limits::PATH_BYTES_MAX;
use tar::{EntryType, Header};

use super::unpack::Unpacker;

const BLOCK: usize = 512;
/// A pax header or long name is text about one file.
const EXTENSION_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    File { executable: bool },
    Symlink { target: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As it stands in the archive.
    pub path: String,
    pub size: u64,
    pub kind: EntryKind,
}

/// What the next bytes mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    Begin(Entry),
    /// Content of the entry that began last.
    Content(Vec<u8>),
    End,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    #[error("the stream is neither a tar nor a tar.gz: {0}")]
    NotTar(String),
    #[error("the archive ends before its closing block")]
    Truncated,
    #[error("`{path}` is a {what}; a workspace holds files and symbolic links")]
    Unsupported { path: String, what: &'static str },
    #[error("a name in the archive is not UTF-8, or too long")]
    BadName,
}

enum State {
    Header,
    /// A long name or pax header that is about the next entry.
    Extension {
        kind: EntryType,
        left: u64,
        padding: u64,
        bytes: Vec<u8>,
    },
    Content {
        left: u64,
        padding: u64,
    },
    Skip {
        left: u64,
    },
    Finished,
}

#[derive(Default)]
struct Overrides {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

pub struct TarReader {
    unpacker: Unpacker,
    state: State,
    overrides: Overrides,
    /// Unpacked, and not a step yet.
    pending: Vec<u8>,
    finished: bool,
}

impl Default for TarReader {
    fn default() -> Self {
        Self {
            unpacker: Unpacker::default(),
            state: State::Header,
            overrides: Overrides::default(),
            pending: Vec::new(),
            finished: false,
        }
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn text(bytes: &[u8]) -> Result<String, TarError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TarError::BadName)?;
    if text.len() > PATH_BYTES_MAX { Err(TarError::BadName) } else { Ok(text.to_owned()) }
}

impl TarReader {
    /// Takes a piece of the stream, for [`Self::steps`] to read.
    pub fn push(&mut self, piece: &[u8]) {
        self.unpacker.push(piece);
    }

    /// Steps of the next portion of what was pushed; none once it needs more.
    pub fn steps(&mut self) -> Result<Vec<Step>, TarError> {
        let mut steps = Vec::new();
        while steps.is_empty() && self.unpacker.unpack(&mut self.pending).map_err(not_tar)? {
            while self.step(&mut steps)? {}
        }
        Ok(steps)
    }

    /// The stream is over, and [`Self::steps`] has read all of it. Without its closing block an archive was cut off,
    /// even if it was between two entries: taken for whole, it would delete every file that did not come.
    pub fn finish(&mut self) -> Result<Vec<Step>, TarError> {
        self.finished = true;
        let mut steps = Vec::new();
        self.unpacker.finish(&mut self.pending).map_err(not_tar)?;
        while self.step(&mut steps)? {}
        match self.state {
            State::Finished => Ok(steps),
            _ => Err(TarError::Truncated),
        }
    }

    /// Whether [`Self::finish`] was reached: nothing more will come.
    pub fn is_over(&self) -> bool {
        self.finished
    }

    fn take(&mut self, most: u64) -> Vec<u8> {
        let length = self.pending.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        if length == self.pending.len() {
            return std::mem::take(&mut self.pending);
        }
        let rest = self.pending.split_off(length);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Whether there may be another step in what is pending.
    fn step(&mut self, steps: &mut Vec<Step>) -> Result<bool, TarError> {
        match std::mem::replace(&mut self.state, State::Finished) {
            State::Finished => {
                self.pending.clear();
                Ok(false)
            }
            State::Header if self.pending.len() < BLOCK => {
                self.state = State::Header;
                Ok(false)
            }
            State::Header => {
                let block = self.take(BLOCK as u64);
                if block.iter().any(|byte| *byte != 0) {
                    self.state = self.header(&block, steps)?;
                }
                Ok(true)
            }
            State::Extension { kind, left, padding, mut bytes } => {
                let piece = self.take(left);
                let left = left - piece.len() as u64;
                bytes.extend_from_slice(&piece);
                if left > 0 {
                    self.state = State::Extension { kind, left, padding, bytes };
                    return Ok(false);
                }
                self.extension(kind, &bytes)?;
                self.state = State::Skip { left: padding };
                Ok(true)
            }
            State::Content { left: 0, padding } => {
                steps.push(Step::End);
                self.state = State::Skip { left: padding };
                Ok(true)
            }
            State::Content { left, padding } => {
                let piece = self.take(left);
                let (empty, left) = (piece.is_empty(), left - piece.len() as u64);
                if !empty {
                    steps.push(Step::Content(piece));
                }
                self.state = State::Content { left, padding };
                Ok(!empty)
            }
            State::Skip { left } => {
                let left = left - self.take(left).len() as u64;
                self.state = if left > 0 { State::Skip { left } } else { State::Header };
                Ok(left == 0)
            }
        }
    }

    fn header(&mut self, block: &[u8], steps: &mut Vec<Step>) -> Result<State, TarError> {
        let header = Header::from_byte_slice(block);
        check_sum(header, block)?;
        let kind = header.entry_type();
        let size = header.entry_size().map_err(not_tar)?;
        if kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            if size > EXTENSION_BYTES_MAX {
                return Err(TarError::BadName);
            }
            return Ok(State::Extension { kind, left: size, padding: padding(size), bytes: Vec::new() });
        }
        let overrides = std::mem::take(&mut self.overrides);
        let size = overrides.size.unwrap_or(size);
        // Global headers say nothing about content; git writes its commit into one.
        if kind.is_pax_global_extensions() {
            return Ok(State::Skip { left: size.saturating_add(padding(size)) });
        }
        let path = match overrides.path {
            Some(path) => path,
            None => text(&header.path_bytes())?,
        };
        if kind.is_dir() {
            return Ok(State::Skip { left: size.saturating_add(padding(size)) });
        }
        if kind.is_symlink() {
            let target = match overrides.link {
                Some(link) => link,
                None => text(&header.link_name_bytes().unwrap_or_default())?,
            };
            steps.push(Step::Begin(Entry {
                path,
                size: target.len() as u64,
                kind: EntryKind::Symlink { target },
            }));
            steps.push(Step::End);
            return Ok(State::Skip { left: size.saturating_add(padding(size)) });
        }
        if !(kind.is_file() || kind == EntryType::Continuous) {
            return Err(TarError::Unsupported { path, what: what(kind) });
        }
        let executable = header.mode().map_err(not_tar)? & 0o100 != 0;
        steps.push(Step::Begin(Entry { path, size, kind: EntryKind::File { executable } }));
        Ok(State::Content { left: size, padding: padding(size) })
    }

    fn extension(&mut self, kind: EntryType, bytes: &[u8]) -> Result<(), TarError> {
        if kind.is_gnu_longname() {
            self.overrides.path = Some(text(bytes.strip_suffix(&[0]).unwrap_or(bytes))?);
        } else if kind.is_gnu_longlink() {
            self.overrides.link = Some(text(bytes.strip_suffix(&[0]).unwrap_or(bytes))?);
        } else {
            for extension in tar::PaxExtensions::new(bytes) {
                let extension = extension.map_err(not_tar)?;
                match extension.key_bytes() {
                    b"path" => self.overrides.path = Some(text(extension.value_bytes())?),
                    b"linkpath" => self.overrides.link = Some(text(extension.value_bytes())?),
                    b"size" => {
                        self.overrides.size = extension.value().ok().and_then(|size| size.parse().ok())
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn not_tar(error: std::io::Error) -> TarError {
    TarError::NotTar(error.to_string())
}

fn check_sum(header: &Header, block: &[u8]) -> Result<(), TarError> {
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(index, byte)| u32::from(if (148..156).contains(&index) { b' ' } else { *byte }))
        .sum();
    match header.cksum() {
        Ok(wanted) if wanted == sum => Ok(()),
        _ => Err(TarError::NotTar("a header's checksum is wrong".into())),
    }
}

fn what(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "hard link",
        EntryType::Char | EntryType::Block => "device",
        EntryType::Fifo => "pipe",
        _ => "special entry",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use proptest::prelude::*;

    fn archive(files: &[(&str, &[u8], u32)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content, mode) in files {
            let mut header = Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn read(pieces: impl Iterator<Item = Vec<u8>>) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
        let (mut reader, mut entries) = (TarReader::default(), Vec::<(Entry, Vec<u8>)>::new());
        let mut take = |steps: Vec<Step>| {
            for step in steps {
                match step {
                    Step::Begin(entry) => entries.push((entry, Vec::new())),
                    Step::Content(bytes) => entries.last_mut().unwrap().1.extend(bytes),
                    Step::End => {}
                }
            }
        };
        for piece in pieces {
            reader.push(&piece);
            while let steps = reader.steps()?
                && !steps.is_empty()
            {
                take(steps);
            }
        }
        take(reader.finish()?);
        Ok(entries)
    }

    fn pieces(bytes: &[u8], length: usize) -> impl Iterator<Item = Vec<u8>> {
        bytes.chunks(length).map(<[u8]>::to_vec)
    }

    proptest! {
        #[test]
        fn reads_the_same_however_it_is_cut(length in 1usize..3000, sizes in prop::collection::vec(0usize..100_000, 1..6), gzip: bool) {
            let long = "d/".repeat(90) + "file";
            let contents: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
            let files: Vec<(String, u32)> = (0..sizes.len()).map(|n| (format!("{n}-{long}"), if n % 2 == 0 { 0o755 } else { 0o644 })).collect();
            let list: Vec<(&str, &[u8], u32)> = files.iter().zip(&contents).map(|((path, mode), content)| (path.as_str(), content.as_slice(), *mode)).collect();
            let mut bytes = archive(&list);
            if gzip {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                bytes = encoder.finish().unwrap();
            }
            let found = read(pieces(&bytes, length)).unwrap();
            prop_assert_eq!(found.len(), files.len());
            for ((entry, content), (path, bytes, mode)) in found.iter().zip(list) {
                prop_assert_eq!(entry.path.as_str(), path);
                prop_assert_eq!(content.as_slice(), bytes);
                prop_assert_eq!(&entry.kind, &EntryKind::File { executable: mode & 0o100 != 0 });
            }
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = read(pieces(&bytes, 700));
        }
    }

    #[test]
    fn refuses_what_is_not_whole_or_not_a_file() {
        let whole = archive(&[("a", b"content", 0o644)]);
        for length in [0, 1, 512, 515, 1_024] {
            assert_eq!(read(pieces(&whole[..length], 100)), Err(TarError::Truncated), "{length} bytes");
        }
        assert!(read(pieces(&whole[..1_536], 100)).is_ok(), "one closing block will do");
        assert!(matches!(read(pieces(&[b'x'; 600], 600)), Err(TarError::NotTar(_))));
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, "hard", "a").unwrap();
        let bytes = builder.into_inner().unwrap();
        assert!(matches!(read(pieces(&bytes, 512)), Err(TarError::Unsupported { what: "hard link", .. })));
    }
}
