//! A hub whose execution was deleted.

use super::hub::ExecutionHub;
use crate::platform::failure::Outcome;

impl ExecutionHub {
    /// Whoever still watches or writes is let go, and nothing is kept. Streams end by themselves: the log has ended.
    pub(super) async fn forget(&self) -> Outcome<()> {
        self.is_forgotten.set(true);
        for socket in self.state.get_websockets() {
            // Closed already where its peer went away.
            let _ = socket.close(Some(1000), Some("The execution was deleted"));
        }
        let storage = self.state.storage();
        storage.delete_alarm().await?;
        Ok(storage.delete_all().await?)
    }
}
