//! One execution's events between their writer and the hub: numbered when they enter, on disk before they are sent,
//! forgotten when they are acknowledged.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redaction::Redactor;
use shared_contracts::events::{EventBody, EventSource, LogLevel, LogStream};
use shared_contracts::limits::{LOG_BYTES_PER_EXECUTION_MAX, SPOOL_WINDOW_BYTES};
use tokio::sync::Notify;

use super::batch::{Batch, Cut};
use super::segment::{Block, Segments};
use crate::clock;

/// What may be in a log.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Of output lines, in bytes as they are stored.
    pub log_bytes_max: u64,
    /// None: there is no secret to be kept out.
    pub redactor: Option<Redactor>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { log_bytes_max: LOG_BYTES_PER_EXECUTION_MAX, redactor: None }
    }
}

pub struct Spool {
    generation: u32,
    rules: Rules,
    inner: Mutex<Inner>,
    /// Room was made, or nobody needs any more.
    room: Condvar,
    /// Something was written or acknowledged, or the log is complete.
    pub changed: Notify,
    /// The disk refused.
    failed: Notify,
}

struct Inner {
    segments: Segments,
    /// Not acknowledged, in order.
    blocks: VecDeque<Block>,
    next_sequence: u64,
    unacknowledged_bytes: u64,
    log_bytes: u64,
    dropped_lines: u64,
    complete: bool,
    abandoned: bool,
    buffer: Vec<u8>,
    /// The disk refused: what was not written is not numbered either.
    failure: Option<String>,
}

/// Events for the hub, whole lines.
pub struct Chunk {
    pub first: u64,
    pub count: u32,
    pub lines: Vec<u8>,
}

impl Spool {
    pub fn create(directory: &Path, generation: u32, next_sequence: u64, rules: Rules) -> Self {
        let new = Self::with(Segments::new(directory), VecDeque::new(), generation, next_sequence, false);
        Self { rules, ..new }
    }

    /// What a dead agent left. `next_sequence` counts only where no event was written.
    pub fn recover(directory: &Path, generation: u32, next_sequence: u64) -> io::Result<Self> {
        let found = Segments::recover(directory)?;
        let next_sequence = found.next_sequence.unwrap_or(next_sequence);
        Ok(Self::with(found.segments, found.blocks, generation, next_sequence, found.ended))
    }

