//! `Dispatcher`: the queue, the leases, and the connected container agents.
//!
//! Every event changes the ledger first, without an await, and only then reaches beyond: so whatever fails in
//! between, the ledger says what is left to do, and the alarm does it.

use std::cell::{Cell, OnceCell};
use std::collections::HashSet;

use garde::Validate;
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, Lease, PROTOCOL_VERSION_MIN, RenewedToken, ToContainerAgent, close,
};
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId};
use shared_contracts::limits::{DISPATCH_MESSAGE_BYTES_MAX, HEARTBEAT_SECONDS, LEASE_SECONDS, OFFER_SECONDS};
use shared_contracts::problem::{Problem, ProblemKind};
use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
};

use super::commands::{DispatchCommand, Queued};
use super::connection::{self, Agent, Connection};
use super::ledger::{Entry, EntryState, Ledger};
use super::loss::Aftermath;
use super::queue::{self, Candidate};
use super::{lease, loss};
use crate::accounts::execution_token::{self, Claims};
use crate::bindings::Bindings;
use crate::container_agents::store as agents;
use crate::executions::commands::{HubCommand, Identity};
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::platform::sql::Sql;

/// What failed beyond the ledger is tried again after this.
const RETRY_MS: u64 = 5_000;

#[worker::durable_object]
pub struct Dispatcher {
    state: State,
    env: Env,
    ledger: OnceCell<Ledger>,
    /// When the alarm is set for; 0 is unknown.
    alarm_ms: Cell<u64>,
}

impl DurableObject for Dispatcher {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, ledger: OnceCell::new(), alarm_ms: Cell::new(0) }
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

fn refuse(socket: &WebSocket, problem: Problem) {
    let code = match problem.kind {
        ProblemKind::OutdatedProtocol => close::OUTDATED,
        ProblemKind::Internal | ProblemKind::Overloaded => 1011,
        _ => close::MALFORMED,
    };
    let title = problem.title.clone();
    connection::send(socket, &ToContainerAgent::Refused { problem, protocol_min: PROTOCOL_VERSION_MIN });
    let _ = socket.close(Some(code), Some(title));
}

