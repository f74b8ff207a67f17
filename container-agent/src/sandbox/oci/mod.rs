//! The `oci` back end: a container of Docker or Podman on this machine, which the agent reaches over a unix socket.
//!
//! ```text
//!   agent ── API ──▶ engine ── starts ──▶ init (this program, bound in) ── forks ──▶ payload
//!     │ mounts: overlay on the id-mapped tree,                 ▲ │
//!     │ /tmp, home, secrets; bound in, then let go             │ │ listener of the loopback, terminal, the end
//!     └───────── one unix socket: pipes, command, orders ──────┘ ▼
//! ```
//! The engine makes the container and takes it away. All that passes between agent and payload goes over the socket and
//! the descriptors that come with it: output through the agent's own pipes, so that nothing is lost, nothing is copied by
//! the engine, and a payload that writes fast is held back; the end of the payload as it happens, not as the engine
//! polls it; the listener of the container's loopback, as in `namespaces`. The socket is in a directory that is bound in
//! read-only; it takes one connection and its name is gone before the payload starts. With the agent the socket ends,
//! and with the socket the container: after a restart there is nothing to adopt, only to tidy ([`sweep`]).
//!
//! Walls: the engine's (its namespaces, no capability, no new privileges, a read-only root, no network, our own seccomp
//! [`profile`], a user of the execution's own), each read back from the engine and looked at from inside; and in the
//! payload Landlock and our seccomp filter once more. Limits are the engine's control groups, read back from the kernel.
//!
//! What it needs: an agent that is root, because no engine can id-map or overlay a tree, and a rootful engine that sees
//! the agent's mounts. An agent that is an ordinary user has the `namespaces` back end, which is the stronger one.

mod asked;
mod engine;
mod handle;
pub mod init;
mod line;
pub mod mounts;
pub mod probe;
mod profile;
mod running;
mod sweep;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use futures_util::future::BoxFuture;

use self::asked::Parts;
pub use self::engine::EngineError;
use self::engine::{Engine, Kind};
use self::handle::Container;
use self::line::Line;
use self::mounts::{INSIDE, Mounts};
use self::running::Running;
pub use self::sweep::IsHeld;
use super::namespaces::message::{Blueprint, Work};
use super::namespaces::outer_id;
use super::{Provider, Sandbox, SandboxError, SandboxSpec};
use crate::tools;

/// Where the engine is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EngineSetting {
    /// `DOCKER_HOST`, then the usual places.
    #[default]
    Search,
    Off,
    Socket(PathBuf),
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub engine: EngineSetting,
    /// For executions that name none.
    pub image: Option<String>,
    /// Names this agent's containers; derived from its state directory.
    pub instance: String,
    pub disk_in_memory: bool,
    /// The container agent's program, of which helpers and containers' first processes are made.
    pub program: PathBuf,
}

#[derive(Debug, Clone)]
pub struct Oci {
    engine: Engine,
    settings: Settings,
}

impl Oci {
    pub async fn connect(settings: Settings) -> Result<Self, EngineError> {
        if !rustix::process::geteuid().is_root() {
            return Err(EngineError::NotRoot);
        }
        let engine = Engine::connect(&settings.engine).await?;
        if engine.is_rootless {
            return Err(EngineError::Rootless(engine.socket));
        }
        Ok(Self { engine, settings })
    }

    /// The same engine for another agent's containers, without asking it again.
    pub fn of_instance(self, instance: String) -> Self {
        Self { settings: Settings { instance, ..self.settings }, ..self }
    }

    /// Such as `docker 20.10.24`.
    pub fn describe(&self) -> String {
        format!("{} {}", self.engine.name(), self.engine.version)
    }

    /// What the image that is named, or else the one in the settings, wants in its environment. It is fetched if need be.
    pub async fn image_environment(
        &self,
        named: Option<&str>,
    ) -> Result<Vec<(String, String)>, SandboxError> {
        self.engine.ensure_image(self.image(named)?).await
    }

    fn image<'a>(&'a self, named: Option<&'a str>) -> Result<&'a str, SandboxError> {
        named.or(self.settings.image.as_deref()).ok_or_else(|| {
            SandboxError::Setup("no image is named; set engine_image, or name one with the execution".into())
        })
    }

