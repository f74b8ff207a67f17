//! What this machine can do, for `doctor` and for the refusal of `run`: rows that say why, and whether
//! [`super::trial`] ran.

use std::fs;
use std::path::Path;

use shared_contracts::sandboxes::{Finding, SandboxTier, Verdict};

use super::namespaces::cgroup::{Controller, Hierarchies};
use super::trial::Trial;

pub fn good(what: &str, found: impl Into<String>, meaning: impl Into<String>) -> Finding {
    bad(what, Verdict::Good, found, meaning, "")
}

pub fn bad(
    what: &str,
    verdict: Verdict,
    found: impl Into<String>,
    meaning: impl Into<String>,
    fix: impl Into<String>,
) -> Finding {
    Finding { what: what.into(), verdict, found: found.into(), meaning: meaning.into(), fix: fix.into() }
}

/// How the operator wants limits treated; it decides what a missing controller means.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub enforce_limits: bool,
    pub disk_in_memory: bool,
}

/// What can be read, and what came of the trial.
pub fn probe(expected: Expected, trial: Trial) -> Vec<Finding> {
    let mut findings = vec![privilege(), user_namespaces(), landlock(), seccomp(), overlay(), proc_visible()];
    if trial.ran {
        // These were only guesses why a sandbox might not run.
        findings.retain(|finding| finding.verdict != Verdict::Missing);
    }
    let hierarchies = Hierarchies::detect();
    for (controller, what, needed) in [
        (Controller::Memory, "memory limit", true),
        (Controller::Pids, "process limit", true),
        (Controller::Cpu, "CPU limit", false),
        (Controller::Cpuacct, "CPU accounting", false),
    ] {
        findings.push(controller_finding(
            &hierarchies,
            controller,
            what,
            needed && expected.enforce_limits,
            expected,
        ));
    }
    findings.push(disk_limit(expected.disk_in_memory));
    findings.extend(trial.findings);
    findings
}

/// Where executions write, whichever kind of sandbox they have.
pub fn disk_limit(in_memory: bool) -> Finding {
    match in_memory {
        true => good("disk limit", "memory (tmpfs)", "sized per execution; counts as memory, too"),
        false => bad(
            "disk limit",
            Verdict::Limited,
            "directory",
            "what an execution writes is not limited; it may fill the state directory's file system",
            "set workspace_disk = \"memory\"",
        ),
    }
}

/// The tier these findings yield.
pub fn tier(findings: &[Finding]) -> SandboxTier {
    match findings.iter().map(|finding| finding.verdict).max_by_key(|verdict| *verdict as u8) {
        Some(Verdict::Missing) => SandboxTier::None,
        Some(Verdict::Limited) => SandboxTier::Limited,
        _ => SandboxTier::Strong,
    }
}

fn privilege() -> Finding {
    if rustix::process::geteuid().is_root() {
        return good("privilege", "root", "every execution gets a user of its own");
    }
    bad(
        "privilege",
        Verdict::Limited,
        "an ordinary user",
        "all executions have this user's id outside their sandbox; files it does not own cannot be shown as theirs",
        "run it as root (the systemd unit does) for a user of its own for every execution",
    )
}

fn user_namespaces() -> Finding {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let switches = [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns for this \
             program",
        ),
    ];
    let switched_off = |(path, off, _): &&(&str, &str, &str)| read(path).as_deref() == Some(off);
    if !rustix::process::geteuid().is_root()
        && let Some((path, off, fix)) = switches.iter().find(switched_off)
    {
        let meaning = "only root may make a sandbox here";
        return bad("user namespaces", Verdict::Missing, format!("{path} = {off}"), meaning, *fix);
    }
    let limit = read("/proc/sys/user/max_user_namespaces");
    if !Path::new("/proc/self/ns/user").exists() || limit.as_deref() == Some("0") {
        return bad(
            "user namespaces",
            Verdict::Missing,
            limit.map_or_else(
                || "not in this kernel".into(),
                |limit| format!("max_user_namespaces = {limit}"),
            ),
            "executions cannot be given a user of their own",
            "sysctl user.max_user_namespaces=10000",
        );
    }
    good("user namespaces", format!("up to {}", limit.unwrap_or_default()), "own user per execution")
}

fn landlock() -> Finding {
    // SAFETY: asks for the version only; with this flag no attribute is read.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, 1) };
    match version {
        6.. => good("Landlock", format!("ABI {version}"), "second wall for files, sockets and signals"),
        1..=5 => bad(
            "Landlock",
            Verdict::Limited,
            format!("ABI {version}"),
            "second wall for files; abstract sockets and signals have only the namespaces",
            "a kernel of 6.12 or later",
        ),
        _ => bad(
            "Landlock",
            Verdict::Missing,
            "absent",
            "the second wall for files is missing",
            "boot with lsm=landlock,… or use a kernel that has it",
        ),
    }
}

fn seccomp() -> Finding {
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.contains("errno") && actions.contains("kill_process") {
        good("seccomp", "filters", "dangerous calls and AF_VSOCK are refused")
    } else {
        bad(
            "seccomp",
            Verdict::Missing,
            "no filters",
            "dangerous system calls cannot be refused",
            "a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

fn overlay() -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        return good("overlayfs", "in the kernel", "a workspace is attached without copying it");
    }
    bad("overlayfs", Verdict::Missing, "absent", "a workspace cannot be attached", "modprobe overlay")
}

/// Inside most containers parts of `/proc` are covered, and the kernel then refuses a fresh one in a namespace.
fn proc_visible() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let covered: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| point.starts_with("/proc/") && *point != "/proc/sys/fs/binfmt_misc")
        .collect();
    if covered.is_empty() {
        return good("/proc", "whole", "each sandbox gets a fresh one");
    }
    bad(
        "/proc",
        Verdict::Missing,
        format!("covered at {}", covered.join(", ")),
        "the kernel refuses a fresh /proc in a sandbox: this agent runs inside a container",
        "run it on the host, or with docker run --security-opt systempaths=unconfined",
    )
}

fn controller_finding(
    hierarchies: &Hierarchies,
    controller: Controller,
    what: &'static str,
    needed: bool,
    expected: Expected,
) -> Finding {
    let Some(found) = hierarchies.describe(controller) else {
        let verdict = if needed { Verdict::Missing } else { Verdict::Limited };
        return bad(
            what,
            verdict,
            "no controller",
            "this cannot be enforced here",
            "mount the controller (cgroup v2: enable it in the parent's cgroup.subtree_control), or accept it with limits = \"none\"",
        );
    };
    if !expected.enforce_limits {
        return bad(
            what,
            Verdict::Limited,
            found,
            "not used: the configuration says limits = \"none\"",
            "set limits = \"enforce\"",
        );
    }
    good(what, found, "enforced per execution")
}
