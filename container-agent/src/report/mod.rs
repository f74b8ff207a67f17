//! What an execution delivers besides its log: artifacts, and its changes as a patch batch.

pub mod archive;
pub(crate) mod artifacts;
mod parallel_gzip;
pub(crate) mod patch;

use crate::api::ApiError;

/// Why a delivery did not succeed.
#[derive(Debug)]
pub enum ReportError {
    LeaseGone,
    /// For the log and the terminal event.
    Failed(String),
}

impl ReportError {
    fn from_api(what: &str, error: ApiError) -> Self {
        match error {
            ApiError::LeaseGone => Self::LeaseGone,
            other => Self::Failed(format!("{what}: {other}")),
        }
    }
}

/// Runs what blocks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ReportError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ReportError::Failed(error.to_string()))
}