    async fn prepare_now(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        // 1. The image, which may take long to come.
        let named = spec.mounts.image.as_ref().map(|image| image.display().to_string());
        let image = self.image(named.as_deref())?;
        self.engine.ensure_image(image).await?;
        // 2. Files. From here on dropping what was made undoes it.
        let directory = Directory::make(&spec.directory)?;
        let user = outer_id(&self.settings.instance, spec.slot);
        let (blueprint, mut work) = self.orders(&spec, user);
        let Mounts { upper, merged, shown } =
            Mounts::build(&self.settings.program, &blueprint, &work).await?;
        let tools = spec.directory.join(INSIDE).join("tools");
        let line = build_tools(&tools).and_then(|()| Line::listen(&tools, user));
        let line = line.map_err(SandboxError::io("make the container's socket"))?;
        // 3. The container, and whether the engine says that it is as asked.
        let body = asked::body(
            &spec,
            &Parts {
                kind: self.engine.kind,
                instance: &self.settings.instance,
                image,
                user,
                program: &self.program(&spec.directory)?,
                seccomp: self.seccomp(&spec.directory)?,
            },
        );
        let container =
            Container::create(&self.engine, asked::name(&self.settings.instance, &spec), body).await?;
        // 4. Its first process, and whether the kernel says so, too.
        container.start().await?;
        let connected = line.accept(&container).await?;
        drop(shown);
        // Placed by the agent: the container need not have them as well.
        work.files.clear();
        let running = Running::attach(connected, container, (upper, merged), directory, &work, user).await?;
        Ok(Box::new(running))
    }

    fn orders(&self, spec: &SandboxSpec, user: u32) -> (Blueprint, Work) {
        let blueprint = Blueprint {
            directory: spec.directory.clone(),
            outer_id: user,
            privileged: true,
            disk_in_memory: self.settings.disk_in_memory,
        };
        (blueprint, Work::of(spec, Vec::new()))
    }

    /// As this engine wants it: Docker the profile itself, Podman a file.
    fn seccomp(&self, directory: &Path) -> Result<String, SandboxError> {
        let profile = profile::profile().to_string();
        if self.engine.kind == Kind::Docker {
            return Ok(profile);
        }
        let path = directory.join(INSIDE).join("seccomp.json");
        fs::write(&path, profile).map_err(SandboxError::io(format!("write {}", path.display())))?;
        Ok(path.display().to_string())
    }

    /// The program's path on the machine. Was it replaced since the agent started, as by an upgrade, it has none: then a
    /// copy.
    fn program(&self, directory: &Path) -> Result<PathBuf, SandboxError> {
        let find = || -> std::io::Result<PathBuf> {
            let running = fs::metadata(&self.settings.program)?;
            let path =
                fs::read_link(&self.settings.program).unwrap_or_else(|_| self.settings.program.clone());
            if fs::metadata(&path)
                .is_ok_and(|named| (named.dev(), named.ino()) == (running.dev(), running.ino()))
            {
                return Ok(path);
            }
            let copy = directory.join(INSIDE).join("program");
            fs::copy(&self.settings.program, &copy)?;
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
            Ok(copy)
        };
        find().map_err(SandboxError::io("find this program for the container"))
    }
}

impl Provider for Oci {
    fn prepare(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Box<dyn Sandbox>, SandboxError>> {
        Box::pin(self.prepare_now(spec))
    }

    /// What the engine keeps is the operator's.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// An execution's directory with what is in it for the container; that goes with it.
struct Directory(PathBuf);

impl Directory {
    fn make(path: &Path) -> Result<Self, SandboxError> {
        // The engine's binds and overlayfs split at these.
        if let Some(bad) = path.to_str().map_or(Some('?'), |text| text.chars().find(|c| ":,\\".contains(*c)))
        {
            return Err(SandboxError::Setup(format!(
                "the state directory's path ({}) has `{bad}` in it, at which an engine would split it; name another one \
                 (--state-dir)",
                path.display()
            )));
        }
        let inside = path.join(INSIDE);
        fs::create_dir_all(&inside).map_err(SandboxError::io(format!("make {}", inside.display())))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        mounts::clear(&self.0);
    }
}

/// What the coding agent may call: this program, which is bound at its name.
fn build_tools(folder: &Path) -> std::io::Result<()> {
    let programs = folder.join("bin");
    fs::create_dir_all(&programs)?;
    fs::write(programs.join(tools::PROGRAM), "")?;
    symlink(tools::PROGRAM, programs.join(tools::APPLY_PATCH))?;
    let (name, text) = tools::MCP_CONFIG;
    fs::write(folder.join(name), text)?;
    // Whatever the agent's own mask.
    for path in [folder, &programs] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o644))
}
