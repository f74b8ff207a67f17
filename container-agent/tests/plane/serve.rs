//! The plane's side of each connection: what the Worker would answer, or what the test wants instead.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ContainerAgentId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Plane, State};

impl Plane {
    pub(super) async fn serve(&self, stream: TcpStream) {
        let mut peeked = [0; 2048];
        let count = stream.peek(&mut peeked).await.unwrap_or(0);
        let head = String::from_utf8_lossy(&peeked[..count]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if head.to_ascii_lowercase().contains("upgrade: websocket") {
            let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
            if path.contains("/connect") {
                self.dispatcher(socket).await;
            } else {
                self.hub(socket, path.split('/').nth(4).unwrap_or_default()).await;
            }
        } else {
            self.http(stream).await;
        }
    }

    async fn dispatcher(&self, mut socket: tokio_tungstenite::WebSocketStream<TcpStream>) {
        let (sender, mut outgoing) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { return };
                    let said: Value = serde_json::from_str(&text).unwrap();
                    let answer = match said["message"].as_str().unwrap() {
                        "hello" => {
                            let (gone, refuse) = self.with(|state| {
                                state.to_agent = Some(sender.clone());
                                (state.gone.clone(), state.refuse.clone())
                            });
                            Some(refuse.unwrap_or(ToContainerAgent::Welcome {
                                container_agent_id: ContainerAgentId::new(1, 1), heartbeat_seconds: 1, lease_seconds: 4, gone,
                            }))
                        }
                        "heartbeat" => {
                            let gone = self.with(|state| state.gone.clone());
                            Some(ToContainerAgent::HeartbeatAnswer { gone, renewed: Vec::new() })
                        }
                        _ => None,
                    };
                    self.with(|state| state.said.push(said));
                    if let Some(answer) = answer {
                        let _ = socket.send(Message::text(serde_json::to_string(&answer).unwrap())).await;
                    }
                }
                Some(message) = outgoing.recv() => {
                    let _ = socket.send(Message::text(serde_json::to_string(&message).unwrap())).await;
                }
            }
        }
    }

    async fn hub(&self, mut socket: tokio_tungstenite::WebSocketStream<TcpStream>, id: &str) {
        let next = |state: &mut State| state.events.entry(id.to_owned()).or_default().len() as u64 + 1;
        let ready = json!({"answer": "ready", "next_sequence": self.with(next)});
        let _ = socket.send(Message::text(ready.to_string())).await;
        let mut taken = 0;
        let mut owed = None;
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                () = tokio::time::sleep(Duration::from_millis(10)), if owed.is_some() => {
                    if let Some(answer) = owed.take_if(|_| !self.with(|state| state.mute)) {
                        let _ = socket.send(Message::text(answer)).await;
                    }
                    continue;
                }
            };
            let Some(Ok(message)) = message else { return };
            let Message::Text(text) = message else { continue };
            assert!(text.len() <= shared_contracts::limits::APPEND_BYTES_MAX, "{} bytes", text.len());
            taken += 1;
            let answer = self.with(|state| {
                state.messages += 1;
                let mut lines = text.lines();
                let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
                let first = head["first_sequence"].as_u64().unwrap();
                if let Some(answer) = &state.answer {
                    return answer.clone();
                }
                let lost = state.lose.take_if(|number| *number == taken).is_some();
                let events = state.events.entry(id.to_owned()).or_default();
                if lost || first > events.len() as u64 + 1 {
                    return json!({"answer": "gap", "wanted": events.len() + 1});
                }
                let mut count = 0;
                for (line, sequence) in lines.zip(first..) {
                    count += 1;
                    if sequence == events.len() as u64 + 1 {
                        let event: Value = serde_json::from_str(line).unwrap();
                        assert_eq!(event["sequence"], sequence);
                        events.push(event);
                    }
                }
                assert_eq!(head["count"], count);
                json!({"answer": "acknowledged", "through": events.len()})
            });
            let (mute, drop_after) = self.with(|state| (state.mute, state.drop_after));
            if drop_after.is_some_and(|limit| taken >= limit) {
                return;
            }
            if mute {
                owed = Some(answer.to_string());
            } else {
                let _ = socket.send(Message::text(answer.to_string())).await;
            }
        }
    }

    async fn http(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, mut body) = loop {
            let mut buffer = vec![0; 64 * 1024];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            bytes.extend_from_slice(&buffer[..count]);
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), bytes[end + 4..].to_vec());
            }
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse().unwrap())
            })
            .unwrap_or(0_usize);
        while body.len() < length {
            let mut buffer = vec![0; 64 * 1024];
            let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
            body.extend_from_slice(&buffer[..count]);
        }
        let target = head.split(' ').nth(1).unwrap().to_owned();
        let (status, answer) = self.with(|state| answer(state, &target, &body));
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nretry-after: 0\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&answer).await;
    }
}

fn answer(state: &mut State, target: &str, body: &[u8]) -> (u16, Vec<u8>) {
    if target.contains("/manifest") {
        let lines = state.files.iter().map(|(path, bytes)| {
            let (sha256, size_bytes) = (Sha256::of(bytes), bytes.len());
            let mode = if path.ends_with(".sh") { "executable" } else { "regular" };
            format!("{}\n", json!({"path": path, "sha256": sha256, "size_bytes": size_bytes, "mode": mode}))
        });
        return (200, lines.collect::<String>().into_bytes());
    }
    if target.contains("/blobs/fetch") {
        state.blob_requests += 1;
        let asked: Value = serde_json::from_slice(body).unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        for name in asked["sha256"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            let bytes = state.files.values().find(|bytes| Sha256::of(bytes).to_string() == name).unwrap();
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        return (200, tar.into_inner().unwrap());
    }
    if state.busy > 0 {
        state.busy -= 1;
        return (503, Vec::new());
    }
    if target.contains("/artifacts/") {
        state.artifacts.push((target.to_owned(), body.to_vec()));
        return (201, b"{}".to_vec());
    }
    if target.contains("/patches") {
        state.patches.push(serde_json::from_slice(body).unwrap());
        return (201, b"{}".to_vec());
    }
    (404, Vec::new())
}
