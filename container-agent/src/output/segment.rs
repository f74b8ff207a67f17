//! What is on disk for one execution: files of events, one JSON object a line, each file named by its first sequence.
//! A batch is written with one call; a tail that a crash tore off is cut away when the files are read again.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

/// A file is closed and the next one begun when it is this large, so that acknowledged events leave the disk.
const SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Blocks are what the sender joins to messages.
pub const BLOCK_BYTES_MAX: usize = 96 * 1024;

/// Consecutive events in one file.
#[derive(Debug, Clone)]
pub struct Block {
    pub first: u64,
    pub count: u32,
    pub offset: u64,
    pub bytes: usize,
    pub file: Arc<File>,
}

impl Block {
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    pub fn read_into(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let start = buffer.len();
        buffer.resize(start + self.bytes, 0);
        self.file.read_exact_at(buffer.get_mut(start..).unwrap_or_default(), self.offset)
    }
}

struct Segment {
    first: u64,
    path: PathBuf,
    file: Arc<File>,
    bytes: u64,
}

/// The files of one execution, oldest first; the last one is written to.
pub struct Segments {
    directory: PathBuf,
    segments: VecDeque<Segment>,
}

/// What a restart finds.
pub struct Recovered {
    pub segments: Segments,
    pub blocks: VecDeque<Block>,
    /// The sequence of the next event, if there is any event.
    pub next_sequence: Option<u64>,
    /// Whether the terminal event was written.
    pub ended: bool,
}

#[derive(Deserialize)]
struct Line {
    sequence: u64,
    r#type: String,
}

impl Segments {
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), segments: VecDeque::new() }
    }

    /// Appends whole lines with one write. Returns the file and where in it they begin.
    pub fn append(&mut self, first_sequence: u64, lines: &[u8]) -> io::Result<(Arc<File>, u64)> {
        if self.segments.back().is_none_or(|segment| segment.bytes >= SEGMENT_BYTES_MAX) {
            let path = self.directory.join(format!("events-{first_sequence:020}.ndjson"));
            let file =
                Arc::new(File::options().read(true).write(true).create(true).truncate(true).open(&path)?);
            self.segments.push_back(Segment { first: first_sequence, path, file, bytes: 0 });
        }
        let Some(segment) = self.segments.back_mut() else { return Err(io::Error::other("no segment")) };
        segment.file.write_all_at(lines, segment.bytes)?;
        let offset = segment.bytes;
        segment.bytes += lines.len() as u64;
        Ok((Arc::clone(&segment.file), offset))
    }

    /// Removes files whose events are all below `sequence`; the newest stays.
    pub fn forget_below(&mut self, sequence: u64) {
        while self.segments.get(1).is_some_and(|next| next.first <= sequence) {
            if let Some(segment) = self.segments.pop_front() {
                let _ = fs::remove_file(&segment.path);
            }
        }
    }

    pub fn recover(directory: &Path) -> io::Result<Recovered> {
        let mut paths: Vec<_> = fs::read_dir(directory)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
            .collect();
        paths.sort();
        let mut recovered = Recovered {
            segments: Self::new(directory),
            blocks: VecDeque::new(),
            next_sequence: None,
            ended: false,
        };
        for path in paths {
            let file = Arc::new(File::options().read(true).write(true).open(&path)?);
            let bytes = fs::read(&path)?;
            let valid = recovered.scan(&bytes, &file);
            file.set_len(valid)?;
            let own = |block: &&Block| Arc::ptr_eq(&block.file, &file);
            let first = recovered.blocks.iter().find(own).map_or(0, |block| block.first);
            recovered.segments.segments.push_back(Segment { first, path, file, bytes: valid });
            if valid < bytes.len() as u64 {
                // Nothing after a torn line is whole.
                break;
            }
        }
        Ok(recovered)
    }
}

impl Recovered {
    /// Takes lines for as long as each is whole and follows the one before. Returns how many bytes that are.
    fn scan(&mut self, bytes: &[u8], file: &Arc<File>) -> u64 {
        let mut offset = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(Ok(event)) = line.strip_suffix(b"\n").map(serde_json::from_slice::<Line>) else { break };
            if self.next_sequence.is_some_and(|next| next != event.sequence) {
                break;
            }
            match self.blocks.back_mut() {
                Some(block)
                    if Arc::ptr_eq(&block.file, file) && block.bytes + line.len() <= BLOCK_BYTES_MAX =>
                {
                    block.count += 1;
                    block.bytes += line.len();
                }
                _ => self.blocks.push_back(Block {
                    first: event.sequence,
                    count: 1,
                    offset,
                    bytes: line.len(),
                    file: Arc::clone(file),
                }),
            }
            self.next_sequence = Some(event.sequence + 1);
            self.ended = event.r#type == "ended";
            offset += line.len() as u64;
        }
        offset
    }
}

/// Writes a small file so that a crash leaves the old or the new content, never half.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(&temporary, path)
}
