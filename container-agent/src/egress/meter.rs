//! Counts what goes through a connection, and ends it when its execution has moved as many bytes as it may, or when
//! nothing moves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

/// The bytes of one direction, of all connections of an execution together.
pub struct Budget {
    moved: AtomicU64,
    max: u64,
}

impl Budget {
    pub fn new(max: u64) -> Self {
        Self { moved: AtomicU64::new(0), max }
    }

    /// Two connections may see the same bytes left, and overdraw them by what they hold in hand.
    pub fn left(&self) -> u64 {
        self.max.saturating_sub(self.moved.load(Ordering::Relaxed))
    }

    fn take(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Both directions of an execution.
pub struct Budgets {
    pub up: Budget,
    pub down: Budget,
}

impl Budgets {
    pub fn used_up(&self) -> bool {
        self.up.left() == 0 || self.down.left() == 0
    }
}

/// One connection's count.
pub struct Meter {
    pub up: AtomicU64,
    pub down: AtomicU64,
    cut: AtomicBool,
    since: Instant,
    moved_after_ms: AtomicU64,
}

impl Meter {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            since: Instant::now(),
            moved_after_ms: AtomicU64::new(0),
        })
    }

    /// Whether the budget ended it.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Comes when nothing has moved for `longest`.
    pub async fn idle(&self, longest: Duration) {
        loop {
            let moved = Duration::from_millis(self.moved_after_ms.load(Ordering::Relaxed));
            let quiet = self.since.elapsed().saturating_sub(moved);
            let Some(left) = longest.checked_sub(quiet).filter(|left| !left.is_zero()) else { return };
            sleep(left).await;
        }
    }

    fn moved(&self, count: &AtomicU64, budget: &Budget, bytes: usize) {
        count.fetch_add(bytes as u64, Ordering::Relaxed);
        budget.take(bytes as u64);
        let after = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_after_ms.store(after, Ordering::Relaxed);
    }

    fn cut(&self) -> io::Error {
        self.cut.store(true, Ordering::Relaxed);
        io::Error::other("the execution's egress bytes are used up")
    }
}

/// The host's side of a connection: what is written goes up, what is read comes down.
pub struct Metered<S> {
    pub stream: S,
    pub meter: Arc<Meter>,
    pub budgets: Arc<Budgets>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, meter, budgets } = self.get_mut();
        let left = budgets.down.left();
        if left == 0 {
            return Poll::Ready(Err(meter.cut()));
        }
        let most = within(buffer.remaining(), left);
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(stream).poll_read(context, &mut part))?;
        let bytes = part.filled().len();
        buffer.advance(bytes);
        meter.moved(&meter.down, &budgets.down, bytes);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, meter, budgets } = self.get_mut();
        let left = budgets.up.left();
        if left == 0 {
            return Poll::Ready(Err(meter.cut()));
        }
        let part = bytes.get(..within(bytes.len(), left)).unwrap_or_default();
        let written = ready!(Pin::new(stream).poll_write(context, part))?;
        meter.moved(&meter.up, &budgets.up, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

fn within(bytes: usize, left: u64) -> usize {
    usize::try_from(left).map_or(bytes, |left| bytes.min(left))
}
