//! Docker's and Podman's real daemons, each started by these tests with everything it has in a temporary folder, and
//! stopped by them. Tests that run at the same time share one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    CreateImageOptions, EventsOptions, ListContainersOptions, RemoveContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use container_agent::sandbox::oci::{EngineSetting, Oci, Settings};
use futures_util::TryStreamExt;
use serde_json::Value;
use tempfile::TempDir;

use crate::image;

pub const IMAGE: &str = "patchbay-test:latest";
const START: Duration = Duration::from_secs(30);
/// Podman's service makes containers below it, and leaves it there.
const PODMANS_GROUP: &str = "libpod_parent";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Docker,
    Podman,
}

static RUNNING: Mutex<[Weak<Engine>; 2]> = Mutex::new([Weak::new(), Weak::new()]);

pub struct Engine {
    pub kind: Kind,
    pub socket: PathBuf,
    process: Child,
    directory: TempDir,
    /// That were there before.
    groups: Vec<PathBuf>,
}

impl Engine {
    /// The one that runs, or a new one.
    pub fn of(kind: Kind) -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut running[kind as usize];
        place.upgrade().unwrap_or_else(|| {
            let engine = Arc::new(Self::start(kind));
            *place = Arc::downgrade(&engine);
            engine
        })
    }

    fn start(kind: Kind) -> Self {
        // Short: the engine's own sockets are below it.
        let directory = tempfile::Builder::new().prefix("pb-engine-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        let (socket, address) = (directory.path().join("s"), format!("unix://{}", at("s")));
        let mut command = match kind {
            Kind::Docker => {
                let mut command = Command::new("dockerd");
                command.args([
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-forward=false",
                    "--bridge=none",
                ]);
                command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "-p", &at("pid")]);
                command.args(["-H", &address, "--storage-driver", "overlay2"]);
                command.arg(format!("--cgroup-parent={}", group_of(directory.path())));
                command
            }
            Kind::Podman => {
                let mut command = Command::new("podman");
                command.args(["--root", &at("data"), "--runroot", &at("exec"), "--tmpdir", &at("tmp")]);
                command.args([
                    "--runtime",
                    "runc",
                    "--cgroup-manager",
                    "cgroupfs",
                    "--events-backend",
                    "file",
                ]);
                command.args(["system", "service", "--time=0", &address]);
                command
            }
        };
        // Podman's watchers note in their working directory that memory ran out.
        command.current_dir(directory.path());
        let log = File::create(directory.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let groups = groups_named(PODMANS_GROUP);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("{kind:?} is needed (apt-get install docker.io podman runc catatonit): {error}")
        });
        let engine = Self { kind, socket, process, directory, groups };
        engine.block_on(engine.import());
        engine
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub async fn client(&self) -> Docker {
        let deadline = Instant::now() + START;
        let address = self.socket.display().to_string();
        loop {
            // Refused while there is no socket.
            if let Ok(client) = Docker::connect_with_unix(&address, 60, API_DEFAULT_VERSION)
                && let Ok(client) = client.negotiate_version().await
                && client.ping().await.is_ok()
            {
                return client;
            }
            assert!(Instant::now() < deadline, "{:?} does not answer: {}", self.kind, self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn import(&self) {
        let client = self.client().await;
        let (repository, tag) = IMAGE.split_once(':').unwrap();
        let options = CreateImageOptions {
            from_src: Some("-".into()),
            repo: Some(repository.into()),
            tag: Some(tag.into()),
            ..CreateImageOptions::default()
        };
        let layer = image::layer(Path::new(env!("CARGO_BIN_EXE_patchbay-agent")));
        let import = client.create_image(Some(options), Some(body_full(layer.into())), None);
        import.try_collect::<Vec<_>>().await.unwrap_or_else(|error| panic!("{error}: {}", self.log()));
    }

    async fn clear(&self) {
        let client = self.client().await;
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        for container in client.list_containers(Some(all)).await.unwrap_or_default() {
            let options = RemoveContainerOptions { force: true, v: true, link: false };
            let _ = client.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
        }
    }

    /// Those with this label.
    pub async fn containers(&self, label: &str) -> Vec<ContainerSummary> {
        let filters = [("label".to_owned(), vec![label.to_owned()])].into();
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        self.client().await.list_containers(Some(options)).await.unwrap()
    }

    /// The container that was made for this instance, gone or not, as the engine noted it.
    pub async fn made_for(&self, instance: &str) -> Option<String> {
        if self.kind == Kind::Podman {
            // Asked for the past, its API answers with nothing.
            let log = self.directory.path().join("tmp/events/events.log");
            let events = fs::read_to_string(log).unwrap_or_default();
            let mut events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let made = |event: &Value| {
                event["Status"] == "create" && event["Attributes"]["patchbay.instance"] == instance
            };
            return events.find(made).and_then(|event| event["ID"].as_str().map(str::to_owned));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let filters = [("event", "create".to_owned()), ("label", format!("patchbay.instance={instance}"))];
        let options = EventsOptions {
            since: Some("0".into()),
            until: Some(format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
            filters: Some(filters.map(|(name, value)| (name.to_owned(), vec![value])).into()),
        };
        let events: Vec<_> = self.client().await.events(Some(options)).try_collect().await.unwrap();
        events.into_iter().find_map(|event| event.actor?.id)
    }

    /// What on this machine may have a container's id in its name.
    pub async fn names(&self) -> Vec<String> {
        let parents = [group_of(self.directory.path()), PODMANS_GROUP.to_owned()];
        let groups = parents.iter().flat_map(|parent| groups_named(parent)).flat_map(fs::read_dir);
        let groups = groups.flat_map(|entries| entries.flatten().map(|entry| entry.path()));
        let mut names: Vec<_> = groups.map(|path| format!("control group {}", path.display())).collect();
        names.extend(command_lines().map(|line| format!("process {line}")));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        names.extend(mounts.lines().map(|line| format!("mount {line}")));
        let containers = self.containers("patchbay.instance").await;
        names.extend(containers.into_iter().filter_map(|found| found.id).map(|id| format!("container {id}")));
        names
    }

    /// Of `patchbay-agent try`, for a sandbox of this engine's.
    pub fn options(&self) -> [&str; 6] {
        ["--sandbox", "oci", "--engine", self.socket.to_str().unwrap(), "--image", IMAGE]
    }

    pub fn settings(&self, instance: &str) -> Settings {
        Settings {
            engine: EngineSetting::Socket(self.socket.clone()),
            image: Some(IMAGE.into()),
            instance: instance.into(),
            disk_in_memory: true,
            program: env!("CARGO_BIN_EXE_patchbay-agent").into(),
        }
    }

    pub async fn connect(&self, instance: &str) -> Oci {
        Oci::connect(self.settings(instance)).await.unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Where a test failed there may be containers, which would outlive their engine. A thread, because this one may be in
        // a runtime.
        std::thread::scope(|scope| scope.spawn(|| self.block_on(self.clear())).join().is_ok());
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        // Podman tidies up after a container in a process of its own, which would write into what is removed here.
        let (directory, deadline) = (self.directory.path().to_str().unwrap(), Instant::now() + START);
        while command_lines().any(|line| line.contains(directory)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        unmount_below(self.directory.path());
        // Below these are only groups of containers, and those are gone.
        let mut groups = groups_named(&group_of(self.directory.path()));
        if self.kind == Kind::Podman {
            groups
                .extend(groups_named(PODMANS_GROUP).into_iter().filter(|group| !self.groups.contains(group)));
        }
        for group in groups {
            // The kernel refuses it while it is used. Podman's watchers had one of their own.
            let _ = fs::remove_dir(group.join("conmon"));
            let _ = fs::remove_dir(&group);
            let _ = group.parent().filter(|parent| parent.ends_with("patchbay")).map(fs::remove_dir);
        }
    }
}

/// Of every process but this one.
fn command_lines() -> impl Iterator<Item = String> {
    let own = std::process::id().to_string();
    let others =
        fs::read_dir("/proc").unwrap().flatten().filter(move |entry| entry.file_name() != own.as_str());
    let lines = others.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
}

/// Engines leave their folders bound to themselves.
fn unmount_below(directory: &Path) {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().rev().filter_map(|line| line.split(' ').nth(4));
    for point in points.filter(|point| Path::new(point).starts_with(directory)) {
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
}

/// Below the directory that all of Patchbay's groups are below.
fn group_of(directory: &Path) -> String {
    format!("/patchbay/{}", directory.file_name().unwrap().display())
}

/// In every hierarchy that has it.
fn groups_named(name: &str) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let hierarchies = table.lines().filter(|line| line.contains(" - cgroup"));
    let points = hierarchies.filter_map(|line| line.split(' ').nth(4));
    let group = |point| Path::new(point).join(name.trim_start_matches('/'));
    points.map(group).filter(|path| path.exists()).collect()
}
