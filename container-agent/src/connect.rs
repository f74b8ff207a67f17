//! The connection to the Dispatcher: dial, say hello, take offers, beat; dial again when it is lost. What runs goes
//! on meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use shared_contracts::dispatch::{
    FromContainerAgent, Hello, Lease, LeasedExecution, PROTOCOL_VERSION, ToContainerAgent, close,
};
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::{HEARTBEAT_SECONDS, LEASE_SECONDS, OFFER_SECONDS};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::api::{DialError, Socket};
use crate::backoff::Backoff;
use crate::lease::Stopping;
use crate::run::Agent;
use crate::stop::Ending;
use crate::{clock, containers};

const CONNECT_PATH: &str = "/api/container-agents/connect";
const WELCOME_TIMEOUT: Duration = Duration::from_secs(15);
/// Then the plane has withdrawn it.
const OFFER_TIME: Duration = Duration::from_secs(OFFER_SECONDS);

/// Why the agent ends. The number is its exit code.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the plane refuses this version: {0}; install a newer patchbay-agent")]
    Outdated(String),
    #[error("the plane does not accept the access token ({0}); make one with the container_agent scope")]
    Token(String),
    #[error(
        "another agent named `{0}` has connected and took this one's place; give each a name of its own (--name)"
    )]
    Replaced(String),
    #[error("the plane refused this agent: {0}")]
    Refused(String),
}

impl ConnectError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Outdated(_) => 3,
            Self::Token(_) => 4,
            Self::Replaced(_) => 5,
            Self::Refused(_) => 6,
        }
    }
}

enum Lost {
    Fatal(ConnectError),
    Again(String),
    /// Nothing is left to do.
    Done,
}

/// What executions want said to the plane.
pub struct Sayings {
    receiver: mpsc::UnboundedReceiver<FromContainerAgent>,
    /// Taken, and then the connection broke.
    unsaid: Option<FromContainerAgent>,
}

impl Sayings {
    pub fn new(receiver: mpsc::UnboundedReceiver<FromContainerAgent>) -> Self {
        Self { receiver, unsaid: None }
    }

    async fn next(&mut self) -> Option<FromContainerAgent> {
        match self.unsaid.take() {
            Some(saying) => Some(saying),
            None => self.receiver.recv().await,
        }
    }

    fn next_now(&mut self) -> Option<FromContainerAgent> {
        self.unsaid.take().or_else(|| self.receiver.try_recv().ok())
    }
}

/// Until the agent has ended.
pub async fn run(agent: Arc<Agent>, mut sayings: Sayings) -> Result<(), ConnectError> {
    let mut backoff = Backoff::default();
    loop {
        let lost = session(&agent, &mut sayings, &mut backoff).await;
        match lost {
            Lost::Done => return Ok(()),
            Lost::Fatal(error) => return Err(error),
            Lost::Again(why) => {
                if agent.ends.now() != Ending::No && agent.leases.count() == 0 {
                    return Ok(());
                }
                let wait = backoff.delay();
                tracing::warn!(%why, wait_ms = wait.as_millis(), "not connected; dialling again");
                let mut ends = agent.ends.watch();
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = ends.wait_for(|ending| *ending == Ending::Abandoning) => {}
                }
            }
        }
    }
}

struct Session<'a> {
    agent: &'a Arc<Agent>,
    socket: Socket,
    /// What is on offer, and since when. The plane hears of an execution's end before its place here is cleared.
    offered: VecDeque<(ExecutionId, Instant)>,
    /// Accepted, not leased yet.
    accepted: BTreeSet<ExecutionId>,
    heartbeat: Duration,
    lease_length: Duration,
    /// The heartbeats without an answer, oldest first: what they named, when they went.
    unanswered: VecDeque<(Vec<Lease>, Instant)>,
    draining_said: bool,
}

async fn session(agent: &Arc<Agent>, sayings: &mut Sayings, backoff: &mut Backoff) -> Lost {
    let socket = match agent.plane.dial(CONNECT_PATH, &agent.token).await {
        Ok(socket) => socket,
        Err(DialError::Status(401 | 403, detail)) => return Lost::Fatal(ConnectError::Token(detail)),
        Err(DialError::Status(426, detail)) => return Lost::Fatal(ConnectError::Outdated(detail)),
        Err(error) => return Lost::Again(error.to_string()),
    };
    let mut session = Session {
        agent,
        socket,
        offered: VecDeque::new(),
        accepted: BTreeSet::new(),
        heartbeat: Duration::from_secs(HEARTBEAT_SECONDS),
        lease_length: Duration::from_secs(LEASE_SECONDS),
        unanswered: VecDeque::new(),
        draining_said: false,
    };
    match session.run(sayings, backoff).await {
        Err(lost) => lost,
        Ok(()) => Lost::Done,
    }
}

