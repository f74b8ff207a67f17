//! Being asked to stop.

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Returns at SIGINT (Ctrl-C), SIGTERM or SIGHUP.
pub async fn stop_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}
