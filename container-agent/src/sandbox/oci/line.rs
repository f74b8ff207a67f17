//! The unix socket between the agent and a container's first process.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::handle::Container;
use super::init;
use crate::sandbox::SandboxError;

/// From the engine's word that it started to the first process' own.
const CONNECT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The socket that the container's first process connects to.
pub struct Line {
    listener: AsyncFd<OwnedFd>,
    path: PathBuf,
    user: u32,
}

/// The other end is this container's first process.
pub struct Connected {
    pub socket: AsyncFd<OwnedFd>,
    /// As the machine sees it.
    pub process: Pid,
}

impl Line {
    pub fn listen(folder: &Path, user: u32) -> std::io::Result<Self> {
        let name = Path::new(init::SOCKET).file_name().unwrap_or_default();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // By its directory's descriptor: a socket's path may be no longer than 107 bytes.
        let directory = std::fs::File::open(folder)?;
        let descriptor = directory.as_raw_fd();
        let short = Path::new("/proc/self/fd").join(descriptor.to_string()).join(name);
        rustix::net::bind(&socket, &SocketAddrUnix::new(short)?)?;
        let path = folder.join(name);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        rustix::net::listen(&socket, 1)?;
        Ok(Self { listener: watch(socket)?, path, user })
    }

    /// One connection; then nobody finds the socket any more.
    pub async fn accept(self, container: &Container) -> Result<Connected, SandboxError> {
        let accepted = tokio::select! {
            accepted = self.listener.async_io(Interest::READABLE, |listener| {
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                Ok(rustix::net::accept_with(listener, flags)?)
            }) => accepted.map_err(SandboxError::io("accept the container's first process"))?,
            ended = ended(container) => return Err(ended),
        };
        std::fs::remove_file(&self.path).map_err(SandboxError::io("take the socket away"))?;
        let peer = rustix::net::sockopt::socket_peercred(&accepted)
            .map_err(|error| SandboxError::Setup(format!("who connected: {error}")))?;
        if peer.uid.as_raw() != self.user {
            return Err(SandboxError::Setup(format!(
                "user {} connected to the container's socket instead of {}: an engine that maps users (userns-remap) cannot \
                 be used",
                peer.uid.as_raw(),
                self.user
            )));
        }
        let socket = watch(accepted).map_err(SandboxError::io("hear the container's first process"))?;
        Ok(Connected { socket, process: peer.pid })
    }
}

pub fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is an open descriptor of its own until it is dropped, and `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register(fd)? };
    Ok(watched)
}

/// Why the container's first process will not connect.
async fn ended(container: &Container) -> SandboxError {
    let deadline = tokio::time::sleep(CONNECT);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            () = &mut deadline => {
                return SandboxError::Setup(format!("its first process was silent for {} s", CONNECT.as_secs()));
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
        match container.is_running().await {
            Ok(true) => {}
            Ok(false) => {
                return SandboxError::Setup(
                    "its first process ended before it said a word: the image lacks the C library that this program \
                     needs (use a statically linked one: `cargo native -p container-agent`), or SELinux keeps it from its \
                     socket"
                        .into(),
                );
            }
            Err(error) => return error,
        }
    }
}
