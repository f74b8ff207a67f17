//! The Docker API, over a daemon of its own with everything it has in a temporary folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, RemoveContainerOptions, StartContainerOptions,
    WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, body_full};
use futures_util::TryStreamExt;

use crate::Result;
use crate::ours::limits;
use crate::processes::{group, remove_group, unmount_below};

const IMAGE: &str = "patchbay-measure:latest";
const MIB: i64 = 1024 * 1024;
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
const TIMEOUT_SECONDS: u64 = 60;
const POLL: Duration = Duration::from_millis(20);

/// The daemon. Dropped, it is stopped.
pub struct Daemon {
    process: Child,
    directory: PathBuf,
}

pub struct Docker {
    _daemon: Daemon,
    client: bollard::Docker,
    workspace: PathBuf,
    made: AtomicU32,
}

impl Daemon {
    /// And how to speak to it, once it answers.
    pub async fn start(directory: &Path) -> Result<(Self, bollard::Docker)> {
        let directory = directory.join("docker");
        fs::create_dir(&directory)?;
        let at = |name: &str| directory.join(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args(["--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"]);
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "-p", &at("pid")]);
        command.args(["-H", &format!("unix://{}", at("s")), "--storage-driver", "overlay2"]);
        command.arg(format!("--cgroup-parent={}", group()));
        let log = File::create(directory.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "not installed".to_owned(),
            _ => error.to_string(),
        })?;
        let socket = at("s");
        let mut daemon = Self { process, directory };
        let client = daemon.answer(&socket).await?;
        Ok((daemon, client))
    }

    async fn answer(&mut self, socket: &str) -> Result<bollard::Docker> {
        let deadline = Instant::now() + ANSWERS_WITHIN;
        loop {
            // Refused while there is no socket.
            if let Ok(client) =
                bollard::Docker::connect_with_unix(socket, TIMEOUT_SECONDS, API_DEFAULT_VERSION)
                && let Ok(client) = client.negotiate_version().await
                && client.ping().await.is_ok()
            {
                return Ok(client);
            }
            if self.process.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or_default();
                return Err(format!("dockerd does not answer: {last}").into());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        unmount_below(&self.directory);
        remove_group();
    }
}

impl Docker {
    pub async fn new(directory: &Path, workspace: &Path) -> Result<Self> {
        let (daemon, client) = Daemon::start(directory).await?;
        let (repository, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
        let options = CreateImageOptions {
            from_src: Some("-".into()),
            repo: Some(repository.into()),
            tag: Some(tag.into()),
            ..CreateImageOptions::default()
        };
        let import = client.create_image(Some(options), Some(body_full(layer()?.into())), None);
        import.try_collect::<Vec<_>>().await?;
        let docker =
            Self { _daemon: daemon, client, workspace: workspace.to_owned(), made: AtomicU32::new(0) };
        docker.once().await?;
        Ok(docker)
    }

    /// Made, started, waited for; removed untimed, as ours is.
    pub async fn once(&self) -> Result<Duration> {
        let client = &self.client;
        let name = format!("measured-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let named = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let body = self.body();
        let at = Instant::now();
        let id = client.create_container(Some(named), body).await?.id;
        client.start_container(&id, None::<StartContainerOptions>).await?;
        // Another exit code than 0 is an error.
        client.wait_container(&id, None::<WaitContainerOptions>).try_collect::<Vec<_>>().await?;
        let took = at.elapsed();
        client.remove_container(&id, None::<RemoveContainerOptions>).await?;
        Ok(took)
    }

    /// As the `oci` back end asks for it, with the machine's `/usr` as the others have it.
    fn body(&self) -> ContainerCreateBody {
        let limits = limits();
        let memory = i64::from(limits.memory_mb) * MIB;
        let host = HostConfig {
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some((limits.cpu_cores * 1e9) as i64),
            pids_limit: Some(limits.processes.into()),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            readonly_rootfs: Some(true),
            network_mode: Some("none".into()),
            binds: Some(vec!["/usr:/usr:ro".into(), format!("{}:/workspace", self.workspace.display())]),
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(IMAGE.into()),
            cmd: Some(vec!["/bin/true".into()]),
            working_dir: Some("/workspace".into()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

/// The image: names alone, because its programs are the machine's.
fn layer() -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["usr", "tmp", "etc", "proc", "sys", "dev", "run", "workspace"] {
        tar.append_dir(name, "/")?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, name, format!("usr/{name}"))?;
    }
    Ok(tar.into_inner()?)
}
