//! The sandboxes that are here now, for people: what they are, what they use, and what may be done with them from
//! outside. Each execution enters its own here; the plane's questions are answered from here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared_contracts::containers::{
    ContainerAnswer, ContainerCommand, ContainerFacts, ContainerId, ContainerState, ContainerStats,
};
use shared_contracts::dispatch::FromContainerAgent;
use shared_contracts::problem::{Problem, ProblemKind};
use tokio::sync::Notify;

use crate::lease::Stopping;
use crate::run::Agent;
use crate::sandbox::{Control, SandboxError, Signal, Usage};
use crate::{clock, watch};

/// Over how long CPU use is measured for an answer.
const MEASURED: Duration = Duration::from_millis(200);

/// One sandbox that is here.
pub struct Container {
    facts: Mutex<ContainerFacts>,
    control: Mutex<Option<Arc<dyn Control>>>,
    restart: Notify,
}

impl Container {
    fn facts(&self) -> MutexGuard<'_, ContainerFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state(&self, state: ContainerState) {
        self.facts().state = state;
    }

    /// It runs now, and this steers it. Whether it is the first time.
    pub fn runs(&self, control: Arc<dyn Control>) -> bool {
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(control);
        let mut facts = self.facts();
        facts.state = ContainerState::Running;
        facts.started_at_ms = Some(clock::now_ms());
        facts.restarts == 0
    }

    /// Nothing of it runs any more; `again` if it is about to be started once more.
    pub fn ran(&self, again: bool) {
        *self.control.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let mut facts = self.facts();
        facts.state = if again { ContainerState::Creating } else { ContainerState::Stopped };
        facts.restarts += u32::from(again);
    }

    /// Comes when somebody wants it started again.
    pub async fn restart_asked(&self) {
        self.restart.notified().await;
    }

    fn control(&self) -> Option<Arc<dyn Control>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Those of this agent.
#[derive(Default)]
pub struct Containers(Mutex<BTreeMap<ContainerId, Arc<Container>>>);

/// Keeps it in the list.
pub struct Entered<'a> {
    list: &'a Containers,
    id: ContainerId,
    pub container: Arc<Container>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}

impl Containers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Arc<Container>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn enter(&self, facts: ContainerFacts) -> Entered<'_> {
        let id = facts.id;
        let container = Arc::new(Container {
            facts: Mutex::new(facts),
            control: Mutex::default(),
            restart: Notify::new(),
        });
        self.lock().insert(id, Arc::clone(&container));
        Entered { list: self, id, container }
    }

    fn get(&self, id: ContainerId) -> Option<Arc<Container>> {
        self.lock().get(&id).cloned()
    }

    fn list(&self) -> Vec<ContainerFacts> {
        let all: Vec<_> = self.lock().values().cloned().collect();
        all.iter().map(|container| container.facts().clone()).collect()
    }
}

/// Answers one question, in a task of its own: a frozen disk or a slow engine must not hold up heartbeats.
pub fn answer(agent: Arc<Agent>, request: u64, command: ContainerCommand) {
    tokio::spawn(async move {
        let answer = obey(&agent, command)
            .await
            .unwrap_or_else(|problem| ContainerAnswer::Refused { problem: *problem });
        agent.say(FromContainerAgent::Container { request, answer });
    });
}

async fn obey(agent: &Agent, command: ContainerCommand) -> Result<ContainerAnswer, Box<Problem>> {
    let container = match command {
        ContainerCommand::List => return Ok(ContainerAnswer::Listed { containers: agent.containers.list() }),
        ContainerCommand::Remove { id } => return remove(agent, id).await,
        ContainerCommand::Stats { id } => {
            let (container, control) = running(agent, id)?;
            return Ok(ContainerAnswer::Stats { stats: stats(&container, control.as_ref()).await });
        }
        ContainerCommand::Get { id } => agent.containers.get(id).ok_or_else(|| absent(id))?,
        ContainerCommand::Restart { id } => {
            let (container, _) = running(agent, id)?;
            container.restart.notify_one();
            container
        }
        ContainerCommand::Stop { id } => {
            let (container, control) = running(agent, id)?;
            stop(agent, id, control.as_ref()).await?;
            container
        }
        ContainerCommand::Freeze { id } => {
            let (container, control) = running(agent, id)?;
            steer(&container, ContainerState::Frozen, control.freeze().await)?;
            container
        }
        ContainerCommand::Thaw { id } => {
            let (container, control) = running(agent, id)?;
            steer(&container, ContainerState::Running, control.thaw().await)?;
            container
        }
    };
    let container = container.facts().clone();
    Ok(ContainerAnswer::Container { container })
}

