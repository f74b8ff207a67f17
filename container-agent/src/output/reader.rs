//! Reads the payload's two pipes, or its terminal, until they end: one thread an execution.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shared_contracts::events::LogStream;
use tokio::sync::oneshot;

use super::lines::LineSplitter;
use super::spool::Spool;
use crate::sandbox::Output;

const READ_BYTES: usize = 256 * 1024;
/// How often an abandoned log is noticed while the payload says nothing.
const LOOK_UP: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

struct Stream {
    kind: LogStream,
    file: File,
    splitter: LineSplitter,
}

/// Starts it. The receiver hears when both pipes have ended and all is in the spool.
pub fn start(output: Output, spool: Arc<Spool>) -> std::io::Result<oneshot::Receiver<()>> {
    let (done, finished) = oneshot::channel();
    let stream = |kind, fd| Stream { kind, file: File::from(fd), splitter: LineSplitter::default() };
    let mut streams = vec![stream(LogStream::Stdout, output.stdout)];
    streams.extend(output.stderr.map(|stderr| stream(LogStream::Stderr, stderr)));
    std::thread::Builder::new().name("output".into()).spawn(move || {
        read_all(streams, &spool);
        let _ = done.send(());
    })?;
    Ok(finished)
}

fn read_all(mut streams: Vec<Stream>, spool: &Spool) {
    let mut buffer = vec![0; READ_BYTES];
    // Back-pressure: while the spool is full nothing is read, and the payload's writes block.
    while !streams.is_empty() && spool.wait_for_room() {
        let ready: Vec<bool> = {
            let mut fds: Vec<_> = streams
                .iter()
                .map(|stream| PollFd::from_borrowed_fd(stream.file.as_fd(), PollFlags::IN))
                .collect();
            match poll(&mut fds, Some(&LOOK_UP)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the output pipes cannot be watched");
                    return;
                }
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        let mut ready = ready.into_iter();
        streams
            .retain_mut(|stream| !ready.next().unwrap_or_default() || stream.read_once(&mut buffer, spool));
    }
}

impl Stream {
    /// False at the end.
    fn read_once(&mut self, buffer: &mut [u8], spool: &Spool) -> bool {
        let Self { kind, file, splitter } = self;
        match file.read(buffer) {
            Ok(count @ 1..) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                spool.write(|batch| {
                    splitter.feed(bytes, |text, continues| batch.line(*kind, text, continues))
                });
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                spool.write(|batch| splitter.finish(|text, continues| batch.line(*kind, text, continues)));
                false
            }
        }
    }
}
