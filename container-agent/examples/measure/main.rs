//! What the container agent's machine side takes, beside other programs in the same run: lines of JSON, which
//! `cargo xtask bench` reads. It is an example and no command of the agent, because nobody but the bench needs it.
//!
//! ```text
//!   measure turns RUNS        start to exit of `true`, cold and warm, beside bubblewrap, runc and the Docker API
//!   measure workspace RUNS    start to exit over a workspace of 500 MB, beside an empty one
//!   measure at-once STARTS    8 sandboxes at a time, beside as many of bubblewrap's
//!   measure archive PAIRS     artifacts as one tar.gz, beside GNU tar
//!   measure idle AGENT        memory of this container agent while it waits for work, beside dockerd's
//! ```

mod archive;
mod at_once;
mod bwrap;
mod docker;
mod idle;
mod ours;
mod peers;
mod processes;
mod runc;
mod turns;
mod workspace;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use container_agent::sandbox::namespaces::template;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Before every run that is timed: what the one before it left is removed, and what it took is refilled, by then. Much
/// longer than either takes.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    if mode == template::ARGUMENT {
        return template::main();
    }
    match measure(&mode, arguments.next().unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure {mode}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(mode: &str, argument: String) -> Result<()> {
    let mode = mode.to_owned();
    let work = async move {
        let scratch = Scratch::new()?;
        let count = || argument.parse().map_err(|_| format!("how many? `{argument}` is no number"));
        match mode.as_str() {
            "turns" => turns::measure(scratch.path(), count()?).await,
            "workspace" => workspace::measure(scratch.path(), count()?).await,
            "at-once" => at_once::measure(scratch.path(), count()?).await,
            "archive" => archive::measure(scratch.path(), count()?),
            "idle" => idle::measure(scratch.path(), Path::new(&argument)).await,
            _ => Err("turns, workspace, at-once, archive or idle?".into()),
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // As a task, as the agent's executions are: what waits outside of the runtime is woken by another thread.
    runtime.block_on(runtime.spawn(async {
        tokio::select! {
            done = work => done,
            // What was started ends as it is dropped.
            _ = tokio::signal::ctrl_c() => Err("stopped".into()),
        }
    }))?
}

fn say(peer: &str, took: Duration) {
    println!("{}", json!({"peer": peer, "us": took.as_micros() as u64}));
}

/// A directory that goes with this program. Short: sockets are below it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("pb-measure-{}", std::process::id()));
        std::fs::create_dir(&directory)?;
        Ok(Self(directory))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
