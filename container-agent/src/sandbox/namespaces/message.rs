//! What the agent, the template, the sandbox helper and the sandbox's processes say to each other: one datagram a message
//! over `SOCK_SEQPACKET` pairs. What may be large travels in a memory file.
//!
//! ```text
//!   agent ── build ──▶ template                         once: the system, which every sandbox of its kind gets
//!   agent ◀─ built ─── template
//!
//!   agent ── blueprint ▶ template ── forks ──▶ helper   for each sandbox, with the helper's end of a socket of its own
//!   agent ── enter ──▶ helper ── forks ───▶ PID 1       into its control groups
//!   agent ◀─ built ─── helper ◀── built ─── PID 1       it waits in all its namespaces, and the payload's process below it
//!   agent ── attach ─▶ helper ── work ────▶ PID 1 ─▶    the command, its environment, its limits
//!                      helper ── attach ──▶ PID 1 ─▶    the workspace's mount
//!   agent ── start ──▶ helper ── start ───▶ PID 1 ─▶    the payload becomes its program
//!   agent ◀─ started, exited | signalled | failed | command_failed ─ helper ◀─ PID 1
//! ```
//! Nobody waits for an answer to go on: attach and start may be said before anything is built.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared_contracts::executions::{Limits, Terminal};

use super::cgroup::Setting;
use crate::sandbox::{Egress, PlacedFile, SandboxSpec, Toolchain};

const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// One of each hierarchy, of which there are a dozen at most.
const DESCRIPTORS_MAX: usize = 12;

/// What every sandbox of one kind stands on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Base {
    /// Only a mount point: what is there is seen by nobody else.
    pub directory: PathBuf,
    /// The system's root; none is the machine's own.
    pub image: Option<PathBuf>,
    pub toolchains: Vec<Toolchain>,
    /// Whether the agent is root: otherwise everything is built in a user namespace.
    pub privileged: bool,
}

/// What one sandbox can be built from before it is known what will run in it. With it come the helper's socket and the
/// payload's two pipes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blueprint {
    /// Of its own, where what is written does not go to memory.
    pub directory: PathBuf,
    /// The uid and gid of the payload as the helper sees them: a user's helper sees its own as this one.
    pub outer_id: u32,
    pub privileged: bool,
    /// Where what is written goes: memory unless this says the directory.
    pub disk_in_memory: bool,
}

/// What will run, and over what.
#[derive(Debug, Serialize, Deserialize)]
pub struct Work {
    /// The read-only tree below the workspace.
    pub workspace: PathBuf,
    pub files: Vec<PlacedFile>,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub limits: Limits,
    /// Of the control groups, where there are any.
    pub settings: Vec<Setting>,
    pub egress: Egress,
    pub terminal: Option<Terminal>,
}

impl Work {
    pub fn of(spec: &SandboxSpec, settings: Vec<Setting>) -> Self {
        Self {
            workspace: spec.mounts.workspace.clone(),
            files: spec.mounts.files.clone(),
            command: spec.command.clone(),
            environment: spec.environment.clone(),
            limits: spec.limits.clone(),
            settings,
            egress: spec.egress,
            terminal: spec.terminal,
        }
    }
}

/// Agent to helper, and helper to PID 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// To the template with the memory file that holds the [`Base`]. To PID 1: its disk is there; from PID 1: its root is.
    Build,
    /// Comes with the control groups' files: the v2 one to be born in, if there is one, then v1's, to be written to.
    Enter {
        born_in: bool,
    },
    /// Comes with the memory file that holds the [`Work`]. To PID 1 and the payload's process only that the workspace is there,
    /// to the former with its mount.
    Attach,
    /// From the helper on, before it: with the memory file.
    Work,
    Start,
    Terminate,
    Kill,
    /// To PID 1: its ids are mapped.
    Mapped,
}

/// Back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Comes from PID 1 with the listener of its loopback.
    Built,
    /// Of an engine's container: comes with what it is shown.
    Attached,
    /// The payload runs. Comes with its terminal where one is asked for; to the agent with the upper and the merged directory
    /// of the workspace, then the listener where egress is asked for, then the terminal.
    Started,
    Exited(i32),
    Signalled(i32),
    /// The machine is at fault.
    Failed(String),
    /// The command is at fault: not found, not executable.
    CommandFailed(String),
}

/// To one that is gone it says nothing: why it went are its last words, which [`receive`] gives next.
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
    match rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL) {
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The next message, or none once the other side is gone.
pub fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> std::io::Result<Option<(M, Vec<OwnedFd>)>> {
    let mut bytes = [0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            // A reset is said once, before what the other side sent last: it ended without hearing everything.
            Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => {}
            other => break other?,
        }
    };
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

/// A memory file that holds `value`.
pub fn memory_file<T: Serialize>(value: &T) -> std::io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("patchbay-sandbox", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(&serde_json::to_vec(value)?)?;
    Ok(file.into())
}

/// What such a file holds. Several processes may read it at once, which share its position.
pub fn read_memory_file<T: DeserializeOwned>(fd: impl AsFd) -> std::io::Result<T> {
    let file = std::fs::File::from(fd.as_fd().try_clone_to_owned()?);
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
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

    #[test]
    fn messages_and_descriptors_arrive_and_the_end_is_seen() {
        let (here, there) = socket_pair().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        send(here.as_fd(), &Report::Attached, &[reader.as_fd(), writer.as_fd()]).unwrap();
        send(here.as_fd(), &Report::Exited(3), &[]).unwrap();
        let (message, fds) = receive::<Report>(there.as_fd()).unwrap().unwrap();
        assert_eq!((message, fds.len()), (Report::Attached, 2));
        let (message, fds) = receive::<Report>(there.as_fd()).unwrap().unwrap();
        assert_eq!((message, fds.len()), (Report::Exited(3), 0));
        drop(here);
        assert!(receive::<Report>(there.as_fd()).unwrap().is_none());
    }

    #[test]
    fn last_words_are_heard_from_one_who_did_not_listen() {
        for says_more in [false, true] {
            let (here, there) = socket_pair().unwrap();
            send(here.as_fd(), &Order::Start, &[]).unwrap();
            send(there.as_fd(), &Report::Failed("why".into()), &[]).unwrap();
            drop(there);
            if says_more {
                send(here.as_fd(), &Order::Kill, &[]).unwrap();
                send(here.as_fd(), &Order::Kill, &[]).unwrap();
            }
            let (message, _) = receive::<Report>(here.as_fd()).unwrap().unwrap();
            assert_eq!(message, Report::Failed("why".into()));
            assert!(receive::<Report>(here.as_fd()).unwrap().is_none());
        }
    }

    #[test]
    fn a_memory_file_can_be_read_by_two() {
        let file = memory_file(&Limits::default()).unwrap();
        for _ in 0..2 {
            assert_eq!(read_memory_file::<Limits>(&file).unwrap(), Limits::default());
        }
    }
}
