//! Everything on loopback: a host that counts who comes, a network whose names and roads the test decides, and a proxy
//! between them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use container_agent::egress::{Dialler, EgressDecision, Limits, Network, Policy, Proxy, Served, serve};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What a name that may be reached resolves to.
pub const PUBLIC: &str = "93.184.216.34";
/// Nothing here takes longer, unless it hangs.
const HANG: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(HANG, future).await.unwrap_or_else(|_| panic!("hangs: {what}"))
}

/// Answers everyone who says something, and counts who came.
pub struct Host {
    pub address: SocketAddr,
    pub visitors: Arc<AtomicUsize>,
}

impl Host {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let visitors = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&visitors);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut heard = [0; 4096];
                    if matches!(stream.read(&mut heard).await, Ok(bytes) if bytes > 0) {
                        let answer = "HTTP/1.1 200 OK\r\nx-reached: yes\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                        let _ = stream.write_all(answer.as_bytes()).await;
                        let _ = stream.shutdown().await;
                        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                    }
                });
            }
        });
        Self { address, visitors }
    }

    pub fn visitors(&self) -> usize {
        self.visitors.load(Ordering::SeqCst)
    }
}

/// A network on which every address leads to one host: whatever is dialled, is reached.
pub struct Roads {
    pub all_to: SocketAddr,
    /// What a name answers, one after the other; the last again and again.
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    pub asked: Mutex<Vec<String>>,
    pub dialled: Mutex<Vec<SocketAddr>>,
}

impl Roads {
    pub fn new(all_to: SocketAddr) -> Arc<Self> {
        let (names, asked, dialled) = Default::default();
        let roads = Arc::new(Self { all_to, names, asked, dialled });
        roads.name("allowed.test", &[&[PUBLIC]]);
        roads
    }

    pub fn name(&self, name: &str, answers: &[&[&str]]) {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        self.names.lock().unwrap().insert(name.into(), answers.collect());
    }

    pub fn take_dialled(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.dialled.lock().unwrap())
    }

    fn answer(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.into());
        let mut names = self.names.lock().unwrap();
        let answers = names.get_mut(name)?;
        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
    }
}

impl Network for Roads {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            if let Some(answer) = self.answer(name) {
                return Ok(answer);
            }
            // A number is read by the C library as every resolver reads it, and asks nobody.
            if name.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b'x' | b'X')) {
                return Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect());
            }
            Err(io::Error::other("no such name"))
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        self.dialled.lock().unwrap().push(address);
        Box::pin(TcpStream::connect(self.all_to))
    }
}

/// A running proxy.
pub struct Running {
    pub address: SocketAddr,
    pub decisions: mpsc::Receiver<EgressDecision>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<io::Result<Served>>,
}

impl Running {
    pub fn start(
        policy: &[impl AsRef<str>],
        network: Arc<dyn Network>,
        vouched: &[SocketAddr],
        limits: Limits,
    ) -> Self {
        Self::with_room(policy, network, vouched, limits, 10_000)
    }

    pub fn with_room(
        policy: &[impl AsRef<str>],
        network: Arc<dyn Network>,
        vouched: &[SocketAddr],
        limits: Limits,
        room: usize,
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, decisions) = mpsc::channel(room);
        let (stop, stopped) = oneshot::channel();
        let proxy = Proxy {
            policy: Policy::parse(policy.iter().map(AsRef::as_ref)).unwrap(),
            dialler: Dialler::new(network, vouched.iter().copied()),
            limits,
            decisions: sender,
        };
        let serving = tokio::spawn(serve(listener, proxy, async {
            let _ = stopped.await;
        }));
        Self { address, decisions, stop, serving }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends all of it, then reads to the end.
    pub async fn ask(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // It may have been refused before all of it was sent.
        let _ = stream.write_all(request).await;
        let _ = stream.shutdown().await;
        read_all(&mut stream).await
    }

    /// An open tunnel.
    pub async fn tunnel(&self, target: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 39];
        soon("the tunnel's answer", stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 Connection established\r\n\r\n");
        stream
    }

    pub async fn decision(&mut self) -> EgressDecision {
        soon("a decision", self.decisions.recv()).await.unwrap()
    }

    /// And what was decided that nobody has read.
    pub async fn stop(mut self) -> (Served, Vec<EgressDecision>) {
        self.stop.send(()).unwrap();
        let served = soon("the proxy's end", self.serving).await.unwrap().unwrap();
        let mut decisions = Vec::new();
        while let Some(decision) = self.decisions.recv().await {
            decisions.push(decision);
        }
        (served, decisions)
    }
}

pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}
