//! The system that is measured: the built Worker in workerd without wrangler's proxy, a project, and executions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use shared_contracts::dispatch::LeasedExecution;
use shared_contracts::executions::{
    CodingAgent, CreateExecution, Execution, ExecutionState, RequestedLimits,
};
use shared_contracts::ids::{ExecutionId, ProjectId};
use shared_contracts::limits::PRIORITY_DEFAULT;
use shared_contracts::projects::CreateProject;
use shared_contracts::sandboxes::SandboxTier;
use shared_contracts::tasks::CreateTask;

use super::load::{self, Meter};
use super::scripted_agent::ScriptedAgent;
use super::stamps::Stamps;
use super::writer::Writer;
use crate::client::Client;
use crate::layout;
use crate::plane::{Agent, AgentOptions, Plane, PlaneOptions, Script, free_port};

const CONNECT_WITHIN: Duration = Duration::from_secs(30);
const ENDED_WITHIN: Duration = Duration::from_secs(90);
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

pub struct Stage {
    pub plane: Plane,
    pub client: Client,
    pub project: ProjectId,
    pub worker_pid: u32,
    /// The Worker of JavaScript beside ours, where the options ask for it.
    pub applier: Option<Client>,
}

/// How the Worker is run.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// The folder with `index.js` and `index_bg.wasm`.
    pub build: PathBuf,
    /// Count written rows, at some cost in speed.
    pub counts: bool,
    /// Run applier.mjs in the same workerd.
    pub applies: bool,
    pub inspector_port: Option<u16>,
}

impl Stage {
    pub async fn start(options: &WorkerOptions) -> Result<Self> {
        let applier_port = options.applies.then(free_port).transpose()?;
        let arguments = serde_json::json!({
            "build": options.build,
            "counts": options.counts,
            "applier_port": applier_port,
            "inspector_port": options.inspector_port,
        });
        let mut plane_options = PlaneOptions::scratch("bench");
        plane_options.owners = 1;
        plane_options.script = Some(Script {
            path: layout::repository().join("xtask/src/bench/miniflare.mjs"),
            arguments: vec![arguments.to_string()],
        });
        let plane = Plane::start(plane_options).await?;
        let worker_pid = load::workerd_below(plane.pid().context("miniflare does not run")?)?;
        let client = plane.client()?;
        let project = CreateProject { name: "bench".into(), description: String::new() };
        let project = client.create_project(&project).await;
        let project = project.with_context(|| format!("the plane said last:\n{}", plane.log_tail(20)))?.id;
        let applier =
            applier_port.map(|port| Client::new(&format!("http://127.0.0.1:{port}"), "").without_token());
        Ok(Self { plane, client, project, worker_pid, applier })
    }

    pub fn meter(&self) -> Meter {
        Meter::start(self.worker_pid)
    }

    /// A task of its own, executed with this command.
    pub async fn execute(&self, command: &[&str]) -> Result<Execution> {
        let task =
            CreateTask { title: "bench".into(), description: String::new(), priority: PRIORITY_DEFAULT };
        let task = self.client.create_task(self.project, &task).await?;
        let request = CreateExecution {
            coding_agent: CodingAgent::Command,
            command: command.iter().map(ToString::to_string).collect(),
            environment: Default::default(),
            limits: RequestedLimits { wall_seconds: Some(300), ..RequestedLimits::default() },
            artifacts: Vec::new(),
            archive_artifacts: false,
            priority: PRIORITY_DEFAULT,
            sandbox_tier: Some(SandboxTier::None),
            sandbox_provider: None,
            image: None,
            terminal: None,
            secrets: Vec::new(),
            revision: None,
        };
        Ok(self.client.create_execution(self.project, task.id, &request).await?)
    }

    pub async fn succeeded(&self, execution: ExecutionId) -> Result<Execution> {
        let ended = self.client.poll_until_ended(execution, ENDED_WITHIN).await?;
        if ended.state != ExecutionState::Succeeded {
            let reason = ended.reason.as_deref().unwrap_or("no reason is recorded");
            bail!("execution {execution} is {}: {reason}", ended.state.as_str());
        }
        Ok(ended)
    }

    /// The real container agent.
    pub async fn agent(&self) -> Result<Agent> {
        let mut agent = Agent::start(&self.plane, AgentOptions::named("real"))?;
        agent.connected(&self.client, CONNECT_WITHIN).await?;
        Ok(agent)
    }

    pub async fn stop_agent(&self, mut agent: Agent) -> Result<()> {
        agent.terminate(DRAIN_WITHIN).await.map(drop)
    }

    pub async fn scripted_agent(&self) -> Result<ScriptedAgent> {
        let client = self.client.with_token(&self.plane.owner(0)?.agent_token);
        ScriptedAgent::connect(&client, "scripted").await
    }

    /// An execution that runs, leased to the scripted agent, written by the bench.
    pub async fn written(&self, agent: &mut ScriptedAgent, stamps: &Stamps) -> Result<Writer> {
        let execution = self.execute(&["bench"]).await?;
        let leased: LeasedExecution = agent.take().await?;
        if leased.lease.execution_id != execution.id {
            bail!("{} was leased instead of {}", leased.lease.execution_id, execution.id);
        }
        let mut writer = Writer::open(&self.client, &leased, stamps).await?;
        writer.run().await?;
        Ok(writer)
    }

    /// Ends a written execution.
    pub async fn finish(&self, agent: &ScriptedAgent, mut writer: Writer) -> Result<()> {
        writer.end().await?;
        agent.forget(writer.lease);
        self.succeeded(writer.lease.execution_id).await.map(drop)
    }

    pub fn folder(&self) -> &Path {
        self.plane.state_folder()
    }
}
