//! `patchbay-agent run`: which loops run, and who stops whom.
//!
//! ```text
//!   signals ──▶ ends ──▶ connect (one session at a time) ──▶ an execution each ──▶ its reader and sender
//!                         watchdog: leases that nobody confirmed are told that they are gone
//!   recover: spools of a dead agent, flushed and given up
//! ```

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use shared_contracts::containers::{ContainerCleanup, ContainerId};
use shared_contracts::dispatch::{FromContainerAgent, Lease};
use shared_contracts::limits::{CLEANUPS_MAX, CPU_CORES_DEFAULT, LEASE_SECONDS, MEMORY_MB_DEFAULT};
use shared_contracts::sandboxes::SandboxTier;
use tokio::sync::mpsc;

use crate::api::Plane;
use crate::config::{Flags, LimitsMode, Settings, WorkspaceDisk};
use crate::containers::Containers;
use crate::lease::{Leases, Stopping};
use crate::offer::{self, Offer};
use crate::sandbox::namespaces::Namespaces;
use crate::sandbox::oci;
use crate::sandbox::sweep::{self, StateLock};
use crate::stop::{Ending, Ends};
use crate::workspace::Workspaces;
use crate::{connect, doctor, recover};

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub flags: Flags,
}

/// What every loop shares.
pub struct Agent {
    pub settings: Settings,
    pub plane: Arc<Plane>,
    pub token: String,
    pub offer: Offer,
    pub containers: Containers,
    pub leases: Leases,
    pub ends: Ends,
    pub workspaces: Workspaces,
    /// Below it one directory for each lease.
    pub executions: PathBuf,
    /// To the plane, over whichever connection is there.
    say: mpsc::UnboundedSender<FromContainerAgent>,
    lease_ms: AtomicU64,
}

impl Agent {
    /// Over whichever connection is there.
    pub fn say(&self, saying: FromContainerAgent) {
        let _ = self.say.send(saying);
    }

    /// Gives a lease back to the plane. It leaves the table when the plane was told.
    pub fn abandon(&self, lease: Lease, reason: impl Into<String>) {
        self.say(FromContainerAgent::Abandon { lease, reason: reason.into() });
    }

