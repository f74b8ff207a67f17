//! A container agent: the real binary, on this machine, connected to a plane.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use shared_contracts::container_agents::{ContainerAgent, ContainerAgentState};
use shared_contracts::page::PageQuery;

use super::Plane;
use super::state_folder::append_private;
use crate::build;
use crate::client::Client;
use crate::process::Group;
use crate::random;

const CONNECT_POLL: Duration = Duration::from_millis(50);
const LOG_LINES_SHOWN: usize = 20;

#[derive(Debug, Clone)]
pub struct AgentOptions {
    pub name: String,
    /// Executions at once.
    pub capacity: u32,
    /// The first owner's container agent token unless given.
    pub token: Option<String>,
    /// The plane's own unless given; a proxy that loses connections, for example.
    pub url: Option<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
}

impl AgentOptions {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), capacity: 4, token: None, url: None, environment: Vec::new() }
    }
}

/// A started container agent. Dropping it sends SIGTERM, then SIGKILL to its group.
#[derive(Debug)]
pub struct Agent {
    group: Group,
    name: String,
    /// When the present process started; a connection from before is another process's.
    started_at_ms: u64,
    command: Startable,
}

/// What it takes to start it again.
#[derive(Debug)]
struct Startable {
    environment: Vec<(String, String)>,
    log: PathBuf,
    state_folder: PathBuf,
}

impl Agent {
    /// Starts `patchbay-agent run`; the binary must be built ([`crate::build::agent`]). See [`Self::connected`].
    pub fn start(plane: &Plane, options: AgentOptions) -> Result<Self> {
        let state_folder = plane.state_folder().join("agents").join(&options.name);
        fs::create_dir_all(&state_folder)
            .with_context(|| format!("cannot make {}", state_folder.display()))?;
        let token = match options.token {
            Some(token) => token,
            None => plane.owner(0)?.agent_token.clone(),
        };
        let mut environment = vec![
            ("PATCHBAY_URL".to_owned(), options.url.unwrap_or_else(|| plane.url())),
            ("PATCHBAY_TOKEN".to_owned(), token),
            ("PATCHBAY_NAME".to_owned(), options.name.clone()),
            ("PATCHBAY_CAPACITY".to_owned(), options.capacity.to_string()),
            ("PATCHBAY_STATE_DIR".to_owned(), state_folder.display().to_string()),
        ];
        environment.extend(options.environment);
        let log = plane.state_folder().join(format!("agent-{}.log", options.name));
        let command = Startable { environment, log, state_folder };
        let started_at_ms = random::now_ms();
        Ok(Self { group: command.spawn()?, name: options.name, started_at_ms, command })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.group.pid()
    }

    pub fn log_path(&self) -> &Path {
        &self.command.log
    }

    /// Its spool, blob cache and overlays.
    pub fn state_folder(&self) -> &Path {
        &self.command.state_folder
    }

    /// Waits until the plane lists it as connected since its process started.
    pub async fn connected(&mut self, client: &Client, within: Duration) -> Result<ContainerAgent> {
        let started = Instant::now();
        loop {
            let page = client.list_container_agents(&PageQuery { after: None, limit: Some(100) }).await?;
            let found = page.items.into_iter().find(|agent| {
                agent.name == self.name
                    && agent.state == ContainerAgentState::Connected
                    && agent.connected_at_ms >= self.started_at_ms
            });
            if let Some(agent) = found {
                return Ok(agent);
            }
            if let Some(status) = self.group.try_wait()? {
                bail!(
                    "the container agent {} ended ({status}); it said last:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if started.elapsed() > within {
                bail!(
                    "the container agent {} was not connected after {} s; it said last:\n{}",
                    self.name,
                    within.as_secs(),
                    self.log_tail()
                );
            }
            tokio::time::sleep(CONNECT_POLL).await;
        }
    }

    /// SIGTERM: it drains and ends. None when it still runs after this time.
    pub async fn terminate(&mut self, within: Duration) -> Result<Option<ExitStatus>> {
        self.group.signal_child(Signal::TERM);
        self.group.wait_for(within).await
    }

    /// SIGKILL to the container agent alone, as when its machine runs out of memory.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.group.kill_child_alone()
    }

    /// Any signal, to the container agent alone; SIGSTOP makes a machine that hangs.
    pub fn signal(&self, signal: Signal) {
        self.group.signal_child(signal);
    }

    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.group.try_wait()
    }

    /// Starts it again with the same name, token and state folder, after it has ended.
    pub fn restart(&mut self) -> Result<()> {
        self.started_at_ms = random::now_ms();
        self.group = self.command.spawn()?;
        Ok(())
    }

    fn log_tail(&self) -> String {
        let bytes = fs::read(&self.command.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all.get(all.len().saturating_sub(LOG_LINES_SHOWN)..).unwrap_or_default().join("\n")
    }
}

impl Startable {
    fn spawn(&self) -> Result<Group> {
        let binary = build::agent_path();
        if !binary.exists() {
            bail!("{} is not built; run `cargo xtask build`", binary.display());
        }
        let log = append_private(&self.log)?;
        let errors = log.try_clone().context("cannot write the log twice")?;
        let mut command = Command::new(binary);
        command
            .arg("run")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.state_folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        Group::spawn(&mut command)
    }
}
