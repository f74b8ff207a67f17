//! Through the doors, with a hand behind them: what no request can bring about is put into D1 beside the Worker.
//!
//! Two programs that write one SQLite file can be in each other's way, so these tests go one at a time.
#![cfg(test)]

mod abandoned_imports;
mod board;
mod ceilings;
mod database_busy;
mod deletions;
mod machines;
mod ownership;
mod patch_events;
mod reconciler;
mod tokens;

/// Held for as long as a test runs.
async fn alone() -> tokio::sync::MutexGuard<'static, ()> {
    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    TURN.lock().await
}

/// What a folder of the Worker's state holds, without workerd's own book-keeping.
fn sqlite_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .filter(|path| path.file_stem().is_some_and(|name| name != "metadata"))
        .collect()
}
