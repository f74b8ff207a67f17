//! What an engine on this machine can do, for `doctor`: rows that say why, and one real container where an image is
//! set.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use shared_contracts::executions::Limits;
use shared_contracts::sandboxes::{Finding, SandboxTier, Verdict};

use super::{EngineError, Oci, Settings};
use crate::clock;
use crate::sandbox::probe::{bad, disk_limit, good};
use crate::sandbox::{Egress, Exit, Mounts, Sandbox, SandboxError, SandboxSpec};
use crate::tools;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Below `directory`, which the caller removes.
pub async fn probe(settings: Settings, directory: &Path) -> (SandboxTier, Vec<Finding>) {
    examine(&Oci::connect(settings).await, directory).await
}

/// The same of one that was connected to, or why it was not.
pub async fn examine(connected: &Result<Oci, EngineError>, directory: &Path) -> (SandboxTier, Vec<Finding>) {
    let oci = match connected {
        Ok(oci) => oci,
        Err(error) => return (SandboxTier::None, vec![unusable(error)]),
    };
    let mut findings = Vec::new();
    let found = format!("{} at {}", oci.describe(), oci.engine.socket.display());
    findings.push(good("engine", found, "runs as root, as strong as whoever may use its socket"));
    findings.push(match cfg!(target_feature = "crt-static") {
        true => good("first process", "statically linked", "runs in every image of this processor"),
        false => bad(
            "first process",
            Verdict::Limited,
            "needs a C library",
            "runs only in images that have one like this machine's",
            "build it statically: cargo native -p container-agent",
        ),
    });
    findings.push(disk_limit(oci.settings.disk_in_memory));
    findings.push(match &oci.settings.image {
        None => bad(
            "image",
            Verdict::Limited,
            "none is set",
            "executions must name one by its digest; nothing was tried here",
            "set engine_image",
        ),
        Some(image) => try_one(oci, image, directory).await,
    });
    let is_missing = findings.iter().any(|finding| finding.verdict == Verdict::Missing);
    (if is_missing { SandboxTier::None } else { SandboxTier::Engine }, findings)
}

fn unusable(error: &EngineError) -> Finding {
    let fix = match error {
        EngineError::Off => "set engine to its socket, or leave it out",
        EngineError::NoSocket(_) => {
            "start Docker or Podman (systemctl start docker, podman.socket), or set engine"
        }
        EngineError::NotLocal(_) => "set engine, or DOCKER_HOST=unix:///run/docker.sock",
        EngineError::Silent { .. } => "look whether it runs, and whether this user may open its socket",
        EngineError::NotRoot => {
            "run the agent as root, or use the namespaces sandbox, which needs no root and no engine"
        }
        EngineError::Rootless(_) => "name a rootful engine's socket, or use the namespaces sandbox",
    };
    bad("engine", Verdict::Missing, error.to_string(), "no execution can be given a container", fix)
}

/// What it prints shows that the tools are there; that it gets so far, that every wall and limit stands.
async fn try_one(oci: &Oci, image: &str, directory: &Path) -> Finding {
    let started = clock::now();
    let tried = tokio::time::timeout(TIME_LIMIT, play(oci, directory)).await;
    let refused = |found: String| {
        let meaning = "no execution can run in a container here";
        bad(
            "container",
            Verdict::Missing,
            found,
            meaning,
            "correct what is said here, or set engine = \"off\"",
        )
    };
    match tried {
        Ok(Ok(Exit::Code(0))) => {
            let found = format!("{image} ran in {} ms", started.elapsed().as_millis());
            good("container", found, "a real one; limits read back from the kernel, walls from inside")
        }
        Ok(Ok(exit)) => refused(format!("`{} --version` ended in {image} with {exit:?}", tools::PROGRAM)),
        Ok(Err(error)) => refused(error.to_string()),
        Err(_) => refused(format!("{image}: a short command did not end within {} s", TIME_LIMIT.as_secs())),
    }
}

async fn play(oci: &Oci, directory: &Path) -> Result<Exit, SandboxError> {
    let workspace = directory.join("tree");
    std::fs::create_dir_all(&workspace).map_err(SandboxError::io("make a workspace to try"))?;
    let mut sandbox = oci
        .prepare_now(SandboxSpec {
            name: "doctor".into(),
            owner: None,
            directory: directory.join("container"),
            mounts: Mounts { workspace, image: None, files: Vec::new() },
            command: vec![format!("{}/{}", tools::PROGRAMS, tools::PROGRAM), "--version".into()],
            environment: BTreeMap::new(),
            limits: Limits::default(),
            egress: Egress::Nothing,
            terminal: None,
            slot: 0,
        })
        .await?;
    let exit = end_of(sandbox.as_mut()).await;
    sandbox.remove().await;
    exit
}

async fn end_of(sandbox: &mut dyn Sandbox) -> Result<Exit, SandboxError> {
    // Its few words stay in the pipe.
    let _output = sandbox.start().await?;
    sandbox.wait().await
}
