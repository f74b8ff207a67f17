//! New namespaces, whose privileges open most of the kernel's code, and the first process's own.

use std::os::fd::AsRawFd;

use crate::call::{self, address, call, int, open_call, open_path};
use crate::probe::{Probe, Verdict, probe};

const CLONE_NEWTIME: i32 = 0x80;

macro_rules! unshares {
    ($id:literal, $means:literal, $flags:expr) => {
        probe($id, $means, &[], |_| call(libc::SYS_unshare, &[int($flags)]).into())
    };
}

macro_rules! joins {
    ($id:literal, $means:literal, $file:literal) => {
        probe($id, $means, &[], |_| {
            let entered = open_path($file, libc::O_RDONLY)
                .and_then(|namespace| call(libc::SYS_setns, &[int(namespace.as_raw_fd()), 0]));
            entered.into()
        })
    };
}

pub const PROBES: &[Probe] = &[
    unshares!("unshare-user", "all of the kernel's code for administrators opens", libc::CLONE_NEWUSER),
    unshares!("unshare-mount", "mounts of the payload's own", libc::CLONE_NEWNS),
    unshares!("unshare-pid", "processes that others cannot see", libc::CLONE_NEWPID),
    unshares!("unshare-network", "networks of the payload's own", libc::CLONE_NEWNET),
    unshares!("unshare-ipc", "memory that is counted for nobody", libc::CLONE_NEWIPC),
    unshares!("unshare-uts", "names of the payload's own", libc::CLONE_NEWUTS),
    unshares!("unshare-cgroup", "control groups as if at their root", libc::CLONE_NEWCGROUP),
    unshares!("unshare-time", "a clock of the payload's own", CLONE_NEWTIME),
    unshares!(
        "unshare-user-network",
        "what most attacks on the kernel begin with",
        libc::CLONE_NEWUSER | libc::CLONE_NEWNET
    ),
    probe("clone-user", "the same as unshare, by another call", &[], |_| clones(libc::CLONE_NEWUSER)),
    probe("clone-mount", "the same as unshare, by another call", &[], |_| clones(libc::CLONE_NEWNS)),
    probe("clone-network", "the same as unshare, by another call", &[], |_| clones(libc::CLONE_NEWNET)),
    probe("clone3-user", "the same as unshare, where filters cannot see it", &[], |_| {
        clones3(libc::CLONE_NEWUSER)
    }),
    probe("clone3-pid", "the same as unshare, where filters cannot see it", &[], |_| {
        clones3(libc::CLONE_NEWPID)
    }),
    probe("clone3", "a call whose arguments filters cannot see", &[], |_| clones3(0)),
    joins!("join-mount", "the first process's mounts can be entered", c"/proc/1/ns/mnt"),
    joins!("join-network", "the first process's network can be entered", c"/proc/1/ns/net"),
    joins!("join-pid", "the first process's processes can be entered", c"/proc/1/ns/pid"),
    joins!("join-ipc", "the first process's memory can be entered", c"/proc/1/ns/ipc"),
    joins!("join-uts", "the first process's names can be entered", c"/proc/1/ns/uts"),
    joins!("join-cgroup", "the first process's control groups can be entered", c"/proc/1/ns/cgroup"),
    joins!("join-own", "namespaces can be changed at all", c"/proc/self/ns/net"),
    probe("join-by-pidfd", "the first process's namespaces can be entered", &[], |_| {
        let entered = open_call(libc::SYS_pidfd_open, &[1, 0]).and_then(|init| {
            call(libc::SYS_setns, &[int(init.as_raw_fd()), int(libc::CLONE_NEWNS | libc::CLONE_NEWNET)])
        });
        entered.into()
    }),
];

fn clones(flags: i32) -> Verdict {
    match call::clone_into(flags) {
        Ok(0) => call::exit(0),
        other => other.and_then(|pid| call::Child { pid }.wait()).into(),
    }
}

fn clones3(flags: i32) -> Verdict {
    // clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
    let arguments: [u64; 8] = std::array::from_fn(|at| match at {
        0 => flags as u64,
        4 => libc::SIGCHLD as u64,
        _ => 0,
    });
    match call(libc::SYS_clone3, &[address(&arguments), size_of_val(&arguments)]) {
        Ok(0) => call::exit(0),
        other => other.and_then(|pid| call::Child { pid: pid as i32 }.wait()).into(),
    }
}
