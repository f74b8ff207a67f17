//! The main job on a real repository, step by step, each step timed: what a person sees first of Patchbay.

mod change;
mod live_log;
mod repository;
mod show_patch;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shared_contracts::events::EventBody;
use shared_contracts::executions::{
    CodingAgent, CreateExecution, Execution, ExecutionState, RequestedLimits,
};
use shared_contracts::ids::ExecutionId;
use shared_contracts::limits::PRIORITY_DEFAULT;
use shared_contracts::patches::Patch;
use shared_contracts::projects::{CreateProject, Project};
use shared_contracts::tasks::{CreateTask, Task};
use shared_contracts::workspaces::ImportReceipt;

use crate::client::Client;
use crate::plane::{Agent, AgentOptions, Plane, PlaneOptions};
use crate::setup::Extent;
use crate::terminal::{self, Tone, tone};
use crate::{build, layout, random, setup};
use change::Change;
use repository::Repository;

const CONNECT_WITHIN: Duration = Duration::from_secs(20);
const RECORD_WITHIN: Duration = Duration::from_secs(10);
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
const WALL_SECONDS: u32 = 300;

#[derive(Debug, Clone)]
pub struct Options {
    pub repo: Option<PathBuf>,
    pub tests: Option<String>,
    pub keep: bool,
}

pub fn run(options: Options) -> Result<()> {
    let started = Instant::now();
    setup::everything(Extent::Running)?;
    terminal::heading("Build");
    build::worker()?;
    build::agent()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            done = show(&options) => done,
            stopped = crate::process::stop_signal() => {
                stopped?;
                bail!("stopped by a signal; everything the demo started is ended")
            }
        }
    })?;
    let took = terminal::seconds(started.elapsed());
    terminal::line(&format!("\n{} {took} in all.", tone(Tone::Good, "Done.")));
    Ok(())
}

/// From here on everything that was started ends when this returns, however it does.
async fn show(options: &Options) -> Result<()> {
    // 1. The real thing: the Worker's WASM in workerd, one container agent.
    terminal::step(1, "Start the Worker and a container agent");
    let mut plane_options = PlaneOptions::scratch("demo");
    plane_options.is_removed = !options.keep;
    plane_options.owners = 1;
    let started = Instant::now();
    let plane = Plane::start(plane_options).await?;
    terminal::found("Worker", &plane.url(), Some(started.elapsed()));
    let client = plane.client()?;
    let started = Instant::now();
    let mut agent = Agent::start(&plane, AgentOptions::named("demo"))?;
    let record = agent.connected(&client, CONNECT_WITHIN).await?;
    let tier = record.sandbox_tier.as_str();
    terminal::found("container agent", &format!("connected, sandbox {tier}"), Some(started.elapsed()));

    let outcome = main_job(options, &plane, &client).await;
    if outcome.is_err() {
        let logs = [plane.log_path(), agent.log_path().to_owned()];
        keep_logs(&logs);
    }
    outcome?;

    // 9. SIGTERM drains the container agent; the Worker goes last.
    terminal::step(9, "Stop everything");
    let started = Instant::now();
    let status = agent.terminate(DRAIN_WITHIN).await?;
    let word = status
        .map_or("did not drain in time and was killed".to_owned(), |status| format!("drained, {status}"));
    terminal::found("container agent", &word, Some(started.elapsed()));
    drop(agent);
    let started = Instant::now();
    let kept = plane.state_folder().to_owned();
    plane.stop().await?;
    terminal::found("Worker", "stopped", Some(started.elapsed()));
    if options.keep {
        terminal::found("state", &kept.display().to_string(), None);
    }
    Ok(())
}

