//! What every target holds its input to, beside what it asserts itself.

// The container agent's unpacker by itself, with its tests' tools: the whole agent would take minutes to build.
extern crate self as container_agent;
#[path = "../../../container-agent/tests/images/archive.rs"]
pub mod archive;
#[path = "../../../container-agent/src/beneath.rs"]
pub mod beneath;
#[expect(clippy::new_without_default, reason = "nobody but tests makes one")]
#[path = "../../../container-agent/tests/images/canary.rs"]
pub mod canary;
pub mod images {
    pub use crate::unpack::{Known, UnpackFault, UnpackLimits, Unpacker};
}
#[path = "../../../container-agent/src/images/unpack/mod.rs"]
pub mod unpack;

use std::time::Duration;

use patch_engine::formats::{read, sniff};
use rustix::time::{ClockId, clock_gettime};
use shared_contracts::patches::PatchFormat;

/// For 100 KB of input, and for less.
const TIME_MAX: Duration = Duration::from_millis(100);
const BYTES: usize = 100_000;
/// What else the machine does is not the input's fault: this thread's own time counts, and of several tries the fastest.
const TRIES: usize = 4;

pub fn in_time<T>(input_bytes: usize, work: impl Fn() -> T) -> T {
    let most = TIME_MAX.mul_f64(input_bytes.max(BYTES) as f64 / BYTES as f64);
    let mut fastest = Duration::MAX;
    for _ in 0..TRIES {
        let started = cpu_time();
        let done = work();
        fastest = fastest.min(cpu_time() - started);
        if fastest <= most {
            return done;
        }
    }
    panic!("{input_bytes} bytes took {fastest:?}, more than {most:?}");
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A reader finds operations, or says where it cannot go on.
pub fn read_as(text: &str, format: PatchFormat) {
    in_time(text.len(), || {
        sniff(text);
        if let Ok(read) = read(text, Some(format)) {
            assert!(!read.operations.is_empty());
        }
    });
}
