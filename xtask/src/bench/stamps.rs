//! When each event was made, by its sequence: one clock for writer and watchers, because they share a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Stamps {
    base: Instant,
    /// Nanoseconds after the base; 0 is not made yet.
    made: Arc<[AtomicU64]>,
}

impl Stamps {
    /// For sequences below `capacity`; later ones are not timed.
    pub fn new(capacity: usize) -> Self {
        Self { base: Instant::now(), made: (0..capacity).map(|_| AtomicU64::new(0)).collect() }
    }

    pub fn capacity(&self) -> u64 {
        self.made.len() as u64
    }

    pub fn make(&self, sequence: u64, at: Instant) {
        if let Some(stamp) = self.made.get(sequence as usize) {
            let nanoseconds = at.saturating_duration_since(self.base).as_nanos() as u64;
            stamp.store(nanoseconds.max(1), Ordering::Relaxed);
        }
    }

    /// How long ago it was made; none of what was not timed.
    pub fn age(&self, sequence: u64, now: Instant) -> Option<Duration> {
        let made = self.made.get(sequence as usize)?.load(Ordering::Relaxed);
        let now = now.saturating_duration_since(self.base).as_nanos() as u64;
        (made != 0).then(|| Duration::from_nanos(now.saturating_sub(made)))
    }
}