    fn with(
        segments: Segments,
        blocks: VecDeque<Block>,
        generation: u32,
        next_sequence: u64,
        complete: bool,
    ) -> Self {
        let unacknowledged_bytes = blocks.iter().map(|block| block.bytes as u64).sum();
        let inner = Inner {
            segments,
            blocks,
            next_sequence,
            unacknowledged_bytes,
            log_bytes: 0,
            dropped_lines: 0,
            complete,
            abandoned: false,
            buffer: Vec::new(),
            failure: None,
        };
        let (changed, failed) = (Notify::new(), Notify::new());
        Self {
            generation,
            rules: Rules::default(),
            inner: Mutex::new(inner),
            room: Condvar::new(),
            changed,
            failed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A writer that panicked left numbers and bytes in step: both change after the write.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what `fill` adds as one batch.
    pub fn write(&self, fill: impl FnOnce(&mut Batch<'_>)) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        if inner.complete || inner.abandoned || inner.failure.is_some() {
            return;
        }
        let mut buffer = std::mem::take(&mut inner.buffer);
        buffer.clear();
        let mut batch = Batch {
            generation: self.generation,
            at_ms: clock::now_ms(),
            next: inner.next_sequence,
            buffer: &mut buffer,
            cuts: Vec::new(),
            log_bytes: &mut inner.log_bytes,
            log_bytes_max: self.rules.log_bytes_max,
            redactor: self.rules.redactor.as_ref(),
            dropped_lines: &mut inner.dropped_lines,
            ended: false,
        };
        fill(&mut batch);
        let (next, cuts, ended) = (batch.next, std::mem::take(&mut batch.cuts), batch.ended);
        inner.commit(next, &cuts, &buffer);
        inner.complete = ended && inner.failure.is_none();
        inner.buffer = buffer;
        if inner.failure.is_some() {
            self.failed.notify_one();
        }
        drop(guard);
        self.changed.notify_one();
    }

    pub fn redactor(&self) -> Option<&Redactor> {
        self.rules.redactor.as_ref()
    }

    pub fn event(&self, source: EventSource, body: EventBody) {
        self.write(|batch| batch.event(source, body));
    }

    /// A message of Patchbay's own in the log.
    pub fn note(&self, level: LogLevel, text: impl Into<String>) {
        let body = EventBody::Log { level, stream: LogStream::System, text: text.into(), continues: false };
        self.event(EventSource::System, body);
    }

    /// Blocks until less than the window is unacknowledged. False when nothing needs reading any more.
    pub fn wait_for_room(&self) -> bool {
        let mut inner = self.lock();
        while inner.unacknowledged_bytes > SPOOL_WINDOW_BYTES && !inner.abandoned {
            let waited = self.room.wait_timeout(inner, Duration::from_secs(1));
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        !inner.abandoned
    }

    /// Nothing of this log matters any more.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
        self.room.notify_all();
        self.changed.notify_one();
    }

    pub fn next_sequence(&self) -> u64 {
        self.lock().next_sequence
    }

    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Comes once the disk refused a write; for one waiter.
    pub async fn failed(&self) -> String {
        loop {
            if let Some(failure) = self.failure() {
                return failure;
            }
            self.failed.notified().await;
        }
    }

    /// Lines that were only counted, because the log had reached its limit.
    pub fn dropped_lines(&self) -> u64 {
        self.lock().dropped_lines
    }

    /// Whether the terminal event is in.
    pub fn is_complete(&self) -> bool {
        self.lock().complete
    }

    /// Whether nothing that is written now would be kept.
    pub fn is_closed(&self) -> bool {
        let inner = self.lock();
        inner.complete || inner.abandoned || inner.failure.is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.lock().blocks.is_empty()
    }

    /// Bytes written from `from` on: what the sender could send now.
    pub fn pending_bytes(&self, from: u64) -> usize {
        let inner = self.lock();
        let start = inner.blocks.partition_point(|block| block.last() < from);
        inner.blocks.range(start..).map(|block| block.bytes).sum()
    }

    /// Events from `from` on, at most `bytes_max` (at least one block). None where there are none.
    pub fn read(&self, from: u64, bytes_max: usize) -> io::Result<Option<Chunk>> {
        let blocks: Vec<Block> = {
            let inner = self.lock();
            if from >= inner.next_sequence {
                return Ok(None);
            }
            let start = inner.blocks.partition_point(|block| block.last() < from);
            let mut bytes = 0;
            let fits = |block: &&Block| {
                bytes += block.bytes;
                bytes <= bytes_max || bytes == block.bytes
            };
            inner.blocks.range(start..).take_while(fits).cloned().collect()
        };
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return Ok(None) };
        if first.first > from {
            return Err(io::Error::other(format!("event {from} was acknowledged and is forgotten")));
        }
        let mut lines = Vec::with_capacity(blocks.iter().map(|block| block.bytes).sum());
        for block in &blocks {
            block.read_into(&mut lines)?;
        }
        // The hub may have taken the first part of a block.
        for _ in first.first..from {
            let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
            lines.drain(..end);
        }
        let count = u32::try_from(last.last() + 1 - from).map_err(io::Error::other)?;
        Ok(Some(Chunk { first: from, count, lines }))
    }

    pub fn acknowledge(&self, through: u64) {
        let mut inner = self.lock();
        while inner.blocks.front().is_some_and(|block| block.last() <= through) {
            if let Some(block) = inner.blocks.pop_front() {
                inner.unacknowledged_bytes = inner.unacknowledged_bytes.saturating_sub(block.bytes as u64);
            }
        }
        let keep_from = inner.blocks.front().map_or(inner.next_sequence, |block| block.first);
        inner.segments.forget_below(keep_from);
        drop(inner);
        self.room.notify_all();
        self.changed.notify_one();
    }
}

impl Inner {
    fn commit(&mut self, next: u64, cuts: &[Cut], buffer: &[u8]) {
        if cuts.is_empty() {
            return;
        }
        match self.segments.append(self.next_sequence, buffer) {
            Ok((file, start)) => {
                for cut in cuts {
                    let (offset, file) = (start + cut.offset as u64, file.clone());
                    self.blocks.push_back(Block {
                        first: cut.first,
                        count: cut.count,
                        offset,
                        bytes: cut.bytes,
                        file,
                    });
                }
                self.unacknowledged_bytes += buffer.len() as u64;
                self.next_sequence = next;
            }
            Err(error) => self.failure = Some(format!("the event spool cannot be written: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::events::Event;

    fn fill(spool: &Spool, lines: usize) {
        spool.write(|batch| {
            (0..lines).for_each(|n| batch.line(LogStream::Stdout, &format!("line {n}\t\"x\""), false))
        });
    }

    fn events(chunk: &Chunk) -> Vec<Event> {
        chunk
            .lines
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
    }

    #[test]
    fn numbers_are_contiguous_and_acknowledged_ones_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::create(directory.path(), 2, 7, Rules::default());
        fill(&spool, 5_000);
        spool.note(LogLevel::Warn, "note");
        let mut from = 7;
        while let Some(chunk) = spool.read(from, 300_000).unwrap() {
            let found = events(&chunk);
            assert_eq!(found.len(), chunk.count as usize);
            assert!(found.iter().zip(from..).all(|(event, n)| event.sequence == n && event.generation == 2));
            from += u64::from(chunk.count);
        }
        assert_eq!(from, 7 + 5_001);
        // From the middle of a block.
        assert_eq!(events(&spool.read(9, 1).unwrap().unwrap())[0].sequence, 9);
        spool.acknowledge(5_006);
        assert_eq!(events(&spool.read(5_007, 1_000_000).unwrap().unwrap()).len(), 1);
        spool.acknowledge(5_007);
        assert!(spool.is_empty() && spool.read(5_008, 1).unwrap().is_none());
    }

    #[test]
    fn a_torn_tail_is_cut_and_numbering_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        fill(&Spool::create(directory.path(), 1, 1, Rules::default()), 10);
        let path = directory.path().join(format!("events-{:020}.ndjson", 1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 5);
        std::fs::write(&path, bytes).unwrap();
        let spool = Spool::recover(directory.path(), 1, 1).unwrap();
        assert_eq!(spool.next_sequence(), 10);
        fill(&spool, 1);
        assert_eq!(events(&spool.read(1, 1_000_000).unwrap().unwrap()).len(), 10);
        assert!(!spool.is_complete());
    }

    #[test]
    fn segments_leave_the_disk_when_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::create(directory.path(), 1, 1, Rules::default());
        for _ in 0..10 {
            fill(&spool, 10_000);
        }
        let files = || std::fs::read_dir(directory.path()).unwrap().count();
        assert!(files() > 2);
        spool.acknowledge(spool.next_sequence() - 1);
        assert_eq!(files(), 1);
    }
}
