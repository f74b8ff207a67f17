//! A batch cut to the wire's limits.

use std::io::{self, Write};

use shared_contracts::limits::PATCH_OPERATIONS_MAX;
use shared_contracts::patches::{PatchBatch, PatchOperation};

/// Batches of at most so many operations and so many bytes of JSON, to be applied one after the other: each is made
/// against what the one before it leaves. They are no longer all or nothing together. An operation that is larger by
/// itself stands alone in its batch, and whoever takes it will refuse it.
pub fn split(batch: PatchBatch, batch_bytes_max: usize) -> Vec<PatchBatch> {
    let mut batches: Vec<PatchBatch> = Vec::new();
    let mut bytes = ENVELOPE_BYTES;
    for operation in batch.operations {
        let more = json_bytes(&operation) + 1;
        match batches.last_mut() {
            Some(last) if last.operations.len() < PATCH_OPERATIONS_MAX && bytes + more <= batch_bytes_max => {
                last.operations.push(operation);
                bytes += more;
            }
            _ => {
                batches.push(PatchBatch { operations: vec![operation] });
                bytes = ENVELOPE_BYTES + more;
            }
        }
    }
    batches
}

/// `{"operations":[]}`
const ENVELOPE_BYTES: usize = 17;

struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn json_bytes(operation: &PatchOperation) -> usize {
    let mut counter = Counter(0);
    match serde_json::to_writer(&mut counter, operation) {
        Ok(()) => counter.0,
        // Nothing in an operation can fail to be written; if it ever does, it must not share a batch.
        Err(_) => usize::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::paths::WorkspacePath;

    #[test]
    fn keeps_order_and_limits() {
        let delete = |n: usize| PatchOperation::Delete {
            path: WorkspacePath::parse(&format!("{n:04}")).unwrap(),
            base_sha256: None,
        };
        let whole = PatchBatch { operations: (0..1_234).map(delete).collect() };
        let by_count = split(whole.clone(), usize::MAX);
        assert_eq!(by_count.iter().map(|batch| batch.operations.len()).collect::<Vec<_>>(), [500, 500, 234]);
        let by_bytes = split(whole.clone(), 1_000);
        assert!(by_bytes.iter().all(|batch| serde_json::to_vec(batch).unwrap().len() <= 1_000));
        let larger = by_bytes.iter().filter(|batch| serde_json::to_vec(batch).unwrap().len() > 900).count();
        assert_eq!(larger, by_bytes.len() - 1, "batches are filled");
        assert_eq!(
            by_bytes.into_iter().flat_map(|batch| batch.operations).collect::<Vec<_>>(),
            whole.operations
        );
        assert_eq!(split(whole, 1).len(), 1_234);
        assert!(split(PatchBatch { operations: vec![] }, 1).is_empty());
    }
}