impl Dispatcher {
    fn ledger(&self) -> Outcome<&Ledger> {
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
                let entry = ledger.entry(lease.execution_id)?;
                if entry.is_some_and(|entry| entry.generation.unwrap_or(0) <= lease.generation) {
                    ledger.forget(lease.execution_id)?;
                }
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
            DispatchCommand::Connect { owner_id, shared } => self.admit(owner_id, shared),
        }
    }

    fn admit(&self, owner_id: OwnerId, shared: bool) -> Outcome<Response> {
        let pair = WebSocketPair::new()?;
        self.state.accept_web_socket(&pair.server);
        connection::keep(&pair.server, &Connection { owner_id, shared, agent: None })?;
        Ok(Response::from_websocket(pair.client)?)
    }

    fn socket_of(&self, id: ContainerAgentId) -> Option<WebSocket> {
        let is_it = |socket: &WebSocket| {
            connection::of(socket).and_then(|connection| connection.agent).is_some_and(|agent| agent.id == id)
        };
        self.state.get_websockets().into_iter().find(is_it)
    }

    async fn received(&self, socket: &WebSocket, text: &str) -> Outcome<()> {
        let connection =
            connection::of(socket).ok_or_else(|| Failure::malformed("This connection is unknown"))?;
        let Some(agent) = connection.agent.clone() else {
            return self.hello(socket, connection, text).await;
        };
        let message = serde_json::from_str(text)
            .map_err(|error| Failure::malformed(format!("The message cannot be read: {error}")))?;
        match message {
            FromContainerAgent::Hello(_) => Err(Failure::malformed("There was a hello already")),
            FromContainerAgent::Accept { execution_id } => self.accepted(socket, &agent, execution_id).await,
            FromContainerAgent::Decline { execution_id, .. } => {
                let ledger = self.ledger()?;
                let entry = ledger.entry(execution_id)?.filter(|entry| entry.state == EntryState::Offered);
                if entry.is_some_and(|entry| entry.is_held_by(agent.id)) {
                    ledger.withdraw(execution_id, Some(agent.id))?;
                }
                // Not offered again at once, which would ask the same machine in a circle.
                self.wake_at(now_ms() + OFFER_SECONDS * 1_000).await
            }
            FromContainerAgent::Heartbeat { leases } => self.heartbeat(socket, &agent, &leases).await,
            FromContainerAgent::Abandon { lease, reason } => {
                let entry = self.ledger()?.entry(lease.execution_id)?;
                match entry.filter(|entry| entry.lease() == Some(lease) && entry.is_held_by(agent.id)) {
                    Some(entry) => {
                        self.lost(&entry, &format!("Container agent {}: {reason}", agent.name)).await
                    }
                    None => Ok(()),
                }
            }
            FromContainerAgent::Draining => self.draining(socket).await,
        }
    }

    /// 1. The protocol, before anything else is read.
    /// 2. The rest.
    /// 3. A name is one connection: the newer one has it.
    /// 4. D1 knows the machine.
    /// 5. It learns which of its leases still stand.
    async fn hello(&self, socket: &WebSocket, mut connection: Connection, text: &str) -> Outcome<()> {
        #[derive(serde::Deserialize)]
        struct Protocol {
            protocol: u32,
        }
        let malformed =
            |error: serde_json::Error| Failure::malformed(format!("The hello cannot be read: {error}"));
        let spoken = serde_json::from_str::<Protocol>(text).map_err(malformed)?.protocol;
        if spoken < PROTOCOL_VERSION_MIN {
            let detail = format!(
                "It speaks protocol {spoken}, this plane needs {PROTOCOL_VERSION_MIN}; install a newer patchbay-agent"
            );
            return Err(Failure::problem(ProblemKind::OutdatedProtocol, detail));
        }
        let FromContainerAgent::Hello(hello) = serde_json::from_str(text).map_err(malformed)? else {
            return Err(Failure::malformed("The first message is a hello"));
        };
        hello
            .validate()
            .map_err(|report| Failure::malformed(format!("The hello breaks a rule: {report}")))?;
        let bindings = Bindings::open(self.env.clone())?;
        let id =
            agents::connect(&bindings.db, connection.owner_id, connection.shared, &hello, now_ms()).await?;
        if let Some(older) = self.socket_of(id) {
            connection::keep(&older, &Connection { agent: None, ..connection.clone() })?;
            let _ = older.close(Some(close::REPLACED), Some("Another connection has this name now"));
        }
        let Hello { name, capacity, sandbox_tier, leases, .. } = hello;
        connection.agent = Some(Agent { id, name, capacity, sandbox_tier, draining: false });
        connection::keep(socket, &connection)?;
        let gone = self.renew(id, &leases)?;
        connection::send(
            socket,
            &ToContainerAgent::Welcome {
                container_agent_id: id,
                heartbeat_seconds: HEARTBEAT_SECONDS,
                lease_seconds: LEASE_SECONDS,
                gone,
            },
        );
        self.offer_work().await
    }

    /// Renews those of these leases that this container agent holds; answers the others.
    fn renew(&self, id: ContainerAgentId, leases: &[Lease]) -> Outcome<Vec<Lease>> {
        let ledger = self.ledger()?;
        let held: HashSet<Lease> = ledger.held_by(id)?.iter().filter_map(Entry::lease).collect();
        let (standing, gone): (Vec<Lease>, Vec<Lease>) =
            leases.iter().partition(|lease| held.contains(lease));
        for lease in standing {
            ledger.renew(lease, now_ms() + LEASE_SECONDS * 1_000)?;
        }
        Ok(gone)
    }

    async fn heartbeat(&self, socket: &WebSocket, agent: &Agent, leases: &[Lease]) -> Outcome<()> {
        let gone = self.renew(agent.id, leases)?;
        let key = Bindings::open(self.env.clone())?.signing_key()?;
        let mut renewed = Vec::new();
        for entry in self.ledger()?.held_by(agent.id)? {
            let Some(lease) = entry.lease().filter(|lease| leases.contains(lease)) else { continue };
            if let Some(reason) = entry.stop_reason.clone() {
                // Told again with every heartbeat: the first telling may have been lost with its socket.
                connection::send(socket, &ToContainerAgent::Cancel { lease, reason });
            }
            let queued = entry.queued()?;
            let claims = Claims::new(lease, queued.project_id, queued.owner_id, agent.id, now_ms());
            renewed.push(RenewedToken { lease, execution_token: execution_token::sign(&key, &claims)? });
        }
        connection::send(socket, &ToContainerAgent::HeartbeatAnswer { gone, renewed });
        Ok(())
    }

    async fn accepted(&self, socket: &WebSocket, agent: &Agent, execution_id: ExecutionId) -> Outcome<()> {
        let ledger = self.ledger()?;
        let offered = ledger
            .entry(execution_id)?
            .filter(|entry| entry.state == EntryState::Offered && entry.is_held_by(agent.id));
        let Some(entry) = offered else {
            connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
            return Ok(());
        };
        let mut queued = entry.queued()?;
        let lease = Lease { execution_id, generation: queued.generation + 1 };
        queued.generation = lease.generation;
        ledger.lease(&queued, now_ms() + LEASE_SECONDS * 1_000)?;
        match lease::grant(&self.env, lease, agent).await {
            Ok(Some(leased)) => {
                connection::send(socket, &ToContainerAgent::Leased(Box::new(leased)));
                self.set_alarm().await
            }
            Ok(None) => {
                ledger.forget(execution_id)?;
                connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
                self.offer_work().await
            }
            Err(failure) => {
                failure.log("lease");
                connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
                // No machine lost it, nothing ran: it waits again, and the next lease has the next generation.
                ledger.withdraw(execution_id, None)?;
                self.wake_at(now_ms() + RETRY_MS).await
            }
        }
    }

    /// Waiting: it ends here. Leased: its container agent is told, and its terminal event ends it.
    async fn stop(&self, ledger: &Ledger, id: ExecutionId, reason: &str) -> Outcome<()> {
        let Some(entry) = ledger.entry(id)? else { return Ok(()) };
        ledger.stop(id, reason)?;
        if let Some(lease) = entry.lease() {
            if let Some(socket) = entry.container_agent_id.and_then(|id| self.socket_of(id)) {
                connection::send(&socket, &ToContainerAgent::Cancel { lease, reason: reason.to_owned() });
            }
            return Ok(());
        }
        self.end_unleased(&entry.queued()?, reason).await?;
        ledger.forget(id)
    }

    async fn end_unleased(&self, queued: &Queued, reason: &str) -> Outcome<()> {
        let Queued { execution_id, project_id, task_id, generation, .. } = *queued;
        let end = HubCommand::End {
            identity: Identity { execution_id, project_id, task_id },
            generation,
            outcome: shared_contracts::executions::Outcome::Cancelled,
            reason: reason.to_owned(),
        };
        object::call(&Bindings::open(self.env.clone())?.hub(execution_id)?, &end).await
    }

    async fn lost(&self, entry: &Entry, reason: &str) -> Outcome<()> {
        let ledger = self.ledger()?;
        let Some(lease) = entry.lease() else { return Ok(()) };
        ledger.postpone(entry.execution_id, now_ms() + RETRY_MS)?;
        self.set_alarm().await?;
        match loss::settle(&self.env, entry.queued()?, lease, reason, entry.stop_reason.as_deref()).await? {
            Aftermath::Waits(queued) => ledger.requeue(&queued)?,
            Aftermath::Ended => ledger.forget(entry.execution_id)?,
        }
        self.offer_work().await
    }

    /// Offers that nobody took go back into the queue; leases that nobody renewed are lost.
    async fn expire(&self) -> Outcome<()> {
        let ledger = self.ledger()?;
        for entry in ledger.expired(now_ms())? {
            match entry.state {
                EntryState::Leased => {
                    let reason = format!("Its container agent was not heard of for {LEASE_SECONDS} s");
                    // One that cannot be settled now does not hold up the others; its alarm comes again.
                    if let Err(failure) = self.lost(&entry, &reason).await {
                        failure.log("lease expiry");
                    }
                }
                EntryState::Offered | EntryState::Waiting => {
                    ledger.withdraw(entry.execution_id, entry.container_agent_id)?;
                }
            }
        }
        self.offer_work().await
    }

    /// Offers what waits to whom has room, then sees to the next expiry.
    async fn offer_work(&self) -> Outcome<()> {
        let ledger = self.ledger()?;
        let waiting = ledger.waiting()?;
        if !waiting.is_empty() {
            let mut candidates = Vec::new();
            for connection in self.state.get_websockets().iter().filter_map(connection::of) {
                let Some(agent) = connection.agent.filter(|agent| !agent.draining) else { continue };
                let held = ledger.held_by(agent.id)?.len() as u32;
                candidates.push(Candidate {
                    id: agent.id,
                    owner_id: connection.owner_id,
                    shared: connection.shared,
                    sandbox_tier: agent.sandbox_tier,
                    free: agent.capacity.saturating_sub(held),
                });
            }
            for offer in queue::assign(waiting, candidates, ledger.shares()?) {
                ledger.offer(&offer, now_ms() + OFFER_SECONDS * 1_000)?;
                if let Some(socket) = self.socket_of(offer.container_agent_id) {
                    connection::send(&socket, &ToContainerAgent::Offer { execution_id: offer.execution_id });
                }
            }
        }
        self.set_alarm().await
    }

    async fn set_alarm(&self) -> Outcome<()> {
        match self.ledger()?.next_expiry_ms()? {
            Some(at_ms) => self.wake_at(at_ms).await,
            None => Ok(()),
        }
    }

    /// An alarm that comes too early costs nothing; so the nearest one stands.
    async fn wake_at(&self, at_ms: u64) -> Outcome<()> {
        let set = self.alarm_ms.get();
        if set != 0 && set <= at_ms && set > now_ms() {
            return Ok(());
        }
        self.alarm_ms.set(at_ms);
        let wait_ms = i64::try_from(at_ms.saturating_sub(now_ms())).unwrap_or(0);
        Ok(self.state.storage().set_alarm(wait_ms.max(1)).await?)
    }

    async fn draining(&self, socket: &WebSocket) -> Outcome<()> {
        let Some(mut connection) = connection::of(socket) else { return Ok(()) };
        let Some(agent) = connection.agent.as_mut() else { return Ok(()) };
        agent.draining = true;
        let id = agent.id;
        connection::keep(socket, &connection)?;
        agents::draining(&Bindings::open(self.env.clone())?.db, id).await
    }

    /// The record for people. Leases do not end with a socket.
    async fn disconnected(&self, socket: &WebSocket) {
        let Some(agent) = connection::of(socket).and_then(|connection| connection.agent) else { return };
        let update =
            async { agents::disconnect(&Bindings::open(self.env.clone())?.db, agent.id, now_ms()).await };
        if let Err(failure) = update.await {
            failure.log("container agent's disconnection");
        }
    }
}