    pub fn set_lease_length(&self, length: Duration) {
        self.lease_ms.store(u64::try_from(length.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn lease_length(&self) -> Duration {
        Duration::from_millis(self.lease_ms.load(Ordering::Relaxed))
    }
}

pub async fn run(arguments: Run) -> Result<ExitCode, Box<dyn std::error::Error>> {
    // 1. Settings and what the machine can do; refuse before anything is touched.
    let settings = Settings::load(&arguments.flags)?;
    let plane_settings = settings.plane()?;
    let examined = doctor::examine(&settings).await;
    let reasons: Vec<_> = examined
        .sandboxes
        .iter()
        .map(|sandbox| format!("{}: {}", sandbox.provider.as_str(), sandbox.reason))
        .collect();
    let (tier, reason) = (offer::strongest(&examined.sandboxes), reasons.join("; "));
    if tier == SandboxTier::None {
        return Err(format!(
            "this machine cannot run executions: {reason}; `patchbay-agent doctor` says how to fix it"
        )
        .into());
    }
    // 2. The state directory is ours alone; what a dead agent left in it goes.
    let lock = StateLock::take(&settings.state_dir)?;
    let instance = sweep::instance_of(&settings.state_dir);
    sweep::sweep_cgroups(&instance);
    let executions = settings.state_dir.join("executions");
    // What a coding agent prints is nobody else's business on this machine.
    std::fs::create_dir_all(&executions)
        .and_then(|()| std::fs::set_permissions(&executions, Permissions::from_mode(0o700)))
        .map_err(|error| format!("cannot make {}: {error}", executions.display()))?;
    oci::mounts::unmount_below(&executions);
    let plane = Arc::new(Plane::new(&plane_settings)?);
    let (say, sayings) = mpsc::unbounded_channel();
    let agent = Arc::new(Agent {
        workspaces: Workspaces::open(&settings.state_dir, settings.cache_mb, Arc::clone(&plane))?,
        offer: Offer::new(&settings, instance.clone(), examined)?,
        containers: Containers::default(),
        settings,
        plane,
        token: plane_settings.token,
        leases: Leases::default(),
        ends: Ends::new(),
        executions,
        say,
        lease_ms: AtomicU64::new(LEASE_SECONDS * 1_000),
    });
    say_what_is_offered(&agent.settings, tier, &reason);
    // 3. The loops.
    recover::start(&agent);
    tokio::spawn(keep_clean(Arc::clone(&agent)));
    tokio::spawn(agent.ends.clone().listen());
    tokio::spawn(watch_leases(Arc::clone(&agent)));
    tokio::spawn(give_up(Arc::clone(&agent)));
    let ended = connect::run(Arc::clone(&agent), connect::Sayings::new(sayings)).await;
    // 4. Nothing that ran may outlive the connection loop.
    for held in agent.leases.all() {
        held.tell(Stopping::Gone("the agent ends".into()));
    }
    let emptied = async {
        while agent.leases.count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), emptied).await;
    agent.offer.close().await;
    sweep::sweep_cgroups(&instance);
    drop(lock);
    match ended {
        Ok(()) => {
            tracing::info!("done");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("patchbay-agent: {error}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

fn say_what_is_offered(settings: &Settings, tier: SandboxTier, reason: &str) {
    let Settings { name, capacity, memory_mb_max, cpu_cores_max, .. } = settings;
    tracing::info!(%name, capacity, tier = tier.as_str(), memory_mb_max, cpu_cores_max, %reason, "starting");
    if *memory_mb_max < MEMORY_MB_DEFAULT || *cpu_cores_max < CPU_CORES_DEFAULT {
        tracing::warn!(
            "an execution asks for {MEMORY_MB_DEFAULT} MB and {CPU_CORES_DEFAULT} cores unless it or the plane's settings say \
             otherwise; one that asks for more than {memory_mb_max} MB or {cpu_cores_max} cores is not offered here"
        );
    }
}

/// Containers that nobody looks after go, and the plane hears of it: now those of a dead agent, later what hangs.
async fn keep_clean(agent: Arc<Agent>) {
    let is_held = {
        let agent = Arc::clone(&agent);
        move |id: ContainerId| agent.leases.get(id.lease()).is_some()
    };
    let tell = |removed: Vec<ContainerCleanup>| {
        for removed in removed.chunks(CLEANUPS_MAX) {
            agent.say(FromContainerAgent::CleanedUp { removed: removed.to_vec() });
        }
    };
    tell(agent.offer.sweep(&is_held).await);
    let (told, mut cleanups) = mpsc::unbounded_channel();
    let telling = async {
        while let Some(cleanup) = cleanups.recv().await {
            tell(vec![cleanup]);
        }
    };
    tokio::join!(agent.offer.keep_clean(&is_held, told), telling);
}

async fn watch_leases(agent: Arc<Agent>) {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        agent.leases.expire(agent.lease_length());
    }
}

/// The second signal: everything that runs is given back to the plane.
async fn give_up(agent: Arc<Agent>) {
    if agent.ends.watch().wait_for(|ending| *ending == Ending::Abandoning).await.is_ok() {
        for held in agent.leases.all() {
            held.tell(Stopping::Abandon("its container agent was stopped".into()));
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        for held in agent.leases.all() {
            held.tell(Stopping::Gone("its container agent was stopped".into()));
        }
    }
}

/// The engine's back end, as the settings want it.
pub fn engine(settings: &Settings, instance: String) -> oci::Settings {
    oci::Settings {
        engine: settings.engine.clone(),
        image: settings.engine_image.clone(),
        instance,
        disk_in_memory: settings.workspace_disk == WorkspaceDisk::Memory,
        program: "/proc/self/exe".into(),
    }
}

/// `directory`: of this instance's own.
pub fn provider(settings: &Settings, instance: String, directory: &Path) -> Namespaces {
    let mut provider = Namespaces::new(instance, directory.join("template"), settings.toolchains.clone());
    provider.enforce_limits = settings.limits == LimitsMode::Enforce;
    provider.disk_in_memory = settings.workspace_disk == WorkspaceDisk::Memory;
    provider
}
