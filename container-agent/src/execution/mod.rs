//! One execution under one lease, from the lease to the acknowledged terminal event. The phases in order:
//! materialise, prepare, run, collect, end. Whatever fails, the terminal event says so; only a lease that is gone or
//! given up ends without one. What happens in the sandbox is in [`sandboxed`].

mod sandboxed;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared_contracts::dispatch::LeasedExecution;
use shared_contracts::events::{self, ContainerStatus, EventBody, EventSource, LogLevel};
use shared_contracts::executions::Outcome;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::MIB;

use crate::lease::{Held, Stopping};
use crate::output::sender::{SendEnd, Sender};
use crate::output::spool::{Rules, Spool};
use crate::record::{Record, directory_of};
use crate::run::Agent;
use crate::sandbox::{Exit, Usage};
use crate::{clock, report, secrets};

/// How long a giving-up execution may still flush its log.
const ABANDON_FLUSH: Duration = Duration::from_secs(3);

/// Everything one execution's phases share.
pub struct Execution {
    pub agent: Arc<Agent>,
    pub leased: LeasedExecution,
    pub held: Arc<Held>,
    pub spool: Arc<Spool>,
    pub directory: PathBuf,
    /// Why a secret of it could not be kept out of its log: it does not run then.
    unredactable: Option<String>,
}

/// How it ended, before the terminal event says so.
#[derive(Debug, Clone)]
pub struct Ending {
    pub outcome: Outcome,
    pub exit: Option<Exit>,
    pub reason: String,
}

impl Ending {
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, exit: None, reason: reason.into() }
    }
}

/// What came first: the end of all phases, or the end of the log.
enum Finish {
    Written,
    Left,
    Cut(Option<SendEnd>),
}

/// The lease is gone or given up: no terminal event.
#[derive(Debug)]
pub struct NoLongerOurs;

pub fn spawn(agent: Arc<Agent>, leased: LeasedExecution) {
    let held = Held::new(leased.lease, agent.leases.free_slot(), leased.execution_token.clone());
    agent.leases.insert(&held);
    tokio::spawn(async move {
        let lease = leased.lease;
        let directory = directory_of(&agent.executions, lease);
        tracing::info!(execution = %lease.execution_id, generation = lease.generation, "leased");
        let given_up = run(Arc::clone(&agent), leased, held, directory.clone()).await.unwrap_or_else(|error| {
            tracing::error!(execution = %lease.execution_id, %error, "cannot keep a log here; given back to the plane");
            Some(format!("its container agent cannot write its log: {error}"))
        });
        let _ = tokio::fs::remove_dir_all(&directory).await;
        match given_up {
            Some(reason) => agent.abandon(lease, reason),
            None => agent.leases.remove(lease),
        }
        tracing::info!(execution = %lease.execution_id, generation = lease.generation, "finished");
    });
}

/// Gives the reason, where the plane must be told that this lease is given up.
async fn run(
    agent: Arc<Agent>,
    leased: LeasedExecution,
    held: Arc<Held>,
    directory: PathBuf,
) -> std::io::Result<Option<String>> {
    // 1. The log, before anything that could fail.
    tokio::fs::create_dir_all(&directory).await?;
    Record::of(&leased).save(&directory)?;
    let (rules, unredactable) = rules(&leased);
    let spool = Arc::new(Spool::create(&directory, leased.lease.generation, leased.next_sequence, rules));
    let sender = Sender {
        plane: Arc::clone(&agent.plane),
        held: Arc::clone(&held),
        spool: Arc::clone(&spool),
        flush_only: false,
    };
    let mut sending = tokio::spawn(sender.run());
    let keeping = tokio::spawn(keep_record(Record::of(&leased), Arc::clone(&held), directory.clone()));
    let execution = Execution { agent, leased, held, spool, directory, unredactable };
    // 2. All phases; or, first, the hub's word that this log is no longer ours, or a disk that takes no more of it.
    let finish = tokio::select! {
        played = execution.play() => if played.is_ok() { Finish::Written } else { Finish::Left },
        end = &mut sending => Finish::Cut(end.ok()),
        failure = execution.spool.failed() => {
            execution.held.tell(Stopping::Abandon(failure));
            Finish::Left
        }
    };
    let given_up = match finish {
        // 3. The terminal event is written: stay until the hub has it.
        Finish::Written => {
            let end = sending.await;
            execution.log_end(end.ok());
            None
        }
        // The phases' future was dropped, and with it the sandbox and all that ran in it.
        Finish::Cut(end) => {
            let refused = match &end {
                Some(SendEnd::Refused(detail)) => Some(format!("the hub refused its log: {detail}")),
                _ => None,
            };
            execution.log_end(end);
            execution.held.tell(Stopping::Gone("the hub does not take this log any more".into()));
            execution.spool.abandon();
            refused
        }
        Finish::Left => execution.leave(sending).await,
    };
    keeping.abort();
    Ok(given_up)
}

/// What may be in its log; and why it cannot run, if a secret could not be kept out of it.
fn rules(leased: &LeasedExecution) -> (Rules, Option<String>) {
    let log_bytes_max = u64::from(leased.spec.limits.output_mb) * MIB;
    match secrets::redactor(leased) {
        Ok(redactor) => (Rules { log_bytes_max, redactor }, None),
        Err(refused) => (Rules { log_bytes_max, redactor: None }, Some(refused.to_string())),
    }
}

