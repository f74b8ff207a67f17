//! Stands before a registry and does what networks and bad registries do.

use std::sync::{Arc, Mutex};

use reqwest::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// How often this path was asked for before.
    pub times_before: usize,
}

impl Asked {
    pub fn is_blob(&self) -> bool {
        self.path.contains("/blobs/")
    }
}

pub enum Doing {
    /// The registry's own answer.
    Pass,
    /// That, with its first byte changed.
    Spoil,
    /// That, but the connection ends after so many bytes of the body.
    Cut(usize),
    /// That, but nothing comes after so many bytes of the body.
    Stall(usize),
    /// That, shorter, and it says so.
    Shorten(usize),
    /// Something else: status, headers, body. `HOST` in a header is this front.
    Answer(u16, String, Vec<u8>),
}

type Plan = dyn Fn(&Asked) -> Doing + Send + Sync;

pub struct Front {
    pub host: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Front {
    pub async fn of(upstream: &str, plan: impl Fn(&Asked) -> Doing + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let upstream = upstream.to_owned();
        let (log, plan): (_, Arc<Plan>) = (Arc::clone(&asked), Arc::new(plan));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client =
            Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let serving = tokio::spawn(async move {
            let counter = Arc::new(counter);
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, plan, counter) = (Arc::clone(&log), Arc::clone(&plan), Arc::clone(&counter));
                let (client, upstream) = (client.clone(), upstream.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, &log, &counter, &*plan, &client, &upstream).await;
                });
            }
        });
        Self { host, asked, count, serving }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Until so many requests have come.
    pub async fn reached(&self, count: usize) {
        self.count.clone().wait_for(|asked| *asked >= count).await.unwrap();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    counter: &watch::Sender<usize>,
    plan: &Plan,
    client: &Client,
    upstream: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned())
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let asked = {
        let mut log = log.lock().unwrap();
        let times_before = log.iter().filter(|asked| asked.path == path).count();
        let asked =
            Asked { path, range: header("range"), authorization: header("authorization"), times_before };
        log.push(asked.clone());
        asked
    };
    counter.send_modify(|count| *count += 1);
    let doing = plan(&asked);
    if let Doing::Answer(status, headers, body) = doing {
        let headers = headers.replace("HOST", &header("host").unwrap_or_default());
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        return Ok(stream.write_all(&body).await?);
    }
    let mut request = client.get(format!("http://{upstream}{}", asked.path));
    for (name, value) in
        [("range", &asked.range), ("authorization", &asked.authorization), ("accept", &header("accept"))]
    {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await?;
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status().as_u16());
    for name in ["content-type", "content-range", "www-authenticate"] {
        if let Some(value) = answer.headers().get(name) {
            head += &format!("{name}: {}\r\n", value.to_str()?);
        }
    }
    let mut body = answer.bytes().await?.to_vec();
    if let (Doing::Spoil, Some(first)) = (&doing, body.first_mut()) {
        *first = first.wrapping_add(1);
    }
    if let Doing::Shorten(bytes) = doing {
        body.truncate(bytes);
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    match doing {
        Doing::Cut(bytes) => stream.write_all(&body[..bytes.min(body.len())]).await?,
        Doing::Stall(bytes) => {
            stream.write_all(&body[..bytes.min(body.len())]).await?;
            // Until the other side has enough of it.
            let _ = stream.read_u8().await;
        }
        _ => stream.write_all(&body).await?,
    }
    Ok(())
}
