//! Through the doors, with a hand behind them: what no request can bring about is put into D1 beside the Worker.
//!
//! Two programs that write one SQLite file can be in each other's way, so these tests go one at a time.

#[cfg(test)]
mod board;
#[cfg(test)]
mod ownership;
#[cfg(test)]
mod patch_events;
#[cfg(test)]
mod reconciler;
#[cfg(test)]
mod tokens;

/// Held for as long as a test runs.
#[cfg(test)]
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}
