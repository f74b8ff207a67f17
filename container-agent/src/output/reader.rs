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
/// After so long without a byte, what is held back because it may become a secret is looked at again.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

struct Stream {
    kind: LogStream,
    file: File,
    redaction: Option<Redaction>,
    splitter: LineSplitter,
}

/// What stands between the payload's bytes and the log's lines.
struct Redaction {
    stream: redaction::Stream,
    clean: Vec<u8>,
}

/// Starts it. The receiver hears when both pipes have ended and all is in the spool.
pub fn start(output: Output, spool: Arc<Spool>) -> std::io::Result<oneshot::Receiver<()>> {
    let (done, finished) = oneshot::channel();
    let stream = |kind, fd| {
        let redaction =
            spool.redactor().map(|redactor| Redaction { stream: redactor.stream(), clean: Vec::new() });
        Stream { kind, file: File::from(fd), redaction, splitter: LineSplitter::default() }
    };
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
    let holding = streams.iter().any(|stream| stream.redaction.is_some());
    // Whether something came since the last quiet moment.
    let mut unflushed = false;
    // Back-pressure: while the spool is full nothing is read, and the payload's writes block.
    while !streams.is_empty() && spool.wait_for_room() {
        let ready: Vec<bool> = {
            let mut fds: Vec<_> = streams
                .iter()
                .map(|stream| PollFd::from_borrowed_fd(stream.file.as_fd(), PollFlags::IN))
                .collect();
            match poll(&mut fds, Some(if unflushed { &QUIET } else { &LOOK_UP })) {
                Ok(0) => unflushed = false,
                Ok(_) => unflushed = holding,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the output pipes cannot be watched");
                    return;
                }
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect()
        };
        if holding && !ready.contains(&true) {
            streams.iter_mut().for_each(|stream| stream.flush(spool));
        }
        let mut ready = ready.into_iter();
        streams
            .retain_mut(|stream| !ready.next().unwrap_or_default() || stream.read_once(&mut buffer, spool));
    }
}

impl Stream {
    /// False at the end.
    fn read_once(&mut self, buffer: &mut [u8], spool: &Spool) -> bool {
        match self.file.read(buffer) {
            Ok(count @ 1..) => {
                self.take(buffer.get(..count).unwrap_or_default(), spool);
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
            // A pseudo-terminal ends with an error.
            Ok(_) | Err(_) => {
                self.finish(spool);
                false
            }
        }
    }

    fn take(&mut self, bytes: &[u8], spool: &Spool) {
        let Self { kind, redaction, splitter, .. } = self;
        let bytes = match redaction {
            None => bytes,
            Some(Redaction { stream, clean }) => {
                clean.clear();
                stream.feed(bytes, clean);
                clean
            }
        };
        spool.write(|batch| splitter.feed(bytes, |text, continues| batch.line(*kind, text, continues)));
    }

    /// The payload is quiet: a prompt that only looks like the beginning of a secret is shown.
    fn flush(&mut self, spool: &Spool) {
        let Self { kind, redaction: Some(Redaction { stream, clean }), splitter, .. } = self else { return };
        clean.clear();
        stream.flush(clean);
        if !clean.is_empty() {
            spool.write(|batch| splitter.feed(clean, |text, continues| batch.line(*kind, text, continues)));
        }
    }

    fn finish(&mut self, spool: &Spool) {
        let Self { kind, redaction, splitter, .. } = self;
        let mut last = Vec::new();
        if let Some(Redaction { stream, .. }) = redaction.take() {
            stream.finish(&mut last);
        }
        spool.write(|batch| {
            splitter.feed(&last, |text, continues| batch.line(*kind, text, continues));
            splitter.finish(|text, continues| batch.line(*kind, text, continues));
        });
    }
}
