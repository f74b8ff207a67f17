//! One sandbox of an engine under test, and what came of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use container_agent::sandbox::oci::Oci;
use container_agent::sandbox::{Egress, Exit, Mounts, Provider, Sandbox, SandboxError, SandboxSpec, Usage};
use shared_contracts::executions::Limits;
use tempfile::TempDir;

use crate::engines::Engine;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// An agent's state directory and what it runs on.
pub struct World {
    pub oci: Oci,
    pub instance: String,
    pub state: TempDir,
}

pub struct Ran {
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
    pub usage: Usage,
}

impl World {
    pub async fn new(engine: &Engine) -> Self {
        let state = tempfile::Builder::new().prefix("pb-oci-").tempdir().unwrap();
        let instance = container_agent::sandbox::sweep::instance_of(state.path());
        std::fs::create_dir(state.path().join("tree")).unwrap();
        Self { oci: engine.connect(&instance).await, instance, state }
    }

    pub fn tree(&self, name: &str) -> std::path::PathBuf {
        self.state.path().join("tree").join(name)
    }

    pub fn spec(&self, script: &str) -> SandboxSpec {
        SandboxSpec {
            name: "case".into(),
            owner: None,
            directory: self.state.path().join("execution"),
            mounts: Mounts { workspace: self.state.path().join("tree"), image: None, files: Vec::new() },
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            environment: BTreeMap::from([
                ("PATH".into(), "/run/patchbay/bin:/usr/bin:/bin".into()),
                ("HOME".into(), "/home/agent".into()),
            ]),
            limits: Limits { memory_mb: 256, ..Limits::default() },
            egress: Egress::Nothing,
            terminal: None,
            slot: 1,
        }
    }

    pub async fn prepare(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        self.oci.prepare(spec).await
    }

    /// To its end; nothing of it is left.
    pub async fn run(&self, spec: SandboxSpec) -> Ran {
        let mut sandbox = self.prepare(spec).await.unwrap();
        let control = sandbox.control();
        let ran = tokio::time::timeout(TIME_LIMIT, finish(sandbox.as_mut())).await.unwrap();
        sandbox.remove().await;
        // As it was at its end.
        Ran { usage: control.usage().await, ..ran }
    }

    pub async fn sh(&self, script: &str) -> Ran {
        self.run(self.spec(script)).await
    }

    /// Names of this instance's containers.
    pub async fn containers(&self, engine: &Engine) -> Vec<String> {
        let found = engine.containers(&format!("patchbay.instance={}", self.instance)).await;
        found.into_iter().filter_map(|container| container.names?.into_iter().next()).collect()
    }

    /// No container, no mount, no file but the tree.
    pub async fn assert_clean(&self, engine: &Engine) {
        assert_eq!(self.containers(engine).await, Vec::<String>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.state.path().to_str().unwrap()), "{mounts}");
        let left = self.state.path().join("execution");
        let names: Vec<_> = std::fs::read_dir(left).into_iter().flatten().flatten().collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

pub async fn finish(sandbox: &mut dyn Sandbox) -> Ran {
    let output = sandbox.start().await.unwrap().output;
    let stdout = read(output.stdout);
    let stderr = output.stderr.map(read);
    let exit = sandbox.wait().await.unwrap();
    let stdout = stdout.await.unwrap();
    let stderr = match stderr {
        Some(reading) => reading.await.unwrap(),
        None => String::new(),
    };
    let usage = sandbox.control().usage().await;
    Ran { exit, stdout, stderr, usage }
}

/// A terminal ends with an error once nobody holds its other side.
pub fn read(fd: OwnedFd) -> tokio::task::JoinHandle<String> {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let _ = File::from(fd).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
