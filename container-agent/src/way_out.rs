//! The way out of one sandbox: the proxy that answers its listener, and its decisions as events.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use shared_contracts::events::{EgressEvent, EgressMoment, EventBody, EventSource, LogLevel};
use tokio::sync::{mpsc, oneshot};

use crate::egress::{Dialler, EgressDecision, Limits, Machine, Moment, Policy, PolicyError, Proxy, serve};
use crate::output::spool::Spool;
use crate::sandbox::{Egress, PROXY};

/// Decisions that wait to be written; more at once are counted.
const DECISIONS_WAITING_MAX: usize = 256;
/// Whoever asks more often than any build does is only filling the log.
const DECISIONS_TOLD_MAX: u64 = 10_000;

/// Whether a sandbox with this list gets a way out, and then what its programs look for to find it. Each has its own idea
/// of case.
pub fn announce(allowed: &[String], environment: &mut BTreeMap<String, String>) -> Egress {
    if allowed.is_empty() {
        return Egress::Nothing;
    }
    let proxy = format!("http://{PROXY}");
    let direct = "localhost,127.0.0.1,::1";
    let variables = [
        ("HTTP_PROXY", proxy.as_str()),
        ("http_proxy", proxy.as_str()),
        ("HTTPS_PROXY", proxy.as_str()),
        ("https_proxy", proxy.as_str()),
        ("NO_PROXY", direct),
        ("no_proxy", direct),
        // Node does not look at the others unless it is told to.
        ("NODE_USE_ENV_PROXY", "1"),
    ];
    environment.extend(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Egress::Proxy
}

/// The way out while it is open. Closed by [`WayOut::close`]; dropped, it is cut.
pub struct WayOut {
    stop: Option<oneshot::Sender<()>>,
    proxy: tokio::task::JoinHandle<()>,
    teller: tokio::task::JoinHandle<()>,
}

impl WayOut {
    /// Connections are cut; the last decisions are told.
    pub async fn close(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.proxy).await;
        let _ = (&mut self.teller).await;
    }
}

impl Drop for WayOut {
    fn drop(&mut self) {
        self.proxy.abort();
        self.teller.abort();
    }
}

/// `tell` gets each decision, and in the end how many more there were than it was told.
pub fn open(
    listener: TcpListener,
    allowed: &[String],
    vouched: &[SocketAddr],
    tell: impl Fn(Told) + Send + 'static,
) -> Result<WayOut, PolicyError> {
    let policy = Policy::parse(allowed.iter().map(String::as_str))?;
    let dialler = Dialler::new(Arc::new(Machine), vouched.iter().copied());
    let (decisions, mut decided) = mpsc::channel(DECISIONS_WAITING_MAX);
    let (stop, stopped) = oneshot::channel::<()>();
    let (last, lost) = oneshot::channel();
    let proxy = Proxy { policy, dialler, limits: Limits::default(), decisions };
    let proxy = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        let _ = last.send(serve(listener, proxy, stopped).await);
    });
    let teller = tokio::spawn(async move {
        let mut count = 0;
        while let Some(decision) = decided.recv().await {
            count += 1;
            if count <= DECISIONS_TOLD_MAX {
                tell(Told::Decision(Box::new(decision)));
            }
        }
        let mut untold = count.saturating_sub(DECISIONS_TOLD_MAX);
        match lost.await {
            Ok(Ok(served)) => untold += served.decisions_dropped,
            Ok(Err(error)) => tell(Told::Broken(error.to_string())),
            Err(_) => {}
        }
        if untold > 0 {
            tell(Told::Dropped(untold));
        }
    });
    Ok(WayOut { stop: Some(stop), proxy, teller })
}

pub enum Told {
    Decision(Box<EgressDecision>),
    /// So many after the last that was told.
    Dropped(u64),
    /// There is no way out, and why.
    Broken(String),
}

/// Into an execution's log.
pub fn write(spool: &Spool, told: Told) {
    match told {
        Told::Decision(decision) => spool.event(EventSource::Container, EventBody::Egress(event(*decision))),
        Told::Dropped(count) => {
            spool.note(LogLevel::Warn, format!("{count} more decisions about the network were only counted"));
        }
        Told::Broken(error) => spool.note(LogLevel::Error, format!("the sandbox has no way out: {error}")),
    }
}

fn event(decision: EgressDecision) -> EgressEvent {
    EgressEvent {
        moment: match decision.moment {
            Moment::Decided => EgressMoment::Decided,
            Moment::Ended => EgressMoment::Ended,
        },
        connection: decision.connection,
        allowed: decision.allowed,
        host: decision.host,
        port: decision.port,
        address: decision.address.map(|address| address.to_string()),
        reason: decision.reason.as_str().into(),
        message: decision.detail,
        bytes_up: decision.bytes_up,
        bytes_down: decision.bytes_down,
        dropped_before: decision.dropped_before,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Mutex;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_flood_of_requests_is_told_so_far_and_then_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let told: Arc<Mutex<(u64, u64)>> = Arc::default();
        let counting = Arc::clone(&told);
        let way_out = open(listener, &[], &[], move |what| {
            let mut told = counting.lock().unwrap();
            match what {
                Told::Decision(_) => told.0 += 1,
                Told::Dropped(count) => told.1 += count,
                Told::Broken(error) => assert!(error.is_empty(), "{error}"),
            }
        })
        .unwrap();
        let asked = DECISIONS_TOLD_MAX + 500;
        let asking = tokio::task::spawn_blocking(move || {
            for _ in 0..asked {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
                assert!(stream.read(&mut [0; 64]).unwrap() > 0);
            }
        });
        asking.await.unwrap();
        way_out.close().await;
        let (decisions, counted) = *told.lock().unwrap();
        assert!(decisions <= DECISIONS_TOLD_MAX && counted >= 500, "{decisions} told, {counted} counted");
        assert!(decisions + counted >= asked, "{decisions} told, {counted} counted of {asked}");
    }
}
