//! The whole system, left running for a person: its URL, a token, and what to try first.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::plane::{Agent, AgentOptions, Plane, PlaneOptions};
use crate::process::stop_signal;
use crate::setup::Extent;
use crate::terminal::{self, Tone, tone};
use crate::{build, setup};

const CONNECT_WITHIN: Duration = Duration::from_secs(20);
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub port: Option<u16>,
    pub fresh: bool,
}

pub fn run(options: Options) -> Result<()> {
    setup::everything(Extent::Running)?;
    terminal::heading("Build");
    build::worker()?;
    build::agent()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            done = serve(options) => done,
            // Whatever was started ends as it is dropped.
            stopped = stop_signal() => stopped,
        }
    })?;
    terminal::line("  everything is stopped");
    Ok(())
}

async fn serve(options: Options) -> Result<()> {
    terminal::heading("Start");
    let mut plane_options = PlaneOptions::kept("dev");
    plane_options.is_fresh = options.fresh;
    plane_options.port = options.port;
    let mut plane = Plane::start(plane_options).await?;
    terminal::found("Worker", &plane.url(), None);
    let mut agent = Agent::start(&plane, AgentOptions::named("dev"))?;
    let record = agent.connected(&plane.client()?, CONNECT_WITHIN).await?;
    terminal::found("container agent", &format!("connected, sandbox {}", record.sandbox_tier.as_str()), None);
    greet(&plane, &agent)?;
    tokio::select! {
        failed = look_after(&mut plane, &mut agent) => failed,
        stopped = stop_signal() => {
            terminal::heading("Stop");
            agent.terminate(DRAIN_WITHIN).await?;
            plane.stop().await?;
            stopped
        }
    }
}

fn greet(plane: &Plane, agent: &Agent) -> Result<()> {
    let (url, token) = (plane.url(), &plane.owner(0)?.token);
    let line = terminal::line;
    line(&format!("\n  URL    {}", tone(Tone::Strong, &url)));
    line(&format!("  token  {}", tone(Tone::Strong, token)));
    line(&format!("         {}", tone(Tone::Faint, &format!("kept in {}", plane.secrets_file().display()))));
    line(&format!("  logs   {}", plane.log_path().display()));
    line(&format!("         {}", agent.log_path().display()));
    line("\n  Try:");
    line(&format!("  curl -H 'Authorization: Bearer {token}' {url}/api/container-agents"));
    line(&format!(
        "  curl -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{{\"name\":\"first\"}}' {url}/api/projects"
    ));
    line(&format!("  curl -H 'Authorization: Bearer {token}' {url}/api/projects"));
    line(&format!("\n  {}", tone(Tone::Faint, "Ctrl-C stops everything.")));
    Ok(())
}

/// Returns only when a part has died.
async fn look_after(plane: &mut Plane, agent: &mut Agent) -> Result<()> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !plane.is_running() {
            bail!("wrangler has ended; it said last:\n{}", plane.log_tail(20));
        }
        if let Some(status) = agent.try_wait()? {
            bail!("the container agent has ended ({status}); see {}", agent.log_path().display());
        }
    }
}
