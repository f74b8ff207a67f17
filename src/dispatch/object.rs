//! `Dispatcher`: the queue, the leases, and the connected container agents.
//!
//! Every event changes the ledger first, without an await, and only then reaches beyond: so whatever fails in
//! between, the ledger says what is left to do, and the alarm does it. Events overlap at each await: what follows one
//! is a move that changes nothing where another came first.

use std::cell::{Cell, OnceCell};

use shared_contracts::dispatch::ToContainerAgent;
use shared_contracts::executions::Outcome as Ended;
use shared_contracts::ids::{ContainerAgentId, ExecutionId};
use shared_contracts::limits::{DISPATCH_MESSAGE_BYTES_MAX, LEASE_SECONDS, OFFER_SECONDS};
use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
};

use super::commands::{DispatchCommand, Queued};
use super::connection::{self, Connection, Token};
use super::conversation::refuse;
use super::ledger::{Entry, Ledger};
use super::loss;
use super::loss::Aftermath;
use super::questions::Questions;
use super::queue::{self, Candidate};
use crate::bindings::Bindings;
use crate::executions::commands::{HubCommand, Identity};
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::platform::sql::Sql;

/// What failed beyond the ledger is tried again after this.
pub(super) const RETRY_MS: u64 = 5_000;
/// What more has expired has the next alarm, so that heartbeats are not held up.
const EXPIRED_PER_ALARM: usize = 100;

#[worker::durable_object]
pub struct Dispatcher {
    pub(super) state: State,
    pub(super) env: Env,
    pub(super) questions: Questions,
    ledger: OnceCell<Ledger>,
    /// When the alarm is set for; 0 is unknown.
    alarm_ms: Cell<u64>,
}

impl DurableObject for Dispatcher {
    fn new(state: State, env: Env) -> Self {
        let (questions, ledger, alarm_ms) = Default::default();
        Self { state, env, questions, ledger, alarm_ms }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        object::respond("dispatcher", self.handle(&mut request).await)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        self.alarm_ms.set(0);
        if let Err(failure) = self.expire().await {
            failure.log("lease expiry");
            // Thrown on, so that the platform runs the alarm again, if not even an alarm can be set.
            self.wake_at(now_ms() + RETRY_MS)
                .await
                .map_err(|_| worker::Error::RustError("no alarm".into()))?;
        }
        Response::empty()
    }

    async fn websocket_message(
        &self,
        socket: WebSocket,
        message: WebSocketIncomingMessage,
    ) -> worker::Result<()> {
        let outcome = match message {
            WebSocketIncomingMessage::String(text) if text.len() <= DISPATCH_MESSAGE_BYTES_MAX => {
                self.received(&socket, &text).await
            }
            _ => Err(Failure::malformed("A message is text, and not larger than its limit")),
        };
        if let Err(failure) = outcome {
            failure.log("container agent's message");
            refuse(&socket, failure.into_problem());
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        let _ = socket.close(Some(1000), Some(""));
        self.disconnected(&socket).await;
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: worker::Error) -> worker::Result<()> {
        self.disconnected(&socket).await;
        Ok(())
    }
}

impl Dispatcher {
    pub(super) fn ledger(&self) -> Outcome<&Ledger> {
        if let Some(ledger) = self.ledger.get() {
            return Ok(ledger);
        }
        let ledger = Ledger::open(Sql(self.state.storage().sql()))?;
        Ok(self.ledger.get_or_init(|| ledger))
    }

