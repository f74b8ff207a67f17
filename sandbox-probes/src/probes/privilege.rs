//! Ways to become more than the payload's user, and limits that only such may raise.

use std::os::unix::fs::chown;
use std::process::{Command, Stdio};

use super::in_scratch;
use crate::call::{address, call, effective_user, int, text};
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SYS_ADMIN: u32 = 1 << 21;
const NOBODY: usize = 65_534;

pub const PROBES: &[Probe] = &[
    probe("user-is-root", "the payload is root", &[], |_| {
        Verdict::open_if(effective_user() == 0, format!("uid {}", effective_user()))
    }),
    probe("user-become-root", "the payload can become root", &[], |_| {
        call(libc::SYS_setresuid, &[0, 0, 0]).into()
    }),
    probe("user-become-other", "the payload can become another execution's user", &[], |_| {
        call(libc::SYS_setresuid, &[200_001, 200_001, 200_001]).into()
    }),
    probe("group-become-root", "the payload can join root's group", &[], |_| {
        call(libc::SYS_setresgid, &[0, 0, 0]).into()
    }),
    probe("groups-set", "the payload can join any group", &[], |_| {
        let groups = [0_u32];
        call(libc::SYS_setgroups, &[1, address(&groups)]).into()
    }),
    probe("groups-held", "the payload is in groups of the host", &[], |_| {
        // Root without any is not less: the control joins one first.
        let _ = call(libc::SYS_setgroups, &[1, address(&[4_u32])]);
        let (groups, own) = (status("Groups:"), status("Gid:"));
        // Some engines list the payload's own, which is no more than it has anyway.
        let held = groups.split_whitespace().any(|group| Some(group) != own.split_whitespace().next());
        Verdict::open_if(held, groups)
    }),
    probe("setuid-program", "a program with the setuid bit gains its owner's rights", &[], |outside| {
        // Root gives its own up first, so that there is something to gain.
        let _ = call(libc::SYS_setresuid, &[NOBODY, NOBODY, NOBODY]);
        let program = Command::new(outside.setuid_program()).arg("--euid").stderr(Stdio::null()).output();
        let gained = program.map(|output| String::from_utf8_lossy(&output.stdout).trim() == "0");
        Verdict::open_if(gained.as_ref().is_ok_and(|gained| *gained), format!("{gained:?}"))
    }),
    probe("capabilities-held", "the payload has capabilities", &[], |_| bits("CapEff:")),
    probe("capabilities-permitted", "the payload can take capabilities up", &[], |_| bits("CapPrm:")),
    probe("capabilities-bounding", "a program could gain capabilities", &[], |_| bits("CapBnd:")),
    probe("capabilities-set", "the payload can give itself capabilities", &[], |_| {
        sets_capabilities().into()
    }),
    probe("capabilities-ambient", "the payload can pass capabilities on", &["CAP_SYS_ADMIN"], |_| {
        let raise = [int(libc::PR_CAP_AMBIENT), int(libc::PR_CAP_AMBIENT_RAISE), 21, 0, 0];
        sets_capabilities().and_then(|_| call(libc::SYS_prctl, &raise)).into()
    }),
    probe("capabilities-keep", "capabilities can be kept over a change of user", &[], |_| {
        call(libc::SYS_prctl, &[int(libc::PR_SET_KEEPCAPS), 1]).into()
    }),
    probe("securebits", "what root means can be set", &["CAP_SETPCAP"], |_| {
        call(libc::SYS_prctl, &[int(libc::PR_SET_SECUREBITS), 1]).into()
    }),
    probe("new-privileges", "programs may gain privileges", &[], |_| {
        let set = call(libc::SYS_prctl, &[int(libc::PR_GET_NO_NEW_PRIVS), 0, 0, 0, 0]);
        Verdict::open_if(!set.is_ok_and(|set| set == 1), "no_new_privs")
    }),
    probe("filter-missing", "no seccomp filter looks at calls", &[], |_| {
        Verdict::open_if(status("Seccomp:") != "2", format!("mode {}", status("Seccomp:")))
    }),
    probe("chown", "files can be given to others", &["CAP_CHOWN"], |_| {
        in_scratch(|scratch| Ok(chown(scratch.file()?, Some(1), Some(1)).into()))
    }),
    probe("chown-root", "files can be given to root", &["CAP_CHOWN"], |_| {
        in_scratch(|scratch| {
            let file = scratch.file()?;
            let _ = chown(&file, Some(1), Some(1));
            Ok(chown(&file, Some(0), Some(0)).into())
        })
    }),
    probe("host-name", "the machine's name can be set", &[], |_| {
        let name = head("/proc/sys/kernel/hostname").unwrap_or_default();
        call(libc::SYS_sethostname, &[name.as_ptr() as usize, name.trim_end().len()]).into()
    }),
    probe("domain-name", "the machine's domain can be set", &[], |_| {
        call(libc::SYS_setdomainname, &[text(c"(none)"), 6]).into()
    }),
    probe("realtime", "the payload can keep all others from running", &["CAP_SYS_NICE"], |_| {
        let priority = [1_i32];
        // SCHED_FIFO, SCHED_DEADLINE's older sister; a group without time for it says EPERM even to root.
        call(libc::SYS_sched_setscheduler, &[0, 1, address(&priority)]).into()
    }),
    probe("nice", "the payload can be preferred to others", &["CAP_SYS_NICE"], |_| {
        call(libc::SYS_setpriority, &[0, 0, int(-5)]).into()
    }),
    probe("io-priority", "the payload's disk use can be preferred to others'", &["CAP_SYS_ADMIN"], |_| {
        // IOPRIO_WHO_PROCESS; the real-time class.
        call(libc::SYS_ioprio_set, &[1, 0, (1 << 13) | 4]).into()
    }),
    probe("limit-files", "the limit of open files can be raised", &["CAP_SYS_RESOURCE"], |_| raises(7)),
    probe("limit-processes", "the limit of processes can be raised", &["CAP_SYS_RESOURCE"], |_| raises(6)),
    probe("limit-locked-memory", "the limit of locked memory can be raised", &["CAP_SYS_RESOURCE"], |_| {
        raises(8)
    }),
];

fn status(name: &str) -> String {
    let text = head("/proc/self/status").unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
}

fn bits(name: &str) -> Verdict {
    let bits = status(name);
    Verdict::open_if(bits.contains(|digit: char| digit != '0'), bits)
}

/// One capability: effective, permitted, inheritable.
fn sets_capabilities() -> std::io::Result<libc::c_long> {
    let (header, data) = ([CAPABILITY_VERSION_3, 0], [SYS_ADMIN, SYS_ADMIN, SYS_ADMIN, 0, 0, 0]);
    call(libc::SYS_capset, &[address(&header), address(&data)])
}

/// One above the hard limit.
fn raises(resource: usize) -> Verdict {
    let mut limits = [0_u64; 2];
    let room = std::ptr::from_mut(&mut limits) as usize;
    let read = call(libc::SYS_prlimit64, &[0, resource, 0, room]);
    let [_, hard] = limits;
    let wanted = [hard.saturating_add(1), hard.saturating_add(1)];
    read.and_then(|_| call(libc::SYS_prlimit64, &[0, resource, address(&wanted), 0])).into()
}
