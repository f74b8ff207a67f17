//! What the payload may not do even inside its namespaces: resource limits, capabilities, Landlock, seccomp.

use std::collections::BTreeMap;
use std::io;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

use shared_contracts::executions::Limits;

use super::sys;

/// Where the payload may write besides its workspace.
const WRITABLE: [&str; 3] = ["/tmp", "/home/agent", "/dev"];
/// What is refused where no rule allows it.
const LANDLOCK: ABI = ABI::V6;
const CAPABILITIES_LAST: libc::c_ulong = 63;

/// System calls as number and name: an engine's profile wants names.
macro_rules! calls {
    ($($call:ident),* $(,)?) => { &[$((libc::$call, stringify!($call))),*] };
}
type Calls = &'static [(libc::c_long, &'static str)];

/// Calls that the payload never needs. Each answers EPERM.
const DENIED: Calls = calls![
    // Mounts and roots.
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    // Namespaces; `clone` is looked at more closely below.
    SYS_setns,
    SYS_unshare,
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_kcmp,
    SYS_process_madvise,
    // The kernel itself.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_acct,
    SYS_syslog,
    SYS_fanotify_init,
    SYS_fanotify_mark,
    SYS_memfd_secret,
    SYS_personality,
    SYS_vhangup,
    SYS_lookup_dcookie,
    SYS_move_pages,
    SYS_migrate_pages,
    SYS_set_mempolicy,
    SYS_mbind,
];
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: Calls = calls![SYS_iopl, SYS_ioperm, SYS_modify_ldt];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: Calls = &[];

pub const NAMESPACE_FLAGS: [libc::c_int; 8] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
    0x80, // CLONE_NEWTIME
];
/// AF_VSOCK is not among them: it ignores network namespaces and reaches the hypervisor's host.
pub const SOCKET_FAMILIES: [libc::c_int; 4] =
    [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Both put characters into a terminal as if somebody had typed them.
pub const TERMINAL_REQUESTS: [u64; 2] = [libc::TIOCSTI, 0x541c /* TIOCLINUX */];

fn denied() -> impl Iterator<Item = &'static (libc::c_long, &'static str)> {
    DENIED.iter().chain(DENIED_HERE)
}

/// The names of the calls that are denied whatever their arguments.
pub fn denied_names() -> impl Iterator<Item = &'static str> {
    denied().map(|(_, name)| name.trim_start_matches("SYS_"))
}

/// One program. When it takes a program in, the kernel runs it once for every call that there is, so a call goes through
/// few of its steps only: those of the part that its number falls into.
///
/// ```text
///   clone3, x32 ─▶ not below the last part's first call? ─▶ … ─▶ the parts, of which one is run
/// ```
pub struct Seccomp(BpfProgram);

/// Calls with a rule in each part.
const PART_CALLS: usize = 8;

impl Seccomp {
    pub fn compile() -> Result<Self, seccompiler::Error> {
        let rules: Vec<_> = rules()?.into_iter().collect();
        let mut parts = Vec::new();
        for rules in rules.chunks(PART_CALLS) {
            let first = rules.first().map_or(0, |(number, _)| number.unsigned_abs() as u32);
            parts.push((first, deny_program(rules.iter().cloned().collect())?));
        }
        let mut program = own_program();
        // A jump is relative to the step after it: over the other jumps, then over the parts before this one.
        let mut before: u32 = parts.iter().map(|(_, part)| part.len() as u32).sum();
        for (number, (first, part)) in parts.iter().enumerate().rev() {
            before -= part.len() as u32;
            program.push(jump(libc::BPF_JGE, *first, 0, u8::from(number > 0)));
            program.push(statement(libc::BPF_JMP | libc::BPF_JA, before + 2 * number as u32));
        }
        program.extend(parts.into_iter().flat_map(|(_, part)| part));
        Ok(Self(program))
    }

