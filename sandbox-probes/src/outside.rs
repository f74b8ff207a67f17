//! What is outside for the probes to find. [`crate::stand`] makes it; number and directory name it on both sides.

use std::os::fd::RawFd;
use std::path::PathBuf;

#[derive(Debug, Clone, Default)]
pub struct Outside {
    /// In every name, so that two runs do not meet.
    pub number: u32,
    /// The host's, shown to the sandbox read-only.
    pub directory: PathBuf,
    /// Where the host's loopback listens.
    pub port: u16,
    /// One of the host's pseudo-terminals.
    pub terminal: PathBuf,
    /// The container agent's program.
    pub agent: PathBuf,
    /// What holds the directories of running executions.
    pub state: PathBuf,
    /// A process of the host.
    pub victim: i32,
    /// Descriptors from 3 on that were open at the start.
    pub inherited: Vec<RawFd>,
}

impl Outside {
    pub fn set(&mut self, name: &str, value: &str) -> bool {
        fn parsed<T: std::str::FromStr>(field: &mut T, value: &str) -> bool {
            value.parse().map(|value| *field = value).is_ok()
        }
        match name {
            "--number" => parsed(&mut self.number, value),
            "--directory" => parsed(&mut self.directory, value),
            "--port" => parsed(&mut self.port, value),
            "--terminal" => parsed(&mut self.terminal, value),
            "--agent" => parsed(&mut self.agent, value),
            "--state" => parsed(&mut self.state, value),
            "--victim" => parsed(&mut self.victim, value),
            _ => false,
        }
    }

    /// In the command lines of processes outside.
    pub fn victim_name(&self) -> String {
        format!("patchbay-victim-{}", self.number)
    }

    /// In their environments, and in files.
    pub fn secret(&self) -> String {
        format!("patchbay-secret-{}", self.number)
    }

    /// The abstract socket, the message queue, and files in the host's shared directories.
    pub fn name(&self) -> String {
        format!("patchbay-probes-{}", self.number)
    }

    pub fn host_socket(&self) -> PathBuf {
        PathBuf::from("/run").join(self.name()).with_extension("sock")
    }

    /// In the directory that the sandbox sees.
    pub fn bound_socket(&self) -> PathBuf {
        self.directory.join("host.sock")
    }

    pub fn bound_file(&self) -> PathBuf {
        self.directory.join("writable.txt")
    }

    /// This program once more, owned by root and with the setuid bit.
    pub fn setuid_program(&self) -> PathBuf {
        self.directory.join("setuid")
    }

    pub fn temporary_file(&self) -> PathBuf {
        PathBuf::from("/tmp").join(self.name())
    }

    pub fn shared_memory_file(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(self.name())
    }

    /// Of System V's objects.
    pub fn key(&self) -> usize {
        0x5042_0000 | (self.number & 0xffff) as usize
    }
}

pub fn inherited_descriptors() -> Vec<RawFd> {
    // SAFETY: only asks whether the descriptor is open.
    (3..1_024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect()
}