    async fn handle(&self, request: &mut Request) -> Outcome<Response> {
        let ledger = self.ledger()?;
        match object::command(request).await? {
            DispatchCommand::Enqueue { queued } => {
                ledger.enqueue(&queued)?;
                self.offer_work().await?;
                object::answer(&())
            }
            DispatchCommand::Stop { execution_id, reason } => {
                self.stop(ledger, execution_id, &reason).await?;
                object::answer(&())
            }
            DispatchCommand::QueuePosition { execution_id } => {
                object::answer(&ledger.position(execution_id)?)
            }
            DispatchCommand::Ended { lease } => {
                ledger.forget_ended(lease)?;
                self.offer_work().await?;
                object::answer(&())
            }
            DispatchCommand::Drain { container_agent_id } => {
                if let Some(socket) = self.socket_of(container_agent_id) {
                    connection::send(&socket, &ToContainerAgent::Drain);
                    self.draining(&socket).await?;
                }
                object::answer(&())
            }
            DispatchCommand::Unknown { executions } => {
                let mut unknown = Vec::new();
                for id in executions {
                    if ledger.entry(id)?.is_none() {
                        unknown.push(id);
                    }
                }
                object::answer(&unknown)
            }
            DispatchCommand::NotConnected { mut container_agents } => {
                for connection in self.state.get_websockets().iter().filter_map(connection::of) {
                    if let Some(agent) = connection.agent {
                        container_agents.retain(|id| *id != agent.id);
                    }
                }
                object::answer(&container_agents)
            }
            DispatchCommand::Connect { owner_id, shared, token_id, token_expires_at_ms } => {
                let token =
                    Token { id: token_id, expires_at_ms: token_expires_at_ms, checked_at_ms: now_ms() };
                self.admit(Connection { owner_id, shared, token, agent: None })
            }
            DispatchCommand::AskContainers { owner_id, of, command } => {
                object::answer(&self.ask_containers(ledger, owner_id, of, &command).await?)
            }
            DispatchCommand::TokenRevoked { token_id } => {
                for socket in self.state.get_websockets() {
                    let Some(mut connection) = connection::of(&socket) else { continue };
                    if connection.token.id == token_id {
                        connection.token.checked_at_ms = 0;
                        connection::keep(&socket, &connection)?;
                    }
                }
                object::answer(&())
            }
        }
    }

    fn admit(&self, connection: Connection) -> Outcome<Response> {
        let pair = WebSocketPair::new()?;
        self.state.accept_web_socket(&pair.server);
        connection::keep(&pair.server, &connection)?;
        Ok(Response::from_websocket(pair.client)?)
    }

    pub(super) fn socket_of(&self, id: ContainerAgentId) -> Option<WebSocket> {
        let is_it = |socket: &WebSocket| {
            connection::of(socket).and_then(|connection| connection.agent).is_some_and(|agent| agent.id == id)
        };
        self.state.get_websockets().into_iter().find(is_it)
    }

    /// Waiting: it ends here. Leased: its container agent is told, and its terminal event ends it.
    async fn stop(&self, ledger: &Ledger, id: ExecutionId, reason: &str) -> Outcome<()> {
        let Some(entry) = ledger.entry(id)? else { return Ok(()) };
        if let Some(lease) = entry.lease() {
            ledger.stop_leased(lease, reason)?;
            if let Some(socket) = entry.holder().and_then(|id| self.socket_of(id)) {
                connection::send(&socket, &ToContainerAgent::Cancel { lease, reason: reason.to_owned() });
            }
            return Ok(());
        }
        self.end_stopped(&entry, reason).await
    }

    /// If it cannot be ended now, the alarm comes back to it.
    async fn end_stopped(&self, entry: &Entry, reason: &str) -> Outcome<()> {
        let ledger = self.ledger()?;
        if !ledger.stop_unleased(entry.execution_id, reason, now_ms() + RETRY_MS)? {
            return Ok(());
        }
        self.set_alarm().await?;
        self.end(&entry.queued()?, Ended::Cancelled, reason).await?;
        ledger.forget_stopped(entry.execution_id).map(drop)
    }

    /// The hub ends it, without a container agent.
    pub(super) async fn end(&self, queued: &Queued, outcome: Ended, reason: &str) -> Outcome<()> {
        let Queued { execution_id, project_id, task_id, generation, .. } = *queued;
        let end = HubCommand::End {
            identity: Identity { execution_id, project_id, task_id },
            generation,
            outcome,
            reason: reason.to_owned(),
        };
        object::call(&Bindings::open(self.env.clone())?.hub(execution_id)?, &end).await
    }

