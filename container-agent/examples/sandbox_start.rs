//! Start to exit of `/bin/true` in a sandbox, beside other sandboxes, interleaved: one line of JSON a run.
//!
//! `sandbox_start RUNS` prints `{"peer": "patchbay", "us": 2900}` and so on; a peer that is not installed is left out.
//! `cargo xtask bench` reads it. It is an example and no command of the agent, because nobody but the bench needs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use container_agent::sandbox::namespaces::warm::Warm;
use container_agent::sandbox::namespaces::{Namespaces, template};
use container_agent::sandbox::{Egress, Exit, Mounts, Provider, SandboxSpec};
use shared_contracts::executions::Limits;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Much longer than building one takes.
const READY_AFTER: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(template::ARGUMENT) {
        return template::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    // As a task, as the agent's executions are: what waits outside is woken by another thread.
    let measured =
        runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(runtime.spawn(measure()))?);
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox_start: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let runs: usize = std::env::args().nth(1).ok_or("how many runs?")?.parse()?;
    let directory = std::env::temp_dir().join(format!("patchbay-start-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("workspace"))?;
    let root = rustix::process::geteuid().is_root();
    let instance = format!("{:012x}", std::process::id());
    let mut ours = Namespaces::new(instance, directory.join("template"), Vec::new());
    ours.enforce_limits = root;
    let warm = Warm::new(1, &directory.join("warm"))?;
    tokio::spawn(std::sync::Arc::clone(&warm).keep(ours.clone()));
    let mut waiting = ours.clone();
    waiting.warm = Some(std::sync::Arc::clone(&warm));
    for run in 0..runs {
        let at = Instant::now();
        once(&ours, &directory, run).await?;
        say("patchbay, cold", at);
        // One waits again by the time it is asked for: how long that takes is the line above.
        tokio::time::sleep(READY_AFTER).await;
        let at = Instant::now();
        once(&waiting, &directory, runs + run).await?;
        say("patchbay, warm", at);
        let at = Instant::now();
        if bwrap(&directory) {
            say("bwrap", at);
        }
    }
    warm.close().await;
    ours.hierarchies.sweep(&ours.instance);
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn say(peer: &str, at: Instant) {
    println!(r#"{{"peer": "{peer}", "us": {}}}"#, at.elapsed().as_micros());
}

/// Removing it is not waited for: nobody does who waits for a result.
async fn once(ours: &Namespaces, directory: &Path, run: usize) -> Result<()> {
    let path = directory.join(format!("run-{run}"));
    let mut sandbox = ours.prepare(spec(&directory.join("workspace"), path, run)).await?;
    sandbox.start().await?;
    let exit = sandbox.wait().await?;
    tokio::spawn(sandbox.remove());
    match exit {
        Exit::Code(0) => Ok(()),
        other => Err(format!("`true` ended with {other:?}").into()),
    }
}

fn spec(workspace: &Path, directory: PathBuf, run: usize) -> SandboxSpec {
    SandboxSpec {
        name: format!("run-{run}"),
        owner: None,
        directory,
        mounts: Mounts { workspace: workspace.to_owned(), image: None, files: Vec::new() },
        command: vec!["/bin/true".into()],
        environment: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        limits: Limits { disk_mb: 256, memory_mb: 256, ..Limits::default() },
        egress: Egress::Nothing,
        terminal: None,
        slot: 0,
    }
}

/// As much of the same as bubblewrap has: no control groups, no disk limit, no Landlock, no filter.
fn bwrap(directory: &Path) -> bool {
    let workspace = directory.join("workspace");
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr"]);
    for name in ["bin", "sbin", "lib", "lib64"] {
        command.args(["--symlink", &format!("usr/{name}"), &format!("/{name}")]);
    }
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home/agent"]);
    command.arg("--bind").args([workspace.as_os_str(), "/workspace".as_ref()]);
    command.args(["--chdir", "/workspace", "/bin/true"]).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