    /// For this process and its children, for ever.
    pub fn apply(&self) -> Result<(), seccompiler::Error> {
        seccompiler::apply_filter(&self.0)
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What is refused with EPERM: by its number alone, or by its arguments.
fn rules() -> Result<Rules, seccompiler::Error> {
    use SeccompCmpArgLen::{Dword, Qword};
    let condition = |argument, length, operator, value| {
        SeccompCondition::new(argument, length, operator, value).map_err(seccompiler::Error::from)
    };
    let number = |value: libc::c_int| u64::from(value.unsigned_abs());
    let mut rules: Rules = denied().map(|(call, _)| (*call, Vec::new())).collect();
    let mut namespaces = Vec::new();
    for flag in NAMESPACE_FLAGS.map(number) {
        let set = condition(0, Qword, SeccompCmpOp::MaskedEq(flag), flag)?;
        namespaces.push(SeccompRule::new(vec![set])?);
    }
    rules.insert(libc::SYS_clone, namespaces);
    let mut other_family = Vec::new();
    for family in SOCKET_FAMILIES.map(number) {
        other_family.push(condition(0, Dword, SeccompCmpOp::Ne, family)?);
    }
    let other_netlink = vec![
        condition(0, Dword, SeccompCmpOp::Eq, number(libc::AF_NETLINK))?,
        condition(2, Dword, SeccompCmpOp::Ne, number(libc::NETLINK_ROUTE))?,
    ];
    let sockets = vec![SeccompRule::new(other_family)?, SeccompRule::new(other_netlink)?];
    rules.insert(libc::SYS_socket, sockets.clone());
    rules.insert(libc::SYS_socketpair, sockets);
    let mut terminal = Vec::new();
    for request in TERMINAL_REQUESTS {
        terminal.push(SeccompRule::new(vec![condition(1, Dword, SeccompCmpOp::Eq, request)?])?);
    }
    rules.insert(libc::SYS_ioctl, terminal);
    Ok(rules)
}

/// Ends a process of another architecture, refuses what has a rule, allows the rest.
fn deny_program(rules: Rules) -> Result<BpfProgram, seccompiler::Error> {
    let architecture = std::env::consts::ARCH.try_into()?;
    let deny = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, deny, architecture)?.try_into()?)
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | condition | libc::BPF_K) as u16, jt, jf, k }
}

/// What comes before every part. `clone3` hides its flags behind a pointer: ENOSYS makes libraries fall back to `clone`, and
/// a program of seccompiler's holds one errno only. A call with x32's bit is no call that any 64-bit program makes: it ends
/// the process. The number stays where the next step finds it.
fn own_program() -> BpfProgram {
    let clone3 = libc::SYS_clone3.unsigned_abs() as u32;
    vec![
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(libc::BPF_JGE, 0x4000_0000, 2, 0),
        jump(libc::BPF_JEQ, clone3, 0, 2),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs()),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
    ]
}

/// A second wall for files; abstract sockets and signals stay inside where the kernel can (ABI 6).
pub struct Landlock(RulesetCreated);

impl Landlock {
    /// All of it but the workspace, which may come later.
    pub fn prepare() -> Result<Self, RulesetError> {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(LANDLOCK))?
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rules(path_beneath_rules(["/"], AccessFs::from_read(LANDLOCK)))?
            .add_rules(path_beneath_rules(WRITABLE, AccessFs::from_all(LANDLOCK)))?;
        Ok(Self(ruleset))
    }

    /// For this process and its children, for ever.
    pub fn apply(self, workspace: &str) -> Result<RulesetStatus, RulesetError> {
        let workspace = path_beneath_rules([workspace], AccessFs::from_all(LANDLOCK));
        Ok(self.0.add_rules(workspace)?.restrict_self()?.ruleset)
    }
}

/// Lowers limits; none is ever raised above what this process has.
///
/// The control group counts the forks that it refuses, so it must be the first to refuse, and can then tell. The
/// kernel counts a fork against `RLIMIT_NPROC` from its beginning and against the control group near its end, and each
/// process can be in one fork: behind twice as many, this second wall is never the first.
pub fn resource_limits(limits: &Limits) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let (processes, open_files) = (u64::from(limits.processes), u64::from(limits.open_files));
    let forks = processes * 2;
    for (resource, needed, what, how) in [
        (
            Resource::Nproc,
            forks,
            format!("{processes} processes need"),
            "ulimit -u, systemd: LimitNPROC=infinity",
        ),
        (
            Resource::Nofile,
            open_files,
            format!("{open_files} open files need"),
            "ulimit -n, systemd: LimitNOFILE=1048576",
        ),
    ] {
        if let Some(hard) = getrlimit(resource).maximum.filter(|hard| *hard < needed) {
            let text = format!(
                "{what} a hard limit of {needed} for this agent, and it is {hard}; raise it ({how}), or ask for fewer"
            );
            return Err(io::Error::other(text));
        }
    }
    for (resource, wanted) in [
        (Resource::Core, 0),
        (Resource::Nofile, open_files),
        (Resource::Nproc, forks),
        (Resource::Memlock, 8 * 1024 * 1024),
    ] {
        let value = getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    }
    Ok(())
}