/// One in which something runs, and what steers it.
type Running = (Arc<Container>, Arc<dyn Control>);

fn running(agent: &Agent, id: ContainerId) -> Result<Running, Box<Problem>> {
    let container = agent.containers.get(id).ok_or_else(|| absent(id))?;
    match container.control() {
        Some(control) => Ok((container, control)),
        None => Err(not_running(id, container.facts().state)),
    }
}

fn problem(kind: ProblemKind, detail: String) -> Box<Problem> {
    Box::new(Problem::new(kind, detail))
}

fn absent(id: ContainerId) -> Box<Problem> {
    problem(ProblemKind::NotFound, format!("Container {id} is not on this machine (any more)"))
}

fn not_running(id: ContainerId, state: ContainerState) -> Box<Problem> {
    let state = serde_json::to_value(state).unwrap_or_default();
    let state = state.as_str().unwrap_or("not there");
    problem(ProblemKind::WrongState, format!("Container {id} is {state}: nothing runs in it"))
}

/// What runs is somebody's work: it is stopped first, and then removed by its execution. Of what nobody looks after an
/// engine may still have a container.
async fn remove(agent: &Agent, id: ContainerId) -> Result<ContainerAnswer, Box<Problem>> {
    if agent.containers.get(id).is_some() {
        let detail =
            format!("Container {id} belongs to an execution that runs; stop it, and it is removed by itself");
        return Err(problem(ProblemKind::WrongState, detail));
    }
    let removed = agent.offer.sweep(&move |found| found != id).await;
    if removed.iter().any(|cleanup| cleanup.id == id) {
        Ok(ContainerAnswer::Removed)
    } else {
        Err(absent(id))
    }
}

/// Its execution ends as cancelled, without the time to clean up that a stopped execution gets.
async fn stop(agent: &Agent, id: ContainerId, control: &dyn Control) -> Result<(), Box<Problem>> {
    let held = agent.leases.get(id.lease()).ok_or_else(|| absent(id))?;
    held.tell(Stopping::Cancel("its container was stopped".into()));
    control.signal(Signal::Kill).await.map_err(|error| machine_failed(&error))
}

fn steer(
    container: &Container,
    state: ContainerState,
    done: Result<(), SandboxError>,
) -> Result<(), Box<Problem>> {
    done.map_err(|error| machine_failed(&error))?;
    container.state(state);
    Ok(())
}

fn machine_failed(error: &SandboxError) -> Box<Problem> {
    problem(ProblemKind::Internal, error.to_string())
}

async fn stats(container: &Container, control: &dyn Control) -> ContainerStats {
    let (before, at): (Usage, _) = (control.usage().await, clock::now());
    tokio::time::sleep(MEASURED).await;
    let (usage, now) = (control.usage().await, clock::now());
    let limits = container.facts().limits.clone();
    ContainerStats {
        at_ms: clock::now_ms(),
        memory_bytes: usage.memory_bytes,
        memory_peak_bytes: usage.memory_peak_bytes,
        memory_limit_bytes: u64::from(limits.memory_mb) * 1024 * 1024,
        cpu_ms: usage.cpu_us / 1_000,
        cpu_percent: watch::cpu_percent(&before, &usage, now.duration_since(at)),
        processes: usage.processes,
        processes_limit: limits.processes,
        out_of_memory_kills: usage.out_of_memory_kills,
        refused_forks: usage.refused_forks,
    }
}
