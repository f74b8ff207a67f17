//! A network that hangs when a test says so: between a container agent and the plane, connection by connection.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const PIECE_BYTES: usize = 64 * 1024;

/// Lives as long as the test's runtime.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub url: String,
    /// Requests whose first bytes contain this do not get through.
    held: Arc<watch::Sender<Option<String>>>,
}

impl Proxy {
    /// In front of a plane.
    pub async fn before(upstream_url: &str) -> Self {
        let upstream = upstream_url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let url = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        let held = Arc::new(watch::Sender::new(None));
        let gate = Arc::clone(&held);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, upstream.clone(), gate.subscribe()));
            }
        });
        Self { url, held }
    }

    /// From now on nothing that a client sends on these connections arrives; open ones hang too.
    pub fn hold(&self, path_part: &str) {
        self.held.send_replace(Some(path_part.to_owned()));
    }

    pub fn release(&self) {
        self.held.send_replace(None);
    }
}

/// Both ways, until either side ends.
async fn connection(client: TcpStream, upstream: String, mut gate: watch::Receiver<Option<String>>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let (mut request, mut piece) = (String::new(), vec![0; PIECE_BYTES]);
        while let Ok(count @ 1..) = from_client.read(&mut piece).await {
            let bytes = piece.get(..count).unwrap_or_default();
            if bytes.starts_with(b"GET /") || bytes.starts_with(b"PUT /") || bytes.starts_with(b"POST /") {
                request = String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned();
            }
            let passes = |held: &Option<String>| held.as_ref().is_none_or(|part| !request.contains(part));
            if gate.wait_for(passes).await.is_err() || to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}
