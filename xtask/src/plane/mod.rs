//! The real system on this machine: the built Worker under `wrangler dev`, with its D1, Durable Objects and R2 in
//! one folder, and container agents beside it. Nothing is mocked, nothing outlives its [`Plane`].

mod agent;
mod bootstrap;
mod state_folder;
mod wrangler;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

pub use agent::{Agent, AgentOptions};
pub use bootstrap::{Owner, Secrets};
use state_folder::StateFolder;
use wrangler::Wrangler;
pub use wrangler::free_port;

use crate::client::Client;

/// The cron expression of the reconciler, as `__scheduled` wants it.
const RECONCILER_CRON: &str = "*/5+*+*+*+*";
const STOP_GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct PlaneOptions {
    /// Names the state folder, `.patchbay/<name>`.
    pub name: String,
    /// Start with an empty state folder.
    pub is_fresh: bool,
    /// Remove the state folder at the end.
    pub is_removed: bool,
    /// Owners, each with tokens, in an empty database.
    pub owners: u32,
    /// A free one unless given.
    pub port: Option<u16>,
    /// More variables for the Worker.
    pub vars: Vec<(String, String)>,
    /// wrangler's `--log-level`; below `info` it does not write a line for each request.
    pub log_level: &'static str,
    /// Runs the Worker instead of `wrangler dev`.
    pub script: Option<Script>,
}

/// A script for node that serves the Worker. Its arguments are this repository, the folder of the Worker's state,
/// the file of its variables, the port, then its own.
#[derive(Debug, Clone)]
pub struct Script {
    pub path: PathBuf,
    pub arguments: Vec<String>,
}

impl PlaneOptions {
    /// A plane whose state is kept under this name, with one owner.
    pub fn kept(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_fresh: false,
            is_removed: false,
            owners: 1,
            port: None,
            vars: Vec::new(),
            log_level: "info",
            script: None,
        }
    }

    /// A plane of its own, empty at the start and gone at the end, with two owners.
    pub fn scratch(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{count}", std::process::id());
        Self { is_fresh: true, is_removed: true, owners: 2, ..Self::kept(&name) }
    }
}

/// A running plane. Dropping it stops the Worker and everything wrangler started.
#[derive(Debug)]
pub struct Plane {
    // Dropped in this order: the Worker stops before its folder goes.
    wrangler: Wrangler,
    secrets: Secrets,
    folder: StateFolder,
}

/// Another Worker that runs beside a plane. Dropping it stops it.
#[derive(Debug)]
pub struct Neighbour(Wrangler);

impl Neighbour {
    pub fn url(&self) -> String {
        self.0.url()
    }
}

impl Plane {
    /// Migrates D1, makes owners and tokens where there are none, starts the Worker, waits until it is ready.
    /// The Worker must be built ([`crate::build::worker`]).
    pub async fn start(options: PlaneOptions) -> Result<Self> {
        let folder = StateFolder::open(&options.name, options.is_fresh, options.is_removed)?;
        let port = match options.port {
            Some(port) => port,
            None => wrangler::free_port()?,
        };
        let mut wrangler = Wrangler::new(folder.path(), port, options.log_level, options.script)?;
        wrangler.apply_migrations()?;
        let secrets = bootstrap::ensure(&folder, &wrangler, options.owners)?;
        folder.write_vars(&secrets, &options.vars)?;
        wrangler.start().await?;
        Ok(Self { wrangler, secrets, folder })
    }

    /// Starts another Worker by its wrangler.toml; its service bindings may name `patchbay`.
    pub async fn beside(&self, config: &Path) -> Result<Neighbour> {
        let mut wrangler = self.wrangler.beside(config)?;
        wrangler.start().await?;
        Ok(Neighbour(wrangler))
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        self.wrangler.url()
    }

    /// The first owner's client; it may read, write and make tokens.
    pub fn client(&self) -> Result<Client> {
        Ok(self.client_of(self.owner(0)?))
    }

    pub fn client_of(&self, owner: &Owner) -> Client {
        Client::new(&self.url(), &owner.token)
    }

    /// Owners are counted from 0.
    pub fn owner(&self, index: usize) -> Result<&Owner> {
        self.secrets.owners.get(index).with_context(|| {
            format!("this plane has {} owners; ask for more in its options", self.secrets.owners.len())
        })
    }

    /// A container agent's token that takes every owner's executions.
    pub fn shared_agent_token(&self) -> &str {
        &self.secrets.shared_agent_token
    }

    /// Where the tokens are kept, readable by this user only.
    pub fn secrets_file(&self) -> PathBuf {
        self.folder.secrets_file()
    }

    pub fn state_folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log_path(&self) -> PathBuf {
        self.wrangler.log_path()
    }

    /// Process id of wrangler, which leads the group that workerd is in.
    pub fn pid(&self) -> Option<u32> {
        self.wrangler.pid()
    }

    /// The same port, the same state, a new process.
    pub async fn restart_worker(&mut self) -> Result<()> {
        self.stop_worker().await?;
        self.start_worker().await
    }

    pub async fn stop_worker(&mut self) -> Result<()> {
        self.wrangler.stop(STOP_GRACE).await
    }

    /// SIGKILL to wrangler and workerd: nothing is flushed, nobody says goodbye.
    pub async fn kill_worker(&mut self) -> Result<()> {
        self.wrangler.kill().await
    }

    pub async fn start_worker(&mut self) -> Result<()> {
        self.wrangler.start().await
    }

    /// Whether the Worker's process still runs.
    pub fn is_running(&mut self) -> bool {
        self.wrangler.is_running()
    }

    /// Runs the cron reconciler once.
    pub async fn run_reconciler(&self) -> Result<()> {
        let client = Client::new(&self.url(), "").without_token();
        let path = format!("/__scheduled?cron={RECONCILER_CRON}");
        client.call(reqwest::Method::GET, path).empty().await.context("the reconciler did not run")
    }

    /// Rows of a statement run on the plane's D1 beside the Worker: for tests that look behind the doors.
    pub fn sql(&self, statement: &str) -> Result<Vec<serde_json::Value>> {
        self.wrangler.sql(statement)
    }

    /// wrangler's last lines.
    pub fn log_tail(&self, lines: usize) -> String {
        self.wrangler.log_tail(lines)
    }

    pub async fn stop(mut self) -> Result<()> {
        self.stop_worker().await
    }
}
