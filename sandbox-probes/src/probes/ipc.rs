//! Memory, messages and semaphores that the host has made open to everybody.

use crate::call::{call, int, open_call, text};
use crate::probe::{Probe, probe};

pub const PROBES: &[Probe] = &[
    probe("shared-memory", "memory of the host's processes", &["CONFIG_SYSVIPC"], |outside| {
        call(libc::SYS_shmget, &[outside.key(), 0, 0]).into()
    }),
    probe("messages", "messages of the host's processes", &["CONFIG_SYSVIPC"], |outside| {
        call(libc::SYS_msgget, &[outside.key(), 0]).into()
    }),
    probe("semaphores", "locks of the host's processes", &["CONFIG_SYSVIPC"], |outside| {
        call(libc::SYS_semget, &[outside.key(), 0, 0]).into()
    }),
    probe("message-queue", "queues of the host's processes", &["CONFIG_POSIX_MQUEUE"], |outside| {
        let name = std::ffi::CString::new(outside.name()).unwrap_or_default();
        open_call(libc::SYS_mq_open, &[text(&name), int(libc::O_RDONLY), 0, 0]).into()
    }),
];
