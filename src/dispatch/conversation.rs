//! What the Dispatcher and a container agent say to each other; the messages are `shared_contracts::dispatch`.

use std::collections::HashSet;

use garde::Validate;
use shared_contracts::containers::ContainerCleanup;
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, Lease, LeasedExecution, PROTOCOL_VERSION_MIN, RenewedToken, ToContainerAgent,
    close,
};
use shared_contracts::executions::Outcome as Ended;
use shared_contracts::ids::{ContainerAgentId, ExecutionId};
use shared_contracts::limits::{CLEANUPS_MAX, HEARTBEAT_SECONDS, LEASE_SECONDS, OFFER_SECONDS};
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::sandboxes::OfferedSandbox;
use worker::WebSocket;

use super::connection::{self, Agent, Connection};
use super::lease::{self, Grant};
use super::ledger::Entry;
use super::object::{Dispatcher, RETRY_MS};
use super::queue::Offer;
use crate::accounts::access_tokens;
use crate::accounts::execution_token::{self, Claims};
use crate::bindings::Bindings;
use crate::container_agents::store as agents;
use crate::platform::clock::now_ms;
use crate::platform::failure::{Failure, Outcome};

/// Says why, then closes.
pub fn refuse(socket: &WebSocket, problem: Problem) {
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
    pub(super) async fn received(&self, socket: &WebSocket, text: &str) -> Outcome<()> {
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
                self.ledger()?.withdraw(&Offer { execution_id, container_agent_id: agent.id })?;
                // Not offered again at once, which would ask the same machine in a circle.
                self.wake_at(now_ms() + OFFER_SECONDS * 1_000).await
            }
            FromContainerAgent::Heartbeat { leases } => {
                self.heartbeat(socket, connection, &agent, &leases).await
            }
            FromContainerAgent::Abandon { lease, reason } => {
                let entry = self.ledger()?.entry(lease.execution_id)?;
                match entry.filter(|entry| entry.lease() == Some(lease) && entry.holder() == Some(agent.id)) {
                    Some(entry) => {
                        self.lost(&entry, &format!("Container agent {}: {reason}", agent.name)).await
                    }
                    None => Ok(()),
                }
            }
            FromContainerAgent::Draining => self.draining(socket).await,
            FromContainerAgent::Container { request, answer } => self.answered(&agent, request, answer),
            FromContainerAgent::CleanedUp { removed } => self.cleaned_up(&agent, &removed).await,
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
        let FromContainerAgent::Hello(mut hello) = serde_json::from_str(text).map_err(malformed)? else {
            return Err(Failure::malformed("The first message is a hello"));
        };
        hello
            .validate()
            .map_err(|report| Failure::malformed(format!("The hello breaks a rule: {report}")))?;
        if hello.sandboxes.is_empty() {
            hello.sandboxes.push(OfferedSandbox::of_tier(hello.sandbox_tier));
        }
        hello.sandbox_tier = hello.sandboxes.iter().map(|sandbox| sandbox.tier).max().unwrap_or_default();
        let bindings = Bindings::open(self.env.clone())?;
        let id =
            agents::connect(&bindings.db, connection.owner_id, connection.shared, &hello, now_ms()).await?;
        if let Some(older) = self.socket_of(id) {
            connection::keep(&older, &Connection { agent: None, ..connection.clone() })?;
            let _ = older.close(Some(close::REPLACED), Some("Another connection has this name now"));
        }
        let Hello { name, capacity, sandboxes, memory_mb_max, cpu_cores_max, leases, .. } = hello;
        self.ledger()?.keep_machine(id, &sandboxes)?;
        connection.agent = Some(Agent { id, name, capacity, memory_mb_max, cpu_cores_max, draining: false });
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
            ledger.extend(lease, now_ms() + LEASE_SECONDS * 1_000)?;
        }
        Ok(gone)
    }

    async fn heartbeat(
        &self,
        socket: &WebSocket,
        connection: Connection,
        agent: &Agent,
        leases: &[Lease],
    ) -> Outcome<()> {
        if !self.token_stands(socket, connection).await? {
            return Ok(());
        }
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

    /// Looks its token up again, if that is due. A connection whose token is revoked or expired ends here; its leases
    /// are renewed no more, and so are lost in their time.
    async fn token_stands(&self, socket: &WebSocket, mut connection: Connection) -> Outcome<bool> {
        let now_ms = now_ms();
        if !connection.token.is_due(now_ms) {
            return Ok(true);
        }
        // Before the answer: a revocation that comes meanwhile makes it due again.
        connection.token.checked_at_ms = now_ms;
        connection::keep(socket, &connection)?;
        if !connection.token.has_expired(now_ms) {
            let db = Bindings::open(self.env.clone())?.db;
            match access_tokens::stands(&db, connection.token.id).await {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(failure) => {
                    // Machines do not lose their work because D1 does not answer; the next check asks again.
                    failure.log("container agent's token");
                    return Ok(true);
                }
            }
        }
        self.disconnected(socket).await;
        // Nothing is offered to it from now on, even if it leaves the close unanswered.
        connection::keep(socket, &Connection { agent: None, ..connection })?;
        let reason = "Its access token was revoked or has expired; start it again with another one";
        socket.close(Some(close::TOKEN), Some(reason))?;
        Ok(false)
    }

    async fn accepted(&self, socket: &WebSocket, agent: &Agent, execution_id: ExecutionId) -> Outcome<()> {
        let ledger = self.ledger()?;
        let offer = Offer { execution_id, container_agent_id: agent.id };
        let offered = ledger.entry(execution_id)?.filter(|entry| entry.offer().as_ref() == Some(&offer));
        let Some(entry) = offered else {
            connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
            return Ok(());
        };
        let mut queued = entry.queued()?;
        let lease = Lease { execution_id, generation: queued.generation + 1 };
        queued.generation = lease.generation;
        ledger.lease(&offer, &queued, now_ms() + LEASE_SECONDS * 1_000)?;
        match lease::grant(&self.env, lease, agent).await {
            Ok(Grant::Leased(leased)) => self.granted(socket, leased).await,
            Ok(ended @ (Grant::Refused | Grant::Impossible(_))) => {
                let (outcome, reason) = match ended {
                    Grant::Impossible(reason) => (Ended::Failed, reason),
                    // Stopped, or ended: where it was stopped and has no end yet, this is it.
                    _ => (Ended::Cancelled, "Stopped by its owner".into()),
                };
                self.end(&queued, outcome, &reason).await?;
                ledger.forget(lease)?;
                connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
                self.offer_work().await
            }
            Err(failure) => {
                failure.log("lease");
                connection::send(socket, &ToContainerAgent::Withdrawn { execution_id });
                // No machine lost it, nothing ran: it waits again, and the next lease has the next generation.
                ledger.requeue(lease, &queued)?;
                self.wake_at(now_ms() + RETRY_MS).await
            }
        }
    }

    /// Looks again: while D1 and the hub agreed, the lease may have been lost, or its execution stopped, and what the
    /// container agent was told about a lease that it did not have yet is not known to it.
    async fn granted(&self, socket: &WebSocket, leased: Box<LeasedExecution>) -> Outcome<()> {
        let lease = leased.lease;
        let entry = self.ledger()?.entry(lease.execution_id)?;
        match entry.filter(|entry| entry.lease() == Some(lease)) {
            Some(entry) => {
                connection::send(socket, &ToContainerAgent::Leased(leased));
                if let Some(reason) = entry.stop_reason {
                    connection::send(socket, &ToContainerAgent::Cancel { lease, reason });
                }
            }
            None => {
                connection::send(socket, &ToContainerAgent::Withdrawn { execution_id: lease.execution_id });
            }
        }
        self.set_alarm().await
    }

    pub(super) async fn draining(&self, socket: &WebSocket) -> Outcome<()> {
        let Some(mut connection) = connection::of(socket) else { return Ok(()) };
        let Some(agent) = connection.agent.as_mut() else { return Ok(()) };
        agent.draining = true;
        let id = agent.id;
        connection::keep(socket, &connection)?;
        agents::draining(&Bindings::open(self.env.clone())?.db, id).await
    }

    /// Leftovers that it removed, for whoever looks after it. What cannot be recorded is not worth its connection.
    async fn cleaned_up(&self, agent: &Agent, removed: &[ContainerCleanup]) -> Outcome<()> {
        if removed.len() > CLEANUPS_MAX {
            return Err(Failure::malformed(format!("More than {CLEANUPS_MAX} cleanups in one message")));
        }
        for cleanup in removed {
            cleanup
                .validate()
                .map_err(|report| Failure::malformed(format!("A cleanup breaks a rule: {report}")))?;
        }
        let db = Bindings::open(self.env.clone())?.db;
        if let Err(failure) = agents::cleaned_up(&db, agent.id, removed, now_ms()).await {
            failure.log("container agent's cleanups");
        }
        Ok(())
    }

    /// The record for people. Leases do not end with a socket; questions to it do.
    pub(super) async fn disconnected(&self, socket: &WebSocket) {
        let Some(agent) = connection::of(socket).and_then(|connection| connection.agent) else { return };
        self.questions.left(agent.id);
        let update = async {
            self.ledger()?.forget_machine(agent.id)?;
            agents::disconnect(&Bindings::open(self.env.clone())?.db, agent.id, now_ms()).await
        };
        if let Err(failure) = update.await {
            failure.log("container agent's disconnection");
        }
    }
}
