//! The proxy of one execution: takes connections from the sandbox's listener and sees each through to its end.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared_contracts::egress::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::decision::{Decisions, EgressDecision, Moment, Reason, sentence, shown};
use super::forward;
use super::head::{self, Head};
use super::meter::{Budget, Budgets, Meter, Metered};
use super::network::{Checked, Dialler};
use super::refusal::Refusal;
use super::request::{Form, Request};

const TUNNEL_OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// How much of what a refused client is still sending is read, and how long, so that it gets to read the answer.
const LINGER_BYTES_MAX: u64 = 64 * 1024;
const LINGER_MAX: Duration = Duration::from_secs(1);
/// Between two tries to accept while the machine is out of descriptors or memory.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// What one execution may use of the network.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Further ones wait in the listener's queue until one has ended.
    pub connections_max: usize,
    /// Out of the sandbox, over all of its connections.
    pub bytes_up_max: u64,
    /// Into the sandbox.
    pub bytes_down_max: u64,
    pub head_bytes_max: usize,
    /// Until a request's head is whole.
    pub head_wait: Duration,
    pub resolve_wait: Duration,
    /// For each address that is tried.
    pub connect_wait: Duration,
    /// Without a byte in either direction.
    pub idle_max: Duration,
    /// Of one connection.
    pub total_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Package managers open up to fifty at once.
            connections_max: 64,
            // Sources and packages come in; what leaves beside an API's prompts is worth a look before it is much.
            bytes_up_max: 1 << 30,
            bytes_down_max: 16 << 30,
            // Twice what common servers take.
            head_bytes_max: 16 * 1024,
            head_wait: Duration::from_secs(10),
            resolve_wait: Duration::from_secs(10),
            connect_wait: Duration::from_secs(10),
            // A model may think for minutes before its first byte.
            idle_max: Duration::from_secs(600),
            // As long as an execution may take.
            total_max: Duration::from_secs(24 * 3600),
        }
    }
}

pub struct Proxy {
    pub policy: Policy,
    pub dialler: Dialler,
    pub limits: Limits,
    /// Decisions that it has no room for are dropped and counted.
    pub decisions: mpsc::Sender<EgressDecision>,
}

/// What a proxy did until it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub connections: u64,
    /// Decisions that were dropped after the last one that found room; each of those told what was dropped before it.
    pub decisions_dropped: u64,
}

struct Shared {
    policy: Policy,
    dialler: Dialler,
    limits: Limits,
    decisions: Decisions,
    budgets: Arc<Budgets>,
}