async fn main_job(options: &Options, plane: &Plane, client: &Client) -> Result<()> {
    // 2. A repository's HEAD, as git itself archives it.
    terminal::step(2, "Import a repository");
    let repo = options.repo.clone().unwrap_or_else(layout::repository);
    let repository = Repository::archive(&repo, plane.state_folder())?;
    let change = Change::choose(&repository.tree, options.tests.as_deref())?;
    let project = CreateProject { name: repository.name.clone(), description: String::new() };
    let project = client.create_project(&project).await?;
    let receipt = import(client, &project, &repository).await?;

    // 3. What is to be done.
    terminal::step(3, "Create a task");
    let task = CreateTask {
        title: "Leave a note about Patchbay, tidy up, run the tests".into(),
        description: change.description(),
        priority: PRIORITY_DEFAULT,
    };
    let task = client.create_task(project.id, &task).await?;
    terminal::found("task", &format!("{} ({})", task.title, task.state.as_str()), None);

    // 4. One try at it, in a sandbox without a network; the log as it comes.
    terminal::step(4, "Execute it with coding agent `command`, and watch");
    let execution = execute(client, &project, &task, &change, receipt.revision.revision).await?;

    // 5. What the overlay holds against the base revision, as a batch.
    terminal::step(5, "The proposed patch");
    let patch_batch = execution.patch_batch_id.context("the execution succeeded and proposed no patch")?;
    let patch = client.get_patch(patch_batch).await?;
    show_patch::show(&patch, &repository.tree)?;

    // 6. All of it or nothing.
    terminal::step(6, "Apply it");
    let receipt = apply(client, &patch).await?;

    // 7. The same edits made here, without Patchbay, must give the same tree.
    terminal::step(7, "Check the new revision against the same edits made here");
    verify::verify(client, &project, &repository, &change, &receipt).await?;

    // 8. Where the task stands.
    terminal::step(8, "Look at the records");
    let task = client.get_task(project.id, task.id).await?;
    terminal::found("task", task.state.as_str(), None);
    let events = client.all_events(execution.id).await?;
    terminal::found("events", &format!("{}, numbered without a gap", events.len()), None);
    if !events.iter().map(|event| event.sequence).eq(1..=events.len() as u64) {
        bail!("the stored events are not numbered 1, 2, 3, …");
    }
    Ok(())
}

async fn import(client: &Client, project: &Project, repository: &Repository) -> Result<ImportReceipt> {
    let started = Instant::now();
    // A large tree goes in parts, of which each is small.
    let receipt = if repository.tar.len() as u64 <= repository::ONE_TAR_BYTES_MAX {
        client.import_workspace(project.id, repository.tar.clone()).await?
    } else {
        client.import_in_parts(project.id, &repository.tree).await?.receipt
    };
    let detail = format!(
        "{} at {}: {} files, {}",
        repository.path.display(),
        repository.commit,
        receipt.revision.file_count,
        terminal::bytes(receipt.revision.total_bytes)
    );
    terminal::found(&format!("revision {}", receipt.revision.revision), &detail, Some(started.elapsed()));
    Ok(receipt)
}

async fn execute(
    client: &Client,
    project: &Project,
    task: &Task,
    change: &Change,
    revision: u64,
) -> Result<Execution> {
    let request = CreateExecution {
        coding_agent: CodingAgent::Command,
        command: vec!["/bin/bash".into(), "-c".into(), change.script()],
        environment: BTreeMap::new(),
        limits: RequestedLimits { wall_seconds: Some(WALL_SECONDS), ..RequestedLimits::default() },
        artifacts: Vec::new(),
        archive_artifacts: false,
        priority: PRIORITY_DEFAULT,
        sandbox_tier: None,
        sandbox_provider: None,
        image: None,
        terminal: None,
        secrets: Vec::new(),
        revision: Some(revision),
    };
    let started = Instant::now();
    let execution = client.create_execution(project.id, task.id, &request).await?;
    let mut watcher = client.watch(execution.id, 0);
    while let Some(event) = watcher.next().await? {
        live_log::show(&event, started.elapsed());
        if let EventBody::Lost { .. } = event.body {
            terminal::notice("the container agent was lost; another lease follows");
        }
    }
    // The record follows the terminal event by one update of D1.
    let execution = client.poll_until_ended(execution.id, RECORD_WITHIN).await?;
    succeeded(execution, watcher.last_sequence())
}

fn succeeded(execution: Execution, events: u64) -> Result<Execution> {
    let id: ExecutionId = execution.id;
    if execution.state != ExecutionState::Succeeded {
        bail!(
            "execution {id} is {} after {events} events: {}",
            execution.state.as_str(),
            execution.reason.as_deref().unwrap_or("no reason is recorded")
        );
    }
    Ok(execution)
}

async fn apply(client: &Client, patch: &Patch) -> Result<shared_contracts::patches::Receipt> {
    let started = Instant::now();
    let key = format!("demo-{}", random::secret()?);
    let client = client.with_idempotency_key(&key);
    let receipt = client.apply_patches(patch.summary.id).await?;
    let took = started.elapsed();
    show_patch::show_receipt(&receipt, took);
    // The same key again must give the same receipt, and no third revision.
    if client.apply_patches(patch.summary.id).await? != receipt {
        bail!("the same apply, sent again with the same Idempotency-Key, gave another receipt");
    }
    terminal::found("sent again", "the same receipt; nothing happened twice", None);
    Ok(receipt)
}

/// The state folder goes when the demo ends; what explains a failure stays.
fn keep_logs(logs: &[PathBuf]) {
    let folder = layout::state();
    for log in logs {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let kept = folder.join(format!("last-demo-{name}"));
        if std::fs::copy(log, &kept).is_ok() {
            terminal::notice(&format!("kept {}", kept.display()));
        }
    }
}
