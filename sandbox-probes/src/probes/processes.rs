//! Other processes: the sandbox's first one, the agent, other executions, everybody else's on the machine.

use std::fs;
use std::io::IoSlice;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::files::tells;
use super::{may_write, opens};
use crate::call::{self, address, call, int, open_call};
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

const PTRACE_SEIZE: usize = 0x4206;

pub const PROBES: &[Probe] = &[
    probe("ptrace-init", "the first process can be taken over", &[], |_| {
        call(libc::SYS_ptrace, &[PTRACE_SEIZE, 1]).into()
    }),
    probe("ptrace-child", "processes can be traced, which has broken kernels before", &[], |_| {
        with_child(|pid| call(libc::SYS_ptrace, &[PTRACE_SEIZE, int(pid)]).into())
    }),
    probe("ptrace-traceme", "the same, from the other side", &[], |_| call(libc::SYS_ptrace, &[0]).into()),
    probe("memory-read-init", "the first process's memory can be read", &[], |_| {
        moves_memory(libc::SYS_process_vm_readv, 1)
    }),
    probe("memory-write-child", "other processes' memory can be written", &[], |_| {
        with_child(|pid| moves_memory(libc::SYS_process_vm_writev, pid))
    }),
    probe("pidfd-getfd-init", "descriptors can be taken from the first process", &[], |_| {
        let taken = open_call(libc::SYS_pidfd_open, &[1])
            .and_then(|init| open_call(libc::SYS_pidfd_getfd, &[int(init.as_raw_fd()), 0, 0]));
        Verdict::past(taken, &[libc::EBADF])
    }),
    probe("pidfd-getfd-child", "descriptors can be taken from other processes", &[], |_| {
        with_child(|pid| {
            open_call(libc::SYS_pidfd_open, &[int(pid)])
                .and_then(|child| open_call(libc::SYS_pidfd_getfd, &[int(child.as_raw_fd()), 0, 0]))
                .into()
        })
    }),
    probe("kcmp-init", "kernel objects of two processes can be compared", &["CONFIG_KCMP"], |_| {
        // KCMP_VM.
        call(libc::SYS_kcmp, &[int(call::process()), 1, 1]).into()
    }),
    probe("madvise-init", "the first process's memory can be paged out", &[], |_| {
        let page = vec![0_u8; 8_192];
        // MADV_COLD: a hint that changes nothing.
        let part = [IoSlice::new(&page)];
        let advised = open_call(libc::SYS_pidfd_open, &[1]).and_then(|init| {
            call(libc::SYS_process_madvise, &[int(init.as_raw_fd()), address(&part), 1, 20, 0])
        });
        Verdict::past(advised, &[libc::EINVAL, libc::ENOMEM])
    }),
    probe("signal-init", "the first process can be signalled", &[], |_| call(libc::SYS_kill, &[1, 0]).into()),
    probe("signal-victim", "a process of the host can be signalled", &[], |outside| {
        call(libc::SYS_kill, &[int(outside.victim), 0]).into()
    }),
    probe("signal-anybody", "any process but the payload's own can be signalled", &[], |_| {
        let own = own_processes();
        let mut others = (1..=65_536).filter(|pid| !own.contains(pid));
        let found = others.find(|pid| call(libc::SYS_kill, &[int(*pid), 0]).is_ok());
        Verdict::open_if(found.is_some(), format!("process {found:?}"))
    }),
    probe("pidfd-victim", "a process of the host can be held", &[], |outside| {
        open_call(libc::SYS_pidfd_open, &[int(outside.victim), 0])
            .and_then(|held| call(libc::SYS_pidfd_send_signal, &[int(held.as_raw_fd()), 0, 0, 0]))
            .into()
    }),
    probe("limits-victim", "limits of a process of the host can be read", &[], |outside| {
        let room = [0_u64; 2];
        call(libc::SYS_prlimit64, &[int(outside.victim), 7, 0, address(&room)]).into()
    }),
    probe("victim-listed", "a process of the host is in /proc, with its arguments", &[], |outside| {
        let own = own_processes();
        let name = outside.victim_name();
        let shows = |pid: &i32| head(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(&name));
        let found = listed().into_iter().find(|pid| !own.contains(pid) && shows(pid));
        Verdict::open_if(found.is_some(), format!("process {found:?}"))
    }),
    probe("foreign-listed", "/proc lists more than the payload's own and the first process", &[], |_| {
        let own = own_processes();
        let found: Vec<_> = listed().into_iter().filter(|pid| *pid != 1 && !own.contains(pid)).collect();
        Verdict::open_if(!found.is_empty(), format!("{found:?}"))
    }),
    probe("environment-leaked", "the agent's or another's environment can be read", &[], |outside| {
        let own = own_processes();
        let others = listed().into_iter().filter(|pid| !own.contains(pid));
        let found = others.into_iter().find(|pid| tells(format!("/proc/{pid}/environ"), outside));
        Verdict::open_if(found.is_some(), format!("of process {found:?}"))
    }),
    probe("secret-in-own-environment", "the agent's environment was passed on", &[], |outside| {
        let held = std::env::vars().any(|(_, value)| value.contains(&outside.secret()));
        Verdict::open_if(held, "the payload's own environment")
    }),
    probe("init-environ", "the first process's environment can be read", &[], |_| {
        opens("/proc/1/environ", false)
    }),
    probe("init-mem", "the first process's memory can be written", &[], |_| opens("/proc/1/mem", true)),
    probe("init-maps", "where the first process's memory is", &[], |_| opens("/proc/1/maps", false)),
    probe("init-exe-write", "the agent's program can be changed (CVE-2019-5736)", &[], |_| {
        may_write(Path::new("/proc/1/exe"))
    }),
    probe("init-cwd", "the first process's working directory can be entered", &[], |_| {
        fs::read_dir("/proc/1/cwd/").into()
    }),
    probe("init-root", "the first process's root can be entered", &[], |_| {
        fs::read_dir("/proc/1/root/").into()
    }),
    probe("init-fd", "the first process's descriptors can be listed", &[], |_| {
        fs::read_dir("/proc/1/fd").into()
    }),
    probe("init-fd-open", "the first process's descriptors can be opened again", &[], |_| {
        Verdict::any((0..8).map(|fd| opens(format!("/proc/1/fd/{fd}"), false)))
    }),
    probe("init-io", "what the first process reads and writes is counted for all to see", &[], |_| {
        opens("/proc/1/io", false)
    }),
    probe("init-oom-score", "the first process can be made the kernel's first victim", &[], |_| {
        opens("/proc/1/oom_score_adj", true)
    }),
];

fn with_child(attempt: impl FnOnce(i32) -> Verdict) -> Verdict {
    match call::child(|| call::pause()) {
        Ok(child) => attempt(child.pid),
        Err(error) => Verdict::Closed(error.to_string()),
    }
}

/// Copies a byte between here and the same address there; a fault comes after the permission.
fn moves_memory(number: libc::c_long, pid: i32) -> Verdict {
    let byte = [0_u8; 1];
    let part = [IoSlice::new(&byte)];
    let moved = call(number, &[int(pid), address(&part), 1, address(&part), 1, 0]);
    Verdict::past(moved, &[libc::EFAULT])
}

fn listed() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The probe's process, what started it, and its threads and children.
fn own_processes() -> Vec<i32> {
    let parent = std::os::unix::process::parent_id() as i32;
    let of = |pid: &i32| {
        let status = head(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    let ours = [call::process(), parent];
    listed()
        .into_iter()
        .filter(|pid| ours.contains(pid) || of(pid).is_some_and(|of: i32| ours.contains(&of)))
        .collect()
}