/// What capabilities this process has it keeps for now; once lost, none can be had again, by whatever program.
pub fn bar_capabilities() -> io::Result<()> {
    // NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks; KEEP_CAPS locked off.
    const SECURE_BITS: libc::c_ulong = 0b1110_1111;
    for capability in 0..=CAPABILITIES_LAST {
        match sys::prctl(libc::PR_CAPBSET_DROP, capability) {
            // Beyond the last one that this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)?;
    sys::prctl(libc::PR_SET_SECUREBITS, SECURE_BITS)?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Loses them.
pub fn drop_capabilities() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: libc::c_int,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let nothing = [const { Data { effective: 0, permitted: 0, inheritable: 0 } }; 2];
    // SAFETY: the header and two data records that version 3 wants; both outlive the call.
    sys::check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, and in how many steps. `arguments`: of the call, as the kernel lays them out.
    fn answer(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
        let mut data = Vec::from([number, architecture, 0, 0]);
        data.extend(arguments.iter().flat_map(|argument| [*argument as u32, (*argument >> 32) as u32]));
        let (mut at, mut held) = (0, 0);
        let mut steps = 0;
        loop {
            steps += 1;
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jumps = |holds: bool| usize::from(if holds { jt } else { jf });
            match u32::from(code) {
                0x20 => held = data[k as usize / 4],
                0x54 => held &= k,
                0x05 => at += k as usize,
                0x15 => at += jumps(held == k),
                0x25 => at += jumps(held > k),
                0x35 => at += jumps(held >= k),
                0x45 => at += jumps(held & k != 0),
                0x06 => return (k, steps),
                other => panic!("code {other:#x}"),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_call_is_answered_as_it_should_in_few_steps() {
        const HERE: u32 = 0xc000_003e;
        const I386: u32 = 0x4000_0003;
        let refused = |errno: libc::c_int| libc::SECCOMP_RET_ERRNO | errno.unsigned_abs();
        let Seccomp(program) = Seccomp::compile().unwrap();
        for number in 0..1024 {
            let expected = match libc::c_long::from(number) {
                libc::SYS_clone3 => refused(libc::ENOSYS),
                // A family of 0 is none that is allowed.
                libc::SYS_socket | libc::SYS_socketpair => refused(libc::EPERM),
                call if denied().any(|(denied, _)| *denied == call) => refused(libc::EPERM),
                _ => libc::SECCOMP_RET_ALLOW,
            };
            let (given, steps) = answer(&program, HERE, number, [0; 6]);
            assert_eq!(given, expected, "call {number}");
            assert!(steps < 100, "call {number}: {steps} steps");
            let x32 = answer(&program, HERE, number | 0x4000_0000, [0; 6]).0;
            assert_eq!(x32, libc::SECCOMP_RET_KILL_PROCESS, "call {number} of x32");
            if libc::c_long::from(number) != libc::SYS_clone3 {
                assert_eq!(answer(&program, I386, number, [0; 6]).0, libc::SECCOMP_RET_KILL_PROCESS);
            }
        }
        let with = |call: libc::c_long, arguments| answer(&program, HERE, call as u32, arguments).0;
        for flag in NAMESPACE_FLAGS.map(|flag| flag as u64) {
            assert_eq!(with(libc::SYS_clone, [flag, 0, 0, 0, 0, 0]), refused(libc::EPERM));
        }
        for request in TERMINAL_REQUESTS {
            assert_eq!(with(libc::SYS_ioctl, [0, request, 0, 0, 0, 0]), refused(libc::EPERM));
        }
        assert_eq!(with(libc::SYS_ioctl, [0, 0x5401, 0, 0, 0, 0]), libc::SECCOMP_RET_ALLOW);
        for family in 0..64 {
            let allowed = SOCKET_FAMILIES.contains(&family);
            let wanted = if allowed { libc::SECCOMP_RET_ALLOW } else { refused(libc::EPERM) };
            assert_eq!(with(libc::SYS_socket, [family as u64, 1, 0, 0, 0, 0]), wanted, "family {family}");
        }
        let netlink = [libc::AF_NETLINK as u64, 3, 15, 0, 0, 0];
        assert_eq!(with(libc::SYS_socket, netlink), refused(libc::EPERM), "a netlink that is not routes");
    }
}
