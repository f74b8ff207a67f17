//! What the agent and the sandbox helper say to each other: one datagram a message over a `SOCK_SEQPACKET` pair,
//! which is the helper's standard input. The configuration travels in a memory file, because it may be large.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use shared_contracts::executions::Limits;

use super::Toolchain;

const MESSAGE_BYTES_MAX: usize = 16 * 1024;
const DESCRIPTORS_MAX: usize = 2;

/// Everything the helper must know.
#[derive(Debug, Serialize, Deserialize)]
pub struct HelperConfig {
    pub directory: PathBuf,
    pub lower: PathBuf,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    pub toolchains: Vec<Toolchain>,
    /// The uid and gid on the host.
    pub outer_id: u32,
    /// `cgroup.procs` files to enter.
    pub cgroup_procs: Vec<PathBuf>,
    /// Where what is written goes: memory unless this says the state directory.
    pub disk_in_memory: bool,
    pub prompt: Option<String>,
}

/// Agent to helper, besides the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToHelper {
    /// Comes with the memory file that holds the [`HelperConfig`].
    Prepare,
    Start,
    Terminate,
    Kill,
}

/// Helper to agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromHelper {
    /// Comes with the upper and the merged directory of the workspace.
    Prepared,
    /// The payload runs.
    Started,
    Exited(i32),
    Signalled(i32),
    /// The machine is at fault.
    Failed(String),
    /// The command is at fault: not found, not executable.
    CommandFailed(String),
}

pub fn send<M: Serialize>(
    socket: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(std::io::Error::other("too many descriptors in one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message, or none once the other side is gone.
pub fn receive<M: for<'de> Deserialize<'de>>(
    socket: BorrowedFd<'_>,
) -> std::io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    let message = serde_json::from_slice(bytes.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((message, fds)))
}

/// A memory file that holds `config`.
pub fn config_file(config: &HelperConfig) -> std::io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("patchbay-sandbox", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(&serde_json::to_vec(config)?)?;
    file.rewind()?;
    Ok(file.into())
}

pub fn read_config(fd: OwnedFd) -> std::io::Result<HelperConfig> {
    let mut bytes = Vec::new();
    std::fs::File::from(fd).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Cuts a text to what fits a message.
pub fn short(text: &str) -> String {
    text.chars().take(2_000).collect()
}

pub fn socket_pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn messages_and_descriptors_arrive_and_the_end_is_seen() {
        let (here, there) = socket_pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(here.as_fd(), &FromHelper::Prepared, &[reader.as_fd(), writer.as_fd()]).unwrap();
        send(here.as_fd(), &FromHelper::Exited(3), &[]).unwrap();
        let (message, fds) = receive::<FromHelper>(there.as_fd()).unwrap().unwrap();
        assert_eq!((message, fds.len()), (FromHelper::Prepared, 2));
        let (message, fds) = receive::<FromHelper>(there.as_fd()).unwrap().unwrap();
        assert_eq!((message, fds.len()), (FromHelper::Exited(3), 0));
        drop(here);
        assert!(receive::<FromHelper>(there.as_fd()).unwrap().is_none());
    }
}
