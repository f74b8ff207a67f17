//! A container agent without a sandbox: it speaks the real protocol, takes what it is offered, and leaves the
//! writing of events to the bench.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, Lease, LeasedExecution, PROTOCOL_VERSION, ToContainerAgent,
};
use shared_contracts::limits::{CPU_CORES_CEILING, HEARTBEAT_SECONDS, MEMORY_MB_CEILING};
use shared_contracts::sandboxes::SandboxTier;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Socket};

const CAPACITY: u32 = 100;
const LEASED_WITHIN: Duration = Duration::from_secs(15);

type Leases = Arc<Mutex<HashSet<Lease>>>;

/// Dropping it closes the connection.
pub struct ScriptedAgent {
    leased: mpsc::Receiver<LeasedExecution>,
    leases: Leases,
    connection: JoinHandle<()>,
}

impl Drop for ScriptedAgent {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl ScriptedAgent {
    /// `client` carries a container agent's token.
    pub async fn connect(client: &Client, name: &str) -> Result<Self> {
        let mut socket = client.open_socket("/api/container-agents/connect").await?;
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: name.to_owned(),
            capacity: CAPACITY,
            sandbox_tier: SandboxTier::Strong,
            sandboxes: Vec::new(),
            memory_mb_max: MEMORY_MB_CEILING,
            cpu_cores_max: CPU_CORES_CEILING,
            leases: Vec::new(),
        };
        say(&mut socket, &FromContainerAgent::Hello(hello)).await?;
        let leases = Leases::default();
        let (hand_over, leased) = mpsc::channel(CAPACITY as usize);
        let held = Arc::clone(&leases);
        let connection = tokio::spawn(async move {
            // Its end is noticed by the one who waits for a lease.
            let _ = serve(socket, &held, &hand_over).await;
        });
        Ok(Self { leased, leases, connection })
    }

    /// The next execution that was leased to it.
    pub async fn take(&mut self) -> Result<LeasedExecution> {
        let next = tokio::time::timeout(LEASED_WITHIN, self.leased.recv()).await;
        next.context("no execution was leased in time")?.context("the Dispatcher's socket closed")
    }

    /// It has ended: no more heartbeats for it.
    pub fn forget(&self, lease: Lease) {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).remove(&lease);
    }
}

async fn say(socket: &mut Socket, message: &FromContainerAgent) -> Result<()> {
    let text = serde_json::to_string(message).context("cannot write a message")?;
    socket.send(Message::text(text)).await.context("the Dispatcher's socket closed")
}

async fn serve(mut socket: Socket, leases: &Leases, hand_over: &mpsc::Sender<LeasedExecution>) -> Result<()> {
    let mut heartbeat = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
    loop {
        let message = tokio::select! {
            _ = heartbeat.tick() => {
                let leases = leases.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
                say(&mut socket, &FromContainerAgent::Heartbeat { leases }).await?;
                continue;
            }
            message = socket.next() => message.context("the Dispatcher's socket closed")??,
        };
        let Message::Text(text) = message else { continue };
        match serde_json::from_str(&text).context("the Dispatcher's message cannot be read")? {
            ToContainerAgent::Offer { execution_id } => {
                say(&mut socket, &FromContainerAgent::Accept { execution_id }).await?;
            }
            ToContainerAgent::Leased(leased) => {
                leases.lock().unwrap_or_else(PoisonError::into_inner).insert(leased.lease);
                hand_over.send(*leased).await.context("nobody waits for executions any more")?;
            }
            ToContainerAgent::Refused { problem, .. } => bail!("the Dispatcher refused: {problem}"),
            _ => {}
        }
    }
}
