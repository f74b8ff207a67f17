//! gzip on several cores: the text is cut into blocks, each compressed by itself into a member of its own. RFC 1952
//! (2.2) lets members follow each other, and every `gunzip` reads them as one stream.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use libdeflater::{CompressionLvl, Compressor};

/// A match reaches 32 KiB back, so what is lost at a border is little of this.
const BLOCK_BYTES: usize = 1024 * 1024;
/// As gzip's own default: smaller is slower than it is worth.
const LEVEL: i32 = 6;

type Compressed = io::Result<Vec<u8>>;

/// Writes compressed members to `out`, in order. [`ParallelGzip::finish`] ends the stream; dropped, it is cut short.
pub struct ParallelGzip<W: Write> {
    out: W,
    block: Vec<u8>,
    /// None once nothing more comes.
    blocks: Option<SyncSender<(u64, Vec<u8>)>>,
    done: Receiver<(u64, Compressed)>,
    /// Came before its turn.
    early: BTreeMap<u64, Compressed>,
    sent: u64,
    written: u64,
    at_once: u64,
    workers: Vec<JoinHandle<()>>,
}

impl<W: Write> ParallelGzip<W> {
    /// `threads`: at least one.
    pub fn new(out: W, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        let (blocks, queue) = sync_channel(threads);
        let (finished, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let workers = (0..threads).map(|_| {
            let (queue, finished) = (Arc::clone(&queue), finished.clone());
            std::thread::Builder::new().name("gzip".into()).spawn(move || work(&queue, &finished))
        });
        let workers = workers.collect::<io::Result<_>>()?;
        let block = Vec::with_capacity(BLOCK_BYTES);
        let at_once = 2 * threads as u64;
        let early = BTreeMap::new();
        Ok(Self { out, block, blocks: Some(blocks), done, early, sent: 0, written: 0, at_once, workers })
    }

    fn send(&mut self) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES));
        let blocks = self.blocks.as_ref().ok_or_else(|| io::Error::other("the archive is finished"))?;
        blocks.send((self.sent, block)).map_err(|_| io::Error::other("no thread compresses any more"))?;
        self.sent += 1;
        // What waits in memory is bounded by not running ahead.
        while self.sent - self.written >= self.at_once {
            self.receive()?;
        }
        Ok(())
    }

    /// Takes one block, and writes those whose turn it is.
    fn receive(&mut self) -> io::Result<()> {
        let (number, compressed) =
            self.done.recv().map_err(|_| io::Error::other("no thread compresses any more"))?;
        self.early.insert(number, compressed);
        while let Some(next) = self.early.remove(&self.written) {
            self.out.write_all(&next?)?;
            self.written += 1;
        }
        Ok(())
    }

    /// Everything is written when this returns.
    pub fn finish(mut self) -> io::Result<W> {
        // An empty stream is one empty member.
        if !self.block.is_empty() || self.sent == 0 {
            self.send()?;
        }
        self.blocks = None;
        while self.written < self.sent {
            self.receive()?;
        }
        for worker in self.workers {
            let _ = worker.join();
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = BLOCK_BYTES - self.block.len();
        let taken = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        self.block.extend_from_slice(taken);
        if self.block.len() == BLOCK_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    /// What is not a whole block waits: a member for every small write would be larger than the text.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<(u64, Vec<u8>)>>, finished: &Sender<(u64, Compressed)>) {
    let level = CompressionLvl::new(LEVEL).unwrap_or_default();
    let mut compressor = Compressor::new(level);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, block)) = next else { return };
        let mut compressed = vec![0; compressor.gzip_compress_bound(block.len())];
        let result = compressor.gzip_compress(&block, &mut compressed).map_err(io::Error::other);
        let result = result.map(|bytes| {
            compressed.truncate(bytes);
            compressed
        });
        if finished.send((number, result)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn gunzip(bytes: &[u8]) -> Vec<u8> {
        let mut child =
            Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let feeder = std::thread::spawn(move || stdin.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap().unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn gzip_reads_back_what_was_written_whatever_its_size() {
        let text: Vec<u8> = (0..5 * BLOCK_BYTES / 2).map(|n| (n % 251) as u8 ^ (n / 7_001) as u8).collect();
        for size in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, text.len()] {
            for threads in [1, 3] {
                let mut gzip = ParallelGzip::new(Vec::new(), threads).unwrap();
                for piece in text[..size].chunks(99_991) {
                    gzip.write_all(piece).unwrap();
                }
                assert_eq!(gunzip(&gzip.finish().unwrap()), text[..size], "{size} bytes, {threads} threads");
            }
        }
    }

    #[test]
    fn a_full_disk_is_an_error_and_no_thread_stays() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut gzip = ParallelGzip::new(Full, 2).unwrap();
        let written = (0..16).try_for_each(|_| gzip.write_all(&[0; BLOCK_BYTES]));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
