//! How this agent ends: the first SIGTERM or SIGINT (or the plane's `drain`) lets what runs finish; the second gives
//! it up, so that another machine runs it at once.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    No,
    /// Takes nothing new.
    Draining,
    Abandoning,
}

#[derive(Clone)]
pub struct Ends(Arc<watch::Sender<Ending>>);

impl Ends {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Ending::No)))
    }

    pub fn now(&self) -> Ending {
        *self.0.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Ending> {
        self.0.subscribe()
    }

    pub fn raise(&self, ending: Ending) {
        self.0.send_if_modified(|now| {
            let later = ending > *now;
            *now = ending.max(*now);
            later
        });
    }

    /// Listens for signals for as long as the agent lives.
    pub async fn listen(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match self.now() {
                Ending::No => {
                    tracing::info!(
                        "draining: what runs is finished, nothing new is taken; a second signal gives it up"
                    );
                    self.raise(Ending::Draining);
                }
                _ => {
                    tracing::warn!("giving up what runs");
                    self.raise(Ending::Abandoning);
                }
            }
        }
    }
}
