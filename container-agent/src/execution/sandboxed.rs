//! The middle of an execution: its sandbox, prepared, run to the end, and run again where somebody asks for it.

use std::sync::Arc;
use std::time::Duration;

use shared_contracts::containers::{ContainerFacts, ContainerState};
use shared_contracts::events::{ContainerStatus, EventBody, EventSource, LogLevel};
use shared_contracts::executions::{ExecutionState, Outcome};
use tokio::sync::oneshot;

use super::{Ending, Execution, NoLongerOurs};
use crate::containers::Container;
use crate::lease::Stopping;
use crate::offer::Chosen;
use crate::output::reader;
use crate::sandbox::{
    Collected, Exit, Mounts, Owner, PlacedFile, Sandbox, SandboxError, SandboxSpec, Signal, Started, Usage,
};
use crate::way_out::{self, WayOut};
use crate::workspace::{Tree, closed};
use crate::{clock, environment, secrets, watch};

/// How it went, and what the payload left.
pub struct Ran {
    pub ending: Ending,
    pub left: Option<Left>,
}

/// To be read, and then removed.
pub struct Left {
    pub collected: Arc<Collected>,
    pub sandbox: Box<dyn Sandbox>,
}

impl From<Ending> for Ran {
    fn from(ending: Ending) -> Self {
        Self { ending, left: None }
    }
}

/// One run of the command.
enum Run {
    Ended(Ending),
    Again,
}

impl Execution {
    pub(super) async fn run_in_sandbox(&self, tree: &Tree, last: &mut Usage) -> Result<Ran, NoLongerOurs> {
        // 1. Which sandbox, and what is in it.
        let need = self.leased.spec.sandbox_need();
        let chosen = tokio::select! {
            chosen = self.agent.offer.choose(&need) => chosen,
            ending = self.stopped() => return Ok(ending?.into()),
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(reason) => return Ok(self.broken(reason).into()),
        };
        let entered = self.agent.containers.enter(self.facts(&chosen));
        loop {
            // 2. Prepared anew each time: nothing of an earlier run is in it.
            let prepared = tokio::select! {
                prepared = chosen.provider.prepare(self.sandbox_spec(tree, &chosen)) => prepared,
                ending = self.stopped() => return Ok(ending?.into()),
            };
            let mut sandbox = match prepared {
                Ok(sandbox) => sandbox,
                Err(error) => {
                    entered.container.state(ContainerState::Error);
                    return Ok(self.broken(error.to_string()).into());
                }
            };
            // 3. The coding agent, until its end.
            let run = self.run_payload(sandbox.as_mut(), &entered.container).await;
            *last = sandbox.control().usage().await;
            entered.container.ran(matches!(run, Ok(Run::Again)));
            let ending = match run {
                Ok(Run::Ended(ending)) => ending,
                Ok(Run::Again) => {
                    sandbox.remove().await;
                    self.container(ContainerStatus::Creating, "it is started again");
                    continue;
                }
                Err(gone) => {
                    sandbox.remove().await;
                    return Err(gone);
                }
            };
            match closed::collect(sandbox.as_mut()).await {
                Ok(collected) => {
                    self.container(ContainerStatus::Stopped, &ending.reason);
                    let left = Some(Left { collected: Arc::new(collected), sandbox });
                    return Ok(Ran { ending, left });
                }
                Err(error) => {
                    sandbox.remove().await;
                    let text = format!("what it left could not be read: {error}");
                    self.spool.note(LogLevel::Error, text.clone());
                    return Ok(match ending.outcome {
                        Outcome::Succeeded => self.broken(text).into(),
                        _ => ending.into(),
                    });
                }
            }
        }
    }

    fn facts(&self, chosen: &Chosen<'_>) -> ContainerFacts {
        ContainerFacts {
            id: self.leased.lease.into(),
            project_id: self.leased.project_id,
            task_id: self.leased.task_id,
            provider: chosen.kind,
            image: chosen.image.clone(),
            state: ContainerState::Creating,
            limits: self.leased.spec.limits.clone(),
            restarts: 0,
            created_at_ms: clock::now_ms(),
            started_at_ms: None,
        }
    }

    fn sandbox_spec(&self, tree: &Tree, chosen: &Chosen<'_>) -> SandboxSpec {
        let leased = &self.leased;
        let lease = leased.lease;
        let prompt = PlacedFile { path: environment::PROMPT_FILE.into(), text: leased.prompt.clone() };
        let mut environment = environment::of(&self.agent.settings, leased);
        let egress = way_out::announce(&leased.egress, &mut environment);
        SandboxSpec {
            name: format!("{}-g{}", lease.execution_id, lease.generation),
            owner: Some(Owner { project_id: leased.project_id, task_id: leased.task_id, lease }),
            directory: self.directory.clone(),
            mounts: Mounts {
                workspace: tree.path().to_owned(),
                image: chosen.mounted.clone(),
                files: std::iter::once(prompt).chain(secrets::files(&leased.secrets)).collect(),
            },
            command: leased.spec.command.clone(),
            environment: environment::complete(&self.agent.settings, &chosen.environment, environment),
            limits: leased.spec.limits.clone(),
            egress,
            terminal: leased.spec.terminal,
            slot: self.held.slot,
        }
    }

