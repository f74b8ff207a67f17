//! wrangler: the Worker's runtime on this machine, and the way to its D1.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use super::Script;
use super::state_folder::{append_private, vars_file, worker_folder};
use crate::client::Client;
use crate::process::{Group, run, text_of};
use crate::{build, layout};

const READY_WITHIN: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
const DATABASE: &str = "patchbay";
const LOG_LINES_SHOWN: usize = 30;

#[derive(Debug)]
pub struct Wrangler {
    folder: PathBuf,
    port: u16,
    log_level: &'static str,
    script: Option<Script>,
    /// Of another Worker than ours.
    config: Option<PathBuf>,
    group: Option<Group>,
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port on 127.0.0.1")?;
    Ok(listener.local_addr().context("a listener has no address")?.port())
}

impl Wrangler {
    pub fn new(folder: &Path, port: u16, log_level: &'static str, script: Option<Script>) -> Result<Self> {
        if !build::wasm().exists() {
            bail!("the Worker is not built; run `cargo xtask build`");
        }
        Ok(Self { folder: folder.to_owned(), port, log_level, script, config: None, group: None })
    }

    /// Another Worker, whose service bindings find this one. It answers `GET /ready` when it is.
    pub fn beside(&self, config: &Path) -> Result<Self> {
        let port = free_port()?;
        let (folder, config) = (self.folder.clone(), Some(config.to_owned()));
        Ok(Self { folder, port, log_level: self.log_level, script: None, config, group: None })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder.join("worker.log")
    }

    pub fn pid(&self) -> Option<u32> {
        self.group.as_ref().map(Group::pid)
    }

    pub fn apply_migrations(&self) -> Result<()> {
        let mut command = self.command(&["d1", "migrations", "apply", DATABASE, "--local"]);
        run("applying D1's migrations", &mut command).map(drop)
    }

    pub fn execute_file(&self, file: &Path) -> Result<()> {
        let mut command = self.command(&["d1", "execute", DATABASE, "--local", "--yes"]);
        run("writing the first owners and tokens", command.arg("--file").arg(file)).map(drop)
    }

    pub fn sql(&self, statement: &str) -> Result<Vec<serde_json::Value>> {
        let mut command = self.command(&["d1", "execute", DATABASE, "--local", "--yes", "--json"]);
        let text = text_of(command.arg("--command").arg(statement))?;
        let answers: Vec<Answer> =
            serde_json::from_str(&text).with_context(|| format!("wrangler's answer is not JSON: {text}"))?;
        Ok(answers.into_iter().flat_map(|answer| answer.results).collect())
    }

    /// Starts the Worker and waits for `GET /ready`.
    pub async fn start(&mut self) -> Result<()> {
        let log = append_private(&self.log_path())?;
        let errors = log.try_clone().context("cannot write the log twice")?;
        let mut command = match &self.script {
            Some(script) => self.script_command(script),
            None => self.dev_command()?,
        };
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        self.group = Some(Group::spawn(&mut command)?);
        self.wait_until_ready().await
    }

    fn dev_command(&self) -> Result<Command> {
        let port = self.port.to_string();
        let inspector_port = free_port()?.to_string();
        let mut command = self.command(&["dev", "--test-scheduled", "--ip", "127.0.0.1"]);
        command
            .args(["--port", &port, "--inspector-port", &inspector_port, "--log-level", self.log_level])
            .arg("--show-interactive-dev-session=false");
        match &self.config {
            Some(config) => command.arg("--config").arg(config),
            None => command.arg("--env-file").arg(vars_file(&self.folder)),
        };
        Ok(command)
    }

    fn script_command(&self, script: &Script) -> Command {
        let mut command = Command::new(layout::npm_program("node"));
        command
            .arg(&script.path)
            .args([layout::repository(), worker_folder(&self.folder), vars_file(&self.folder)])
            .arg(self.port.to_string())
            .args(&script.arguments)
            .current_dir(layout::repository());
        command
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let client = Client::new(&self.url(), "").without_token();
        let started = Instant::now();
        loop {
            let last = match tokio::time::timeout(READY_POLL * 20, client.ready()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => format!("{:#}", anyhow::Error::new(error)),
                Err(_) => "GET /ready hangs".to_owned(),
            };
            if !self.is_running() {
                bail!(
                    "wrangler ended before the Worker was ready; it said last:\n{}",
                    self.log_tail(LOG_LINES_SHOWN)
                );
            }
            if started.elapsed() > READY_WITHIN {
                let tail = self.log_tail(LOG_LINES_SHOWN);
                bail!(
                    "the Worker was not ready after {} s ({last}); wrangler said last:\n{tail}",
                    READY_WITHIN.as_secs()
                );
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.group.as_mut().is_some_and(|group| matches!(group.try_wait(), Ok(None)))
    }

    pub async fn stop(&mut self, grace: Duration) -> Result<()> {
        if let Some(mut group) = self.group.take() {
            group.stop(grace).await?;
        }
        Ok(())
    }

    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut group) = self.group.take() {
            group.signal_group(Signal::KILL);
            group.wait_for(Duration::from_secs(5)).await?;
        }
        Ok(())
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.get(from..).unwrap_or_default().join("\n")
    }

    /// wrangler under the pinned node, telling nobody and keeping its files in the state folder.
    fn command(&self, arguments: &[&str]) -> Command {
        let root = layout::repository();
        let state = worker_folder(&self.folder);
        let mut command = Command::new(layout::npm_program("node"));
        command
            .arg(root.join("node_modules/wrangler/bin/wrangler.js"))
            .args(arguments)
            .arg("--persist-to")
            .arg(&state)
            .current_dir(root)
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_LOG_PATH", state.join("logs"))
            .env("WRANGLER_REGISTRY_PATH", state.join("registry"))
            // Never a question, never a colour in the log.
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("FORCE_COLOR", "0");
        command
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    results: Vec<serde_json::Value>,
}