/// The record follows the token's renewals.
async fn keep_record(mut record: Record, held: Arc<Held>, directory: PathBuf) {
    let mut tokens = held.tokens();
    while tokens.changed().await.is_ok() {
        record.execution_token.clone_from(&tokens.borrow_and_update());
        if let Err(error) = record.save(&directory) {
            tracing::warn!(%error, "the renewed token could not be saved");
        }
    }
}

impl Execution {
    /// Every phase. Ends with the terminal event in the spool.
    async fn play(&self) -> Result<(), NoLongerOurs> {
        let started = clock::now();
        let mut last = Usage::default();
        let (ending, patch) = self.work(&mut last).await?;
        let dropped = self.spool.dropped_lines();
        if dropped > 0 {
            self.spool.note(LogLevel::Warn, format!("{dropped} more lines were only counted"));
        }
        let (exit_code, exit_signal) = match ending.exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        let usage = events::Usage {
            wall_ms: milliseconds(started),
            cpu_ms: last.cpu_us / 1_000,
            memory_peak_bytes: last.memory_peak_bytes,
        };
        let Ending { outcome, reason, .. } = ending;
        let body = EventBody::Ended { outcome, exit_code, exit_signal, reason, usage, patch_batch_id: patch };
        self.spool.event(EventSource::System, body);
        self.require_spool()
    }

    /// A log that cannot be written has no end either: another machine, with room, begins again.
    fn require_spool(&self) -> Result<(), NoLongerOurs> {
        match self.spool.failure() {
            None => Ok(()),
            Some(failure) => {
                self.held.tell(Stopping::Abandon(failure));
                Err(NoLongerOurs)
            }
        }
    }

    async fn work(&self, last: &mut Usage) -> Result<(Ending, Option<PatchBatchId>), NoLongerOurs> {
        if let Some(refused) = &self.unredactable {
            return Ok((self.broken(format!("a secret could not be kept out of the log: {refused}")), None));
        }
        // 1. The workspace.
        self.container(ContainerStatus::Creating, "materialising the workspace");
        let spec = &self.leased.spec;
        let tree = tokio::select! {
            tree = self.agent.workspaces.materialise(&self.held, self.leased.project_id, spec.base_revision) => tree,
            ending = self.stopped() => return Ok((ending?, None)),
        };
        let tree = match tree {
            Ok(tree) => tree,
            Err(error) => {
                return Ok((self.broken(format!("the workspace could not be materialised: {error}")), None));
            }
        };
        // 2. The sandbox, and the coding agent in it, until its end.
        let ran = self.run_in_sandbox(&tree, last).await?;
        let sandboxed::Ran { mut ending, left } = ran;
        // 3. What it left behind, also where it failed.
        let Some(sandboxed::Left { collected, sandbox }) = left else { return Ok((ending, None)) };
        let report = async {
            report::artifacts::upload(self, &collected).await?;
            report::patch::propose(self, &tree, &collected).await
        };
        let reported = tokio::select! {
            reported = report => Ok(reported),
            gone = self.not_ours() => Err(gone),
        };
        // Not before: where it is not in memory, it goes with its sandbox.
        sandbox.remove().await;
        let patch = match reported? {
            Ok(patch) => patch,
            Err(report::ReportError::LeaseGone) => return Err(NoLongerOurs),
            Err(report::ReportError::Failed(reason)) => {
                self.spool.note(LogLevel::Error, reason.clone());
                if ending.outcome == Outcome::Succeeded {
                    ending = Ending { outcome: Outcome::Failed, exit: ending.exit, reason };
                }
                None
            }
        };
        Ok((ending, patch))
    }

    fn container(&self, status: ContainerStatus, message: &str) {
        self.spool
            .event(EventSource::Container, EventBody::ContainerStatus { status, message: message.into() });
    }

    /// The machine's fault, not the coding agent's.
    fn broken(&self, reason: impl Into<String>) -> Ending {
        let reason = reason.into();
        tracing::error!(execution = %self.leased.lease.execution_id, %reason, "the execution failed before its end");
        self.container(ContainerStatus::Error, &reason);
        Ending::failed(reason)
    }

    /// Comes when this execution is told to stop.
    async fn stopped(&self) -> Result<Ending, NoLongerOurs> {
        let mut stop = self.held.stop.subscribe();
        match stop.wait_for(|stop| *stop != Stopping::No).await.map(|stop| stop.clone()) {
            Ok(Stopping::Cancel(reason)) => Ok(Ending { outcome: Outcome::Cancelled, exit: None, reason }),
            _ => Err(NoLongerOurs),
        }
    }

    async fn not_ours(&self) -> NoLongerOurs {
        let ours = |stop: &Stopping| matches!(stop, Stopping::No | Stopping::Cancel(_));
        let _ = self.held.stop.subscribe().wait_for(|stop| !ours(stop)).await;
        NoLongerOurs
    }

    /// Gone: silently. Given up: what was logged goes to the hub, then the plane hears it.
    async fn leave(&self, sending: tokio::task::JoinHandle<SendEnd>) -> Option<String> {
        let abandoned = match &*self.held.stop.borrow() {
            Stopping::Abandon(reason) => Some(reason.clone()),
            _ => None,
        };
        if abandoned.is_some() {
            let flushed = async {
                while !self.spool.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let _ = tokio::time::timeout(ABANDON_FLUSH, flushed).await;
        }
        self.spool.abandon();
        sending.abort();
        abandoned
    }

    fn log_end(&self, end: Option<SendEnd>) {
        match end {
            Some(SendEnd::Complete) => {}
            other => {
                let lease = self.leased.lease;
                tracing::warn!(execution = %lease.execution_id, generation = lease.generation, end = ?other, "the log ended early");
            }
        }
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
