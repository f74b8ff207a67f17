//! The memory of the Worker's process, from `/proc`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Bytes that all processes named `workerd` in this group have in memory; 0 if there is none.
pub fn workerd_bytes(group: u32) -> u64 {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| resident(&process.path(), group)).sum()
}

fn resident(process: &std::path::Path, group: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
    // State, parent, group.
    let found: u32 = fields.split_whitespace().nth(2)?.parse().ok()?;
    if name != "workerd" || found != group {
        return None;
    }
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
}

/// Remembers the most that there was while it lives.
pub struct Watch {
    peak_bytes: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub fn over(group: u32) -> Self {
        let (peak_bytes, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (peak, is_over) = (Arc::clone(&peak_bytes), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(workerd_bytes(group), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        Self { peak_bytes, over, thread: Some(thread) }
    }

    /// The most since this was asked last.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
