//! Bodies of requests as streams.

use futures::StreamExt as _;
use worker::ByteStream;

/// So much of a body that is refused is read.
pub const DRAINED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads what is left of a refused body to nowhere: a sender whose connection is closed while it sends never sees the
/// answer.
pub async fn drain(body: &mut ByteStream) {
    let mut drained = 0;
    while let Some(Ok(piece)) = body.next().await {
        drained += piece.len() as u64;
        if drained > DRAINED_BYTES_MAX {
            break;
        }
    }
}