impl Session<'_> {
    async fn run(&mut self, sayings: &mut Sayings, backoff: &mut Backoff) -> Result<(), Lost> {
        self.hello().await?;
        backoff.reset();
        let mut beat = tokio::time::interval(self.heartbeat);
        beat.reset();
        let (mut ends, agent) = (self.agent.ends.watch(), self.agent);
        loop {
            // Registered before the counts below can change unseen.
            let changed = agent.leases.changed.notified();
            self.say_draining().await?;
            self.answer_offers().await?;
            if self.agent.ends.now() != Ending::No
                && self.agent.leases.count() == 0
                && self.accepted.is_empty()
            {
                // What was said last must still go out.
                while let Some(saying) = sayings.next_now() {
                    self.say(saying, sayings).await?;
                }
                let _ = self.socket.close(None).await;
                return Ok(());
            }
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.take(&text).await?,
                    Some(Ok(Message::Close(frame))) => return Err(self.closed(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Lost::Again(error.to_string())),
                    None => return Err(Lost::Again("the connection ended".into())),
                },
                _ = beat.tick() => self.beat().await?,
                Some(saying) = sayings.next() => self.say(saying, sayings).await?,
                Ok(()) = ends.changed() => {}
                () = changed => {}
                () = tokio::time::sleep(Duration::from_secs(1)), if self.agent.ends.now() != Ending::No => {}
            }
        }
    }

    async fn hello(&mut self) -> Result<(), Lost> {
        let leases = self.agent.leases.list();
        let hello = FromContainerAgent::Hello(Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            name: self.agent.settings.name.clone(),
            capacity: self.agent.settings.capacity,
            sandbox_tier: self.agent.offer.tier(),
            sandboxes: self.agent.offer.sandboxes.clone(),
            memory_mb_max: self.agent.settings.memory_mb_max,
            cpu_cores_max: self.agent.settings.cpu_cores_max,
            leases: leases.clone(),
        });
        let sent_at = clock::now();
        self.send(&hello).await?;
        let answer = tokio::time::timeout(WELCOME_TIMEOUT, async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text),
                    Some(Ok(Message::Close(frame))) => return Err(self.closed(frame)),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Lost::Again(error.to_string())),
                    None => return Err(Lost::Again("the connection ended before the welcome".into())),
                }
            }
        });
        let text = answer.await.map_err(|_| Lost::Again("the plane did not answer the hello".into()))??;
        match serde_json::from_str(&text) {
            Ok(ToContainerAgent::Welcome { container_agent_id, heartbeat_seconds, lease_seconds, gone }) => {
                self.heartbeat = Duration::from_secs(heartbeat_seconds.max(1));
                self.lease_length = Duration::from_secs(lease_seconds.max(1));
                self.agent.set_lease_length(self.lease_length);
                self.agent.leases.gone(&gone, "the plane gave it to another run");
                let alive: Vec<_> = leases.into_iter().filter(|lease| !gone.contains(lease)).collect();
                self.agent.leases.confirm(&alive, sent_at);
                tracing::info!(id = %container_agent_id, plane = self.agent.plane.url(), leases = alive.len(), "connected");
                Ok(())
            }
            Ok(ToContainerAgent::Refused { problem, protocol_min }) => Err(refused(&problem, protocol_min)),
            Ok(other) => Err(Lost::Again(format!("the plane answered the hello with {other:?}"))),
            Err(error) => Err(Lost::Again(format!("the plane's answer cannot be read: {error}"))),
        }
    }

    async fn send(&mut self, message: &FromContainerAgent) -> Result<(), Lost> {
        let text = serde_json::to_string(message).map_err(|error| Lost::Again(error.to_string()))?;
        self.socket.send(Message::text(text)).await.map_err(|error| Lost::Again(error.to_string()))
    }

    /// A lease that is given up stays in the table, and so in every hello, until the plane was told.
    async fn say(&mut self, saying: FromContainerAgent, sayings: &mut Sayings) -> Result<(), Lost> {
        let sent = self.send(&saying).await;
        match (&sent, saying) {
            (Ok(()), FromContainerAgent::Abandon { lease, .. }) => self.agent.leases.remove(lease),
            (Ok(()), _) => {}
            (Err(_), saying) => sayings.unsaid = Some(saying),
        }
        sent
    }

    async fn beat(&mut self) -> Result<(), Lost> {
        if let Some((_, sent_at)) = self.unanswered.front()
            && sent_at.elapsed() >= self.heartbeat
        {
            return Err(Lost::Again(format!(
                "no answer to a heartbeat for {} s",
                sent_at.elapsed().as_secs()
            )));
        }
        let leases = self.agent.leases.list();
        self.unanswered.push_back((leases.clone(), clock::now()));
        self.send(&FromContainerAgent::Heartbeat { leases }).await
    }

    async fn say_draining(&mut self) -> Result<(), Lost> {
        if self.agent.ends.now() != Ending::No && !self.draining_said {
            self.draining_said = true;
            self.send(&FromContainerAgent::Draining).await?;
        }
        Ok(())
    }

    async fn take(&mut self, text: &str) -> Result<(), Lost> {
        let message = serde_json::from_str(text)
            .map_err(|error| Lost::Again(format!("a message of the plane cannot be read: {error}")))?;
        match message {
            ToContainerAgent::Offer { execution_id } => {
                self.offered.push_back((execution_id, clock::now()));
                Ok(())
            }
            ToContainerAgent::Leased(leased) => {
                self.accepted.remove(&leased.lease.execution_id);
                self.begin(*leased);
                Ok(())
            }
            ToContainerAgent::Withdrawn { execution_id } => {
                self.accepted.remove(&execution_id);
                Ok(())
            }
            ToContainerAgent::HeartbeatAnswer { gone, renewed } => {
                if let Some((leases, sent_at)) = self.unanswered.pop_front() {
                    let alive: Vec<_> = leases.into_iter().filter(|lease| !gone.contains(lease)).collect();
                    self.agent.leases.confirm(&alive, sent_at);
                }
                self.agent.leases.gone(&gone, "the plane says that it is gone");
                self.agent.leases.renew(renewed);
                Ok(())
            }
            ToContainerAgent::Cancel { lease, reason } => {
                if let Some(held) = self.agent.leases.get(lease) {
                    tracing::info!(execution = %lease.execution_id, %reason, "cancelled");
                    held.tell(Stopping::Cancel(reason));
                }
                Ok(())
            }
            ToContainerAgent::Drain => {
                tracing::info!("the plane asks to drain");
                self.agent.ends.raise(Ending::Draining);
                Ok(())
            }
            ToContainerAgent::Refused { problem, protocol_min } => Err(refused(&problem, protocol_min)),
            ToContainerAgent::Container { request, command } => {
                containers::answer(Arc::clone(self.agent), request, command);
                Ok(())
            }
            ToContainerAgent::Welcome { .. } => Ok(()),
        }
    }

    /// Those that there is a place for; the others wait for one. By then the plane may have withdrawn them: an accept
    /// that comes too late is answered with that.
    async fn answer_offers(&mut self) -> Result<(), Lost> {
        self.offered.retain(|(_, since)| since.elapsed() < OFFER_TIME);
        while let Some((execution_id, _)) = self.offered.front().copied() {
            let is_draining = self.agent.ends.now() != Ending::No;
            let taken = self.agent.leases.count() + self.accepted.len();
            if !is_draining && taken >= self.agent.settings.capacity as usize {
                break;
            }
            self.offered.pop_front();
            if is_draining {
                let reason = "draining".into();
                self.send(&FromContainerAgent::Decline { execution_id, reason }).await?;
            } else {
                self.accepted.insert(execution_id);
                self.send(&FromContainerAgent::Accept { execution_id }).await?;
            }
        }
        Ok(())
    }

    fn begin(&self, leased: LeasedExecution) {
        if self.agent.leases.get(leased.lease).is_none() {
            crate::execution::spawn(Arc::clone(self.agent), leased);
        }
    }

    fn closed(&self, frame: Option<tokio_tungstenite::tungstenite::protocol::CloseFrame>) -> Lost {
        let Some(frame) = frame else { return Lost::Again("the plane closed the connection".into()) };
        match u16::from(frame.code) {
            close::TOKEN => Lost::Fatal(ConnectError::Token(frame.reason.to_string())),
            close::OUTDATED => Lost::Fatal(ConnectError::Outdated(frame.reason.to_string())),
            close::REPLACED => Lost::Fatal(ConnectError::Replaced(self.agent.settings.name.clone())),
            code => Lost::Again(format!("the plane closed the connection: {code} {}", frame.reason)),
        }
    }
}

fn refused(problem: &shared_contracts::problem::Problem, protocol_min: u32) -> Lost {
    use shared_contracts::problem::ProblemKind;
    let text = problem.to_string();
    match problem.kind {
        ProblemKind::OutdatedProtocol => Lost::Fatal(ConnectError::Outdated(format!(
            "{text} (it needs protocol {protocol_min}, this agent speaks {PROTOCOL_VERSION})"
        ))),
        ProblemKind::Unauthenticated | ProblemKind::Forbidden => Lost::Fatal(ConnectError::Token(text)),
        ProblemKind::Overloaded | ProblemKind::Limited | ProblemKind::Internal => Lost::Again(text),
        _ => Lost::Fatal(ConnectError::Refused(text)),
    }
}