    pub(super) async fn lost(&self, entry: &Entry, reason: &str) -> Outcome<()> {
        let ledger = self.ledger()?;
        let Some(lease) = entry.lease() else { return Ok(()) };
        if !ledger.extend(lease, now_ms() + RETRY_MS)? {
            return Ok(());
        }
        self.set_alarm().await?;
        match loss::settle(&self.env, entry.queued()?, lease, reason, entry.stop_reason.as_deref()).await? {
            Aftermath::Waits(queued) => ledger.requeue(lease, &queued)?,
            Aftermath::Ended => ledger.forget(lease)?,
        };
        self.offer_work().await
    }

    /// Offers that nobody took go back into the queue; leases that nobody renewed are lost.
    async fn expire(&self) -> Outcome<()> {
        let ledger = self.ledger()?;
        for _ in 0..EXPIRED_PER_ALARM {
            // Read when its turn comes: while others were settled it may have been renewed.
            let Some(entry) = ledger.expired(now_ms())? else { break };
            // One that cannot be settled now does not hold up the others; its alarm comes again.
            if let Err(failure) = self.settle(&entry).await {
                failure.log("lease expiry");
            }
        }
        self.offer_work().await
    }

    async fn settle(&self, entry: &Entry) -> Outcome<()> {
        if entry.lease().is_some() {
            let reason = format!("Its container agent was not heard of for {LEASE_SECONDS} s");
            return self.lost(entry, &reason).await;
        }
        if let Some(offer) = entry.offer() {
            return self.ledger()?.withdraw(&offer).map(drop);
        }
        let reason = entry.stop_reason.as_deref().unwrap_or("Stopped by its owner");
        self.end_stopped(entry, reason).await
    }

    /// Offers what waits to whom has room, then sees to the next expiry.
    pub(super) async fn offer_work(&self) -> Outcome<()> {
        let ledger = self.ledger()?;
        let candidates = self.candidates(ledger)?;
        // Nobody has room: however much waits, it is not looked at.
        if !candidates.is_empty() {
            let shares = ledger.shares()?;
            let waiting = ledger.waiting(shares.keys().copied())?;
            for offer in queue::assign(waiting, candidates, shares) {
                if ledger.offer(&offer, now_ms() + OFFER_SECONDS * 1_000)?
                    && let Some(socket) = self.socket_of(offer.container_agent_id)
                {
                    connection::send(&socket, &ToContainerAgent::Offer { execution_id: offer.execution_id });
                }
            }
        }
        self.set_alarm().await
    }

    /// Those that have room.
    fn candidates(&self, ledger: &Ledger) -> Outcome<Vec<Candidate>> {
        let mut candidates = Vec::new();
        for connection in self.state.get_websockets().iter().filter_map(connection::of) {
            let Some(agent) = connection.agent.filter(|agent| !agent.draining) else { continue };
            let free = agent.capacity.saturating_sub(ledger.held_count(agent.id)?);
            if free > 0 {
                candidates.push(Candidate {
                    id: agent.id,
                    owner_id: connection.owner_id,
                    shared: connection.shared,
                    sandboxes: ledger.sandboxes(agent.id)?,
                    memory_mb_max: agent.memory_mb_max,
                    cpu_cores_max: agent.cpu_cores_max,
                    free,
                });
            }
        }
        Ok(candidates)
    }

    pub(super) async fn set_alarm(&self) -> Outcome<()> {
        match self.ledger()?.next_expiry_ms()? {
            Some(at_ms) => self.wake_at(at_ms).await,
            None => Ok(()),
        }
    }

    /// An alarm that comes too early costs nothing; so the nearest one stands.
    pub(super) async fn wake_at(&self, at_ms: u64) -> Outcome<()> {
        let set = self.alarm_ms.get();
        if set != 0 && set <= at_ms && set > now_ms() {
            return Ok(());
        }
        self.alarm_ms.set(at_ms);
        let wait_ms = i64::try_from(at_ms.saturating_sub(now_ms())).unwrap_or(0);
        Ok(self.state.storage().set_alarm(wait_ms.max(1)).await?)
    }
}
