//! What is tried again, and when.

use crate::backoff::Backoff;
use crate::images::error::Fault;

pub struct Retry {
    backoff: Backoff,
    tries_left: u32,
    tries_max: u32,
}

impl Retry {
    pub fn new(tries_max: u32) -> Self {
        Self { backoff: Backoff::default(), tries_left: tries_max, tries_max }
    }

    /// Waits before the next try, or gives the fault back: it would come again, or came too often.
    pub async fn after(&mut self, fault: Fault) -> Result<(), Fault> {
        self.tries_left = self.tries_left.saturating_sub(1);
        if self.tries_left == 0 || !fault.is_transient() {
            return Err(fault);
        }
        tracing::debug!(%fault, "trying again");
        tokio::time::sleep(self.backoff.delay()).await;
        Ok(())
    }

    /// Something came: as long as it does, there is no end to the tries.
    pub fn progressed(&mut self) {
        self.tries_left = self.tries_max;
        self.backoff.reset();
    }
}
