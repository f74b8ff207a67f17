//! Memory of the real container agent, connected and without work, beside dockerd's without containers. The plane is
//! its least: a WebSocket that welcomes and answers heartbeats.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use shared_contracts::dispatch::{FromContainerAgent, ToContainerAgent};
use shared_contracts::ids::ContainerAgentId;
use shared_contracts::limits::{HEARTBEAT_SECONDS, LEASE_SECONDS};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::docker::Daemon;
use crate::peers::found;
use crate::processes::Memory;

const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// What starting took is given back by then, and a heartbeat was answered.
const IDLE: Duration = Duration::from_secs(HEARTBEAT_SECONDS + 2);

pub async fn measure(directory: &Path, program: &Path) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (welcomed, mut agents) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(plane(stream, welcomed.clone()));
        }
    });
    let agent = Agent::start(program, &url, directory)?;
    let connected = tokio::time::timeout(CONNECTED_WITHIN, agents.recv()).await;
    connected.map_err(|_| "the container agent does not connect")?;
    let docker = match rustix::process::geteuid().is_root() {
        true => found("dockerd", Daemon::start(directory).await),
        false => None,
    };
    tokio::time::sleep(IDLE).await;
    say("patchbay-agent", Memory::of(agent.0.id()));
    if let Some((daemon, _)) = docker {
        say("dockerd", Memory::of(daemon.pid()));
    }
    Ok(())
}

fn say(peer: &str, memory: Memory) {
    let Memory { resident_kb, proportional_kb } = memory;
    println!("{}", json!({"peer": peer, "resident_kb": resident_kb, "proportional_kb": proportional_kb}));
}

/// One connection.
async fn plane(stream: TcpStream, welcomed: mpsc::Sender<()>) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let answer = match serde_json::from_str(&text) {
            Ok(FromContainerAgent::Hello(_)) => {
                let _ = welcomed.try_send(());
                ToContainerAgent::Welcome {
                    container_agent_id: ContainerAgentId::new(1, 1),
                    heartbeat_seconds: HEARTBEAT_SECONDS,
                    lease_seconds: LEASE_SECONDS,
                    gone: Vec::new(),
                }
            }
            Ok(FromContainerAgent::Heartbeat { .. }) => {
                ToContainerAgent::HeartbeatAnswer { gone: Vec::new(), renewed: Vec::new() }
            }
            _ => continue,
        };
        let Ok(answer) = serde_json::to_string(&answer) else { return };
        if socket.send(Message::text(answer)).await.is_err() {
            return;
        }
    }
}

struct Agent(Child);

impl Agent {
    fn start(program: &Path, url: &str, directory: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("run").env("PATCHBAY_URL", url).env("PATCHBAY_TOKEN", "pb_measured");
        command.env("PATCHBAY_NAME", "measured").env("PATCHBAY_STATE_DIR", directory.join("agent"));
        // Its own log goes where an error is shown.
        command.env("PATCHBAY_ENGINE", "off").stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn().map_err(|error| format!("{}: {error}", program.display()))?))
    }
}

impl Drop for Agent {
    /// It has no work to give up, and ends at once.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}
