//! The language of the tests with container agents: machines that run the real binary, jobs that they do, logs that
//! are whole or not, and what it takes to lie to the plane: a scripted container agent, a network that hangs.

mod job;
mod log;
mod machine;
mod proxy;
mod scripted;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shared_contracts::ids::OwnerId;
use xtask::client::Client;
use xtask::plane::{Plane, PlaneOptions};

pub use job::{Job, shell};
pub use log::{End, Log};
pub use machine::{Machine, shared_control_groups};
pub use proxy::Proxy;
pub use scripted::{Said, ScriptedAgent, Writer, batch, ended, hello, line};

use crate::{Archive, Project};

/// More than a program has tests: each has an owner of its own, so that no machine takes another test's work.
const OWNERS: u32 = 60;
const POLL: Duration = Duration::from_millis(25);
/// For what happens at once: long enough for a machine that three others are building on.
pub const SOON: Duration = Duration::from_secs(60);

/// The plane of this test program, with an owner for each test. Like [`crate::plane`] it ends with the program.
pub fn lab() -> &'static Plane {
    static LAB: OnceLock<Plane> = OnceLock::new();
    LAB.get_or_init(|| {
        let started = std::thread::spawn(|| {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
            runtime.block_on(Plane::start(options(OWNERS)))
        });
        let plane = started.join().expect("starting the plane does not panic");
        plane.unwrap_or_else(|error| panic!("the plane does not start: {error:#}"))
    })
}

fn options(owners: u32) -> PlaneOptions {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_stem()?.to_str()).unwrap_or("tests");
    let name = name.rsplit_once('-').map_or(name, |(name, _)| name);
    let kept = PlaneOptions::kept(&format!("acceptance-{name}"));
    PlaneOptions { is_fresh: true, owners, log_level: "warn", ..kept }
}

/// A plane of one test's own, for tests that stop it or share machines between owners.
pub async fn own_plane(name: &str) -> Plane {
    let scratch = PlaneOptions { log_level: "warn", ..PlaneOptions::scratch(name) };
    Plane::start(scratch).await.unwrap_or_else(|error| panic!("the plane does not start: {error:#}"))
}

/// An owner, and what one has.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: OwnerId,
    pub client: Client,
    /// For container agents that take this owner's work.
    pub agent_token: String,
}

impl Tenant {
    /// One of the lab's that no other test has.
    #[expect(clippy::new_without_default, reason = "each is another one: there is no default")]
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self::of(lab(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub fn of(plane: &Plane, index: usize) -> Self {
        let owner = plane.owner(index).expect("the plane has enough owners");
        Self { id: owner.id, client: plane.client_of(owner), agent_token: owner.agent_token.clone() }
    }

    /// With one file, so that there is a revision to start from.
    pub async fn project(&self) -> Project {
        self.project_with(Archive::of(&[("README.md", "a project\n")])).await
    }

    pub async fn project_with(&self, archive: Archive) -> Project {
        let project = Project::of(self.client.clone()).await;
        project.import(archive).await.expect("the files are imported");
        project
    }
}

/// A name that nothing else in this program has.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Asks until there is an answer, and fails after this long: how a test waits for what has no event.
pub async fn eventually<T>(what: &str, within: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < within, "after {} s still not: {what}", within.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// Fails after this long, saying what did not come.
pub async fn soon<T>(what: &str, within: Duration, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(within, future).await {
        Ok(value) => value,
        Err(_) => panic!("after {} s still not: {what}", within.as_secs()),
    }
}