    async fn run_payload(
        &self,
        sandbox: &mut dyn Sandbox,
        container: &Container,
    ) -> Result<Run, NoLongerOurs> {
        let at = clock::now();
        let started = match sandbox.start().await {
            Ok(started) => started,
            Err(SandboxError::Command(reason)) => {
                self.spool.note(LogLevel::Error, reason.clone());
                return Ok(Run::Ended(Ending {
                    outcome: Outcome::Failed,
                    exit: Some(Exit::Code(127)),
                    reason,
                }));
            }
            Err(error) => return Ok(Run::Ended(self.broken(error.to_string()))),
        };
        let (read, way_out) = match self.connect(started) {
            Ok(connected) => connected,
            Err(reason) => return Ok(Run::Ended(self.broken(reason))),
        };
        let first = container.runs(sandbox.control());
        self.container(ContainerStatus::Running, "the sandbox runs");
        if first {
            let (state, message) = (ExecutionState::Running, "the coding agent runs".into());
            self.spool.event(EventSource::System, EventBody::Status { state, message });
        }
        let measured = tokio::spawn(watch::measure(sandbox.control(), Arc::clone(&self.spool)));
        let ended = self.wait(sandbox, container).await;
        measured.abort();
        if let Some(way_out) = way_out {
            way_out.close().await;
        }
        self.finish_reading(read).await?;
        let Some((exit, cause)) = ended? else { return Ok(Run::Again) };
        let usage = sandbox.control().usage().await;
        let limits = &self.leased.spec.limits;
        Ok(Run::Ended(watch::judge(exit, cause, &usage, limits, at.elapsed())))
    }

    /// Its output to the log, its way out to the network.
    fn connect(&self, started: Started) -> Result<(oneshot::Receiver<()>, Option<WayOut>), String> {
        let read = reader::start(started.output, Arc::clone(&self.spool))
            .map_err(|error| format!("cannot read the output: {error}"))?;
        let Some(listener) = started.egress else { return Ok((read, None)) };
        let spool = Arc::clone(&self.spool);
        let tell = move |told| way_out::write(&spool, told);
        let vouched = &self.agent.settings.egress_vouched;
        let way_out = way_out::open(listener, &self.leased.egress, vouched, tell)
            .map_err(|error| format!("the project's list of hosts is not valid: {error}"))?;
        Ok((read, Some(way_out)))
    }

    /// Until the payload ends by itself, by its time limit, or because it is told to. None: it is to run again.
    async fn wait(
        &self,
        sandbox: &mut dyn Sandbox,
        container: &Container,
    ) -> Result<Option<(Result<Exit, SandboxError>, watch::Cause)>, NoLongerOurs> {
        enum Told {
            Stop(watch::Cause),
            Again,
            Gone,
        }
        let control = sandbox.control();
        let limit = Duration::from_secs(self.leased.spec.limits.wall_seconds.into());
        let mut stop = self.held.stop.subscribe();
        let stopped = async {
            match stop.wait_for(|stop| *stop != Stopping::No).await.map(|stop| stop.clone()) {
                Ok(Stopping::Cancel(reason)) => Told::Stop(watch::Cause::Cancelled(reason)),
                _ => Told::Gone,
            }
        };
        let told = tokio::select! {
            exit = sandbox.wait() => return Ok(Some((exit, watch::Cause::Itself))),
            () = tokio::time::sleep(limit) => Told::Stop(watch::Cause::TimeLimit),
            told = stopped => told,
            () = container.restart_asked() => Told::Again,
        };
        match told {
            Told::Gone => {
                let _ = control.signal(Signal::Kill).await;
                Err(NoLongerOurs)
            }
            Told::Again => {
                let _ = control.signal(Signal::Kill).await;
                let _ = sandbox.wait().await;
                Ok(None)
            }
            Told::Stop(cause) => {
                // It may clean up; then everything inside is killed.
                let _ = control.signal(Signal::Terminate).await;
                let exit = tokio::select! {
                    exit = sandbox.wait() => exit,
                    () = tokio::time::sleep(watch::GRACE) => {
                        let _ = control.signal(Signal::Kill).await;
                        sandbox.wait().await
                    }
                };
                Ok(Some((exit, cause)))
            }
        }
    }

    /// Nothing runs any more, so the pipes end; what is in them may wait for the hub to make room.
    async fn finish_reading(&self, read: oneshot::Receiver<()>) -> Result<(), NoLongerOurs> {
        tokio::select! {
            _ = read => Ok(()),
            gone = self.not_ours() => Err(gone),
        }
    }
}
