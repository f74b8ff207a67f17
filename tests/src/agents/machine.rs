//! A machine: the real container agent, and everything it leaves on this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared_contracts::container_agents::ContainerAgent;
use shared_contracts::hash::Sha256;
use xtask::client::Client;
use xtask::plane::{Agent, AgentOptions, Plane};

use super::{SOON, Tenant, eventually, unique};

const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

#[derive(Debug)]
pub struct Machine {
    pub agent: Agent,
    /// As the plane listed it when it first connected.
    pub record: ContainerAgent,
    client: Client,
}

impl Machine {
    pub async fn start(plane: &Plane, tenant: &Tenant, capacity: u32) -> Self {
        let options = AgentOptions { capacity, ..AgentOptions::named(&unique("machine")) };
        Self::with(plane, tenant, options).await
    }

    /// Of this tenant, whatever else the options say.
    pub async fn with(plane: &Plane, tenant: &Tenant, options: AgentOptions) -> Self {
        let token = options.token.clone().unwrap_or_else(|| tenant.agent_token.clone());
        let options = AgentOptions { token: Some(token), ..options };
        let mut agent = Agent::start(plane, options).expect("the container agent starts");
        let record = agent.connected(&tenant.client, SOON).await;
        let record = record.unwrap_or_else(|error| panic!("{error:#}"));
        Self { agent, record, client: tenant.client.clone() }
    }

    /// Its owner's.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn listed(&self) -> ContainerAgent {
        self.client.get_container_agent(self.record.id).await.expect("the machine is listed")
    }

    /// `kill -9` of the container agent alone.
    pub fn kill(&mut self) {
        let status = self.agent.kill().expect("it can be killed");
        assert!(!status.success());
    }

    /// The same name, token and state folder, after its end; returns when the plane has it again.
    pub async fn restart(&mut self) {
        let before = self.listed().await.connected_at_ms;
        self.agent.restart().expect("it starts again");
        eventually("the machine is connected again", SOON, async || {
            (self.listed().await.connected_at_ms > before).then_some(())
        })
        .await;
    }

    /// SIGTERM once, without waiting.
    pub async fn ask_to_drain(&mut self) {
        let ended = self.agent.terminate(Duration::ZERO).await.expect("it can be signalled");
        assert!(ended.is_none_or(|status| status.success()));
    }

    /// Its exit code, once it has ended by itself.
    pub async fn exit_code(&mut self) -> Option<i32> {
        eventually("the container agent ends", SOON, async || self.agent.try_wait().expect("it can be asked"))
            .await
            .code()
    }

    /// SIGTERM: it must end well and leave nothing.
    pub async fn stop(mut self) {
        let status = self.agent.terminate(SOON).await.expect("it can be stopped");
        let said = fs::read_to_string(self.agent.log_path()).unwrap_or_default();
        assert!(
            status.is_some_and(|status| status.success()),
            "SIGTERM ended it as {status:?}; it said:\n{said}"
        );
        self.assert_nothing_left();
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left = self.left_behind();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }

    /// Processes, mounts, control groups and directories of this machine's executions.
    pub fn left_behind(&self) -> Vec<String> {
        let folder = self.agent.state_folder();
        let mut left = self.processes();
        left.extend(mounts_below(folder));
        left.extend(control_groups(&self.instance()));
        left.extend(self.execution_folders().iter().map(|path| path.display().to_string()));
        left
    }

    /// Processes of its executions, the sandboxes' helpers included.
    pub fn processes(&self) -> Vec<String> {
        let marks =
            [format!("/patchbay/{}", self.instance()), self.agent.state_folder().display().to_string()];
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let is_agent = pid == self.agent.pid();
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let text = |file: &str| String::from_utf8_lossy(&read(file)).replace('\0', " ");
            let status = text("stat");
            // A zombie has ended; its parent has not looked yet.
            let is_zombie = status.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
            let known = ["cgroup", "cmdline", "environ"].map(text).join("\n");
            if !is_agent && !is_zombie && marks.iter().any(|mark| known.contains(mark)) {
                found.push(format!("process {pid}: {}", text("cmdline")));
            }
        }
        found
    }

    /// One for each lease that it has not closed.
    pub fn execution_folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.agent.state_folder().join("executions"));
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Bytes of event logs that wait on its disk.
    pub fn spool_bytes(&self) -> u64 {
        self.spool_files().iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// What waits there.
    pub fn spool_text(&self) -> String {
        self.spool_files().iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
    }

    fn spool_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for folder in self.execution_folders() {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            files.extend(
                entries
                    .map(|entry| entry.path())
                    .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson")),
            );
        }
        files.sort();
        files
    }

    /// Memory of the container agent itself, now.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent.pid())).unwrap_or_default();
        let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes =
            field.and_then(|field| field.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kilobytes.expect("the kernel says how much memory it has") * 1024
    }

    /// How the container agent names what is its own on this machine.
    fn instance(&self) -> String {
        let folder = self.agent.state_folder();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        Sha256::of(folder.as_os_str().as_encoded_bytes()).to_string().chars().take(12).collect()
    }
}

fn mounts_below(folder: &Path) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts are listed");
    // The folder itself may be a disk of the test's.
    let folder = format!("{}/", folder.display());
    mounts.lines().filter(|line| line.contains(&folder)).map(|line| format!("mount {line}")).collect()
}

fn control_groups(instance: &str) -> Vec<String> {
    shared_control_groups()
        .into_iter()
        .map(|shared| shared.join(instance))
        .filter(|path| path.exists())
        .map(|path| format!("control group {}", path.display()))
        .collect()
}

/// What all container agents' control groups are below, in whichever hierarchies this machine has, v1 or v2.
pub fn shared_control_groups() -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CONTROL_GROUPS).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(PathBuf::from(CONTROL_GROUPS))
        .chain(hierarchies)
        .map(|root| root.join("patchbay"))
        .filter(|path| path.exists())
        .collect()
}