/// Serves `listener` until `stop` comes; then every connection is cut, and its end told. Needs tokio's runtime.
pub async fn serve(
    listener: TcpListener,
    proxy: Proxy,
    stop: impl Future<Output = ()>,
) -> io::Result<Served> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(proxy.limits.connections_max));
    let budgets = Budgets {
        up: Budget::new(proxy.limits.bytes_up_max),
        down: Budget::new(proxy.limits.bytes_down_max),
    };
    let shared = Arc::new(Shared {
        policy: proxy.policy,
        dialler: proxy.dialler,
        limits: proxy.limits,
        decisions: Decisions::new(proxy.decisions),
        budgets: Arc::new(budgets),
    });
    let mut connections = JoinSet::new();
    let mut accepted = 0;
    let mut stop = pin!(stop);
    loop {
        let next = async {
            // Never closed: an error would only mean that there is no limit to wait for.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (connection, permit) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        match connection {
            Ok((stream, _)) => {
                accepted += 1;
                let (shared, number) = (Arc::clone(&shared), accepted);
                connections.spawn(async move {
                    shared.connection(stream, number).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(ACCEPT_AGAIN_AFTER).await,
        }
        while connections.try_join_next().is_some() {}
    }
    connections.shutdown().await;
    Ok(Served { connections: accepted, decisions_dropped: shared.decisions.dropped() })
}

impl Shared {
    /// One connection, one request.
    async fn connection(&self, mut client: TcpStream, number: u64) {
        let mut decision = EgressDecision::of(number);
        // 1. The head, whole and within its limits.
        let head = match self.head(&mut client, &mut decision).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(refusal) => return self.refuse(client, decision, &refusal).await,
        };
        // 2. What it asks for, and whether it may have it.
        let (request, checked) = match self.judge(&head, &mut decision).await {
            Ok(judged) => judged,
            Err(refusal) => return self.refuse(client, decision, &refusal).await,
        };
        decision.allowed = true;
        decision.reason = Reason::Listed;
        decision.detail = "on the egress list".to_owned();
        self.decisions.tell(decision.clone());
        // 3. From here on its end is told, however it comes.
        let mut ending = Ending { decisions: &self.decisions, decision, meter: Meter::new() };
        ending.because(Reason::Stopped, "the proxy was told to stop");
        let dialled = self.dialler.dial(&request.target, &checked, self.limits.connect_wait).await;
        let upstream = match dialled {
            Ok((upstream, address)) => {
                ending.decision.address = Some(address);
                upstream
            }
            Err(refusal) => {
                ending.because(refusal.reason(), &refusal.detail());
                drop(ending);
                return answer(client, &refusal).await;
            }
        };
        // 4. Both directions, until both have ended or a limit is reached.
        let meter = Arc::clone(&ending.meter);
        tokio::select! {
            result = self.carry(&request, head, client, upstream, Arc::clone(&meter)) => match result {
                _ if meter.was_cut() => ending.because(Reason::BytesUsedUp, &Refusal::BytesUsedUp.detail()),
                Ok(()) => ending.because(Reason::Closed, "both sides are done"),
                Err(cause) => ending.because(Reason::Closed, &sentence(&cause)),
            },
            () = meter.idle(self.limits.idle_max) => {
                ending.because(Reason::Idle, &format!("nothing moved for {:?}", self.limits.idle_max));
            }
            () = sleep(self.limits.total_max) => {
                ending.because(Reason::TooLong, &format!("it was open for {:?}", self.limits.total_max));
            }
        }
    }

    async fn head(
        &self,
        client: &mut TcpStream,
        decision: &mut EgressDecision,
    ) -> Result<Option<Head>, Refusal> {
        let Limits { head_wait, head_bytes_max, .. } = self.limits;
        let Ok(read) = timeout(head_wait, head::read(client, head_bytes_max)).await else {
            return Err(Refusal::HeadLate(head_wait));
        };
        read.map_err(|refused| {
            decision.host = asked_for(&refused.bytes);
            refused.refusal
        })
    }

    async fn judge(&self, head: &Head, decision: &mut EgressDecision) -> Result<(Request, Checked), Refusal> {
        decision.host = asked_for(head.text());
        let request = Request::parse(head.text())?;
        decision.host = request.target.host.to_string();
        decision.port = Some(request.target.port);
        if !self.policy.lists(&request.target) {
            return Err(Refusal::NotListed(request.target));
        }
        if self.budgets.used_up() {
            return Err(Refusal::BytesUsedUp);
        }
        let checked = self.dialler.check(&request.target, self.limits.resolve_wait).await;
        decision.address = match &checked {
            Ok(checked) => checked.first(),
            Err(Refusal::Forbidden { address, .. }) => Some(*address),
            Err(_) => None,
        };
        Ok((request, checked?))
    }

    async fn carry(
        &self,
        request: &Request,
        head: Head,
        mut client: TcpStream,
        upstream: TcpStream,
        meter: Arc<Meter>,
    ) -> Result<(), String> {
        // Small messages go both ways; what is large fills its segments anyway.
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        let mut upstream = Metered { stream: upstream, meter, budgets: Arc::clone(&self.budgets) };
        match request.form {
            Form::Tunnel => {
                let tunnel = async {
                    client.write_all(TUNNEL_OPEN).await?;
                    upstream.write_all(head.rest()).await?;
                    copy_bidirectional(&mut client, &mut upstream).await
                };
                tunnel.await.map(drop).map_err(|error| error.to_string())
            }
            Form::Plain => {
                let (reader, writer) = client.into_split();
                let client = tokio::io::join(io::Cursor::new(head.bytes).chain(reader), writer);
                let forwarded = forward::forward(client, upstream, &request.target).await;
                forwarded.map_err(|error| error.to_string())
            }
        }
    }

    async fn refuse(&self, client: TcpStream, mut decision: EgressDecision, refusal: &Refusal) {
        decision.reason = refusal.reason();
        decision.detail = refusal.detail();
        self.decisions.tell(decision);
        answer(client, refusal).await;
    }
}

/// Says why, then reads on a little: closed with bytes unread, a connection is reset and the answer may be lost.
async fn answer(mut client: TcpStream, refusal: &Refusal) {
    let saying = async {
        client.write_all(refusal.answer().as_bytes()).await?;
        client.shutdown().await?;
        tokio::io::copy(&mut client.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER_MAX, saying).await;
}

/// The second word of the first line, for a decision about a request that could not be read.
fn asked_for(head: &[u8]) -> String {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    shown(line.split(|byte| *byte == b' ').nth(1).unwrap_or_default())
}

/// Tells the end of a connection when it is dropped: finished, or cut with its task.
struct Ending<'a> {
    decisions: &'a Decisions,
    decision: EgressDecision,
    meter: Arc<Meter>,
}

impl Ending<'_> {
    fn because(&mut self, reason: Reason, detail: &str) {
        self.decision.reason = reason;
        self.decision.detail = detail.to_owned();
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.decisions.tell(EgressDecision {
            moment: Moment::Ended,
            bytes_up: self.meter.up.load(Ordering::Relaxed),
            bytes_down: self.meter.down.load(Ordering::Relaxed),
            ..self.decision.clone()
        });
    }
}
