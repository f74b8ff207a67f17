//! One real sandbox, run to its end for `doctor` and before the first hello: what it shows, no reading of kernel
//! settings can.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use shared_contracts::executions::Limits;
use shared_contracts::sandboxes::{Finding, Verdict};

use super::namespaces::Namespaces;
use super::probe::{bad, good};
use super::{Collected, Egress, Exit, Mounts, Output, Provider, Sandbox, SandboxError, SandboxSpec};
use crate::{clock, tools};

const NAME: &str = "doctor";
const TIME_LIMIT: Duration = Duration::from_secs(10);
const TEXT_BYTES_MAX: u64 = 16 * 1024;
/// Changes a file of the workspace, calls a tool, shows what the kernel thinks of it, then fills its pipe: there it
/// stays until it was looked at.
const SCRIPT: &str = "echo changed >> probe.txt && patchbay-agent --version; cat /proc/self/status && \
                      head -c 2097152 /dev/zero";
/// What `/proc/self/status` says where a wall stands.
const WALLS: [(&str, &str, &str); 6] = [
    ("user", "Uid:", "1000"),
    ("effective capabilities", "CapEff:", "0000000000000000"),
    ("bounding capabilities", "CapBnd:", "0000000000000000"),
    ("ambient capabilities", "CapAmb:", "0000000000000000"),
    ("no new privileges", "NoNewPrivs:", "1"),
    ("seccomp", "Seccomp:", "2"),
];
/// How a failed step's error begins, its row, what it means, how to fix it.
const STEPS: [(&str, &str, &str, &str); 12] = [
    (
        "make the control groups",
        "control groups",
        "limits cannot be set",
        "run it as root on the host, or let it own its control groups (systemd: Delegate=yes), or accept no limits with \
         limits = \"none\"",
    ),
    (
        "own mount namespace",
        "mount namespace",
        "no file system can be built for an execution",
        "run it as root with CAP_SYS_ADMIN: on the host, not in an unprivileged container",
    ),
    (
        "user namespaces",
        "user namespaces",
        "executions cannot be given a user of their own",
        "sysctl user.max_user_namespaces=10000; inside a container its seccomp profile must allow them",
    ),
    (
        "id-map",
        "id-mapped workspace",
        "the state directory's file system cannot show a workspace as an execution's own",
        "put the state directory on ext4, xfs or btrfs, or from Linux 6.3 on tmpfs (--state-dir)",
    ),
    (
        "attributes",
        "workspace in memory",
        "an execution could not remove a directory of its workspace",
        "set workspace_disk = \"directory\", or run it as root, or on Linux 6.6 or later",
    ),
    (
        "overlay",
        "overlay workspace",
        "a workspace cannot be attached without copying it",
        "modprobe overlay, or put the state directory on ext4, xfs, btrfs or tmpfs (--state-dir)",
    ),
    (
        "/proc and /dev/pts",
        "fresh /proc",
        "the kernel refuses a fresh /proc in a sandbox: this agent probably runs inside a container",
        "run it on the host, or with docker run --security-opt systempaths=unconfined",
    ),
    (
        "pivot to the root",
        "root directory",
        "a sandbox could not leave the machine's own: the kernel refuses it to what runs from its initial ramdisk",
        "start the machine from a disk, or let its first process switch_root to a tmpfs",
    ),
    (
        "resource limits",
        "ulimits",
        "an execution that asks for what is usual would be refused",
        "raise the hard limits of this agent (systemd: LimitNOFILE=1048576 LimitNPROC=infinity; ulimit -Hn, -Hu)",
    ),
    ("toolchain", "toolchains", "a toolchain cannot be shown to executions", "correct --toolchain"),
    ("Landlock", "Landlock", "the second wall for files is missing", "boot with lsm=landlock,…"),
    ("seccomp", "seccomp", "dangerous calls cannot be refused", "a kernel with CONFIG_SECCOMP_FILTER"),
];

/// What came of it. `ran` only if the payload did what it should behind every wall.
pub struct Trial {
    pub ran: bool,
    pub findings: Vec<Finding>,
}

impl Trial {
    pub fn failed(
        what: &'static str,
        found: impl Into<String>,
        meaning: &'static str,
        fix: &'static str,
    ) -> Self {
        Self { ran: false, findings: vec![bad(what, Verdict::Missing, found, meaning, fix)] }
    }
}

/// Below `directory`, which the caller removes.
pub async fn run(provider: &Namespaces, directory: &Path, environment: BTreeMap<String, String>) -> Trial {
    let started = clock::now();
    let lower = directory.join("tree");
    let tree =
        std::fs::create_dir(&lower).and_then(|()| std::fs::write(lower.join("probe.txt"), "as it was\n"));
    if let Err(error) = tree {
        return Trial::failed(
            "state directory",
            error.to_string(),
            "nothing can be kept in it",
            "name another one (--state-dir)",
        );
    }
    let limits = Limits::default();
    let spec = SandboxSpec {
        name: NAME.into(),
        owner: None,
        directory: directory.join("execution"),
        mounts: Mounts { workspace: lower, image: None, files: Vec::new() },
        command: ["sh", "-c", SCRIPT].map(str::to_owned).to_vec(),
        environment,
        limits: limits.clone(),
        egress: Egress::Nothing,
        terminal: None,
        slot: 0,
    };
    let mut sandbox = match provider.prepare(spec).await {
        Ok(sandbox) => sandbox,
        Err(error) => return refused(&error),
    };
    let played = tokio::time::timeout(TIME_LIMIT, play(provider, sandbox.as_mut(), &limits)).await;
    sandbox.remove().await;
    match played {
        Ok(Ok(seen)) => judge(provider, seen, started),
        Ok(Err(error)) => refused(&error),
        Err(_) => Trial::failed(
            "sandbox",
            format!("a short command did not end within {} s", TIME_LIMIT.as_secs()),
            "no execution would get anywhere here",
            "look for what holds the machine up: the kernel log, the disk",
        ),
    }
}

struct Seen {
    exit: Exit,
    stdout: String,
    stderr: String,
    /// The disk's size in bytes.
    disk: io::Result<u64>,
    disk_wanted: u64,
    /// Limits that were not as set while the payload ran.
    unmet: Vec<(&'static str, String)>,
    /// Whether it stood still when it was told to; not asked where nothing can hold it.
    paused: Option<Result<(), SandboxError>>,
}

async fn play(
    provider: &Namespaces,
    sandbox: &mut dyn Sandbox,
    limits: &Limits,
) -> Result<Seen, SandboxError> {
    let output = sandbox.start().await?.output;
    // 1. The payload runs until its pipe is read: now its limits must hold.
    let unmet = match provider.enforce_limits {
        true => provider.hierarchies.find(&provider.instance, NAME).unmet(limits),
        false => Vec::new(),
    };
    let paused = match provider.enforce_limits {
        true => Some(pause(sandbox).await),
        false => None,
    };
    // 2. To its end.
    let read = tokio::task::spawn_blocking(move || read_both(output));
    let exit = sandbox.wait().await?;
    let (stdout, stderr) = read.await.unwrap_or_default();
    let collected = sandbox.collect().await?;
    Ok(Seen {
        exit,
        stdout,
        stderr,
        disk: disk_bytes(&collected),
        disk_wanted: u64::from(limits.disk_mb) * 1024 * 1024,
        unmet,
        paused,
    })
}

async fn pause(sandbox: &dyn Sandbox) -> Result<(), SandboxError> {
    let control = sandbox.control();
    control.freeze().await?;
    control.thaw().await
}

fn read_both(output: Output) -> (String, String) {
    let read = |fd| {
        let (mut file, mut text) = (File::from(fd), Vec::new());
        // The rest is only there to be drained.
        let _ = Read::by_ref(&mut file)
            .take(TEXT_BYTES_MAX)
            .read_to_end(&mut text)
            .and_then(|_| io::copy(&mut file, &mut io::sink()));
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split('\0').next().unwrap_or_default().trim_end().to_owned()
    };
    (read(output.stdout), output.stderr.map(read).unwrap_or_default())
}

fn disk_bytes(collected: &Collected) -> io::Result<u64> {
    let facts = rustix::fs::fstatvfs(&collected.upper)?;
    Ok(facts.f_blocks * facts.f_frsize)
}

fn judge(provider: &Namespaces, seen: Seen, started: Instant) -> Trial {
    // 1. Did it do what it should?
    if seen.exit != Exit::Code(0) {
        return Trial::failed(
            "sandbox",
            format!("{:?}: {}", seen.exit, seen.stderr.escape_debug()),
            "a program in the sandbox could not change its workspace or read its /proc",
            "run it as root on the host; the state directory on ext4, xfs, btrfs or tmpfs (--state-dir)",
        );
    }
    if !seen.stdout.lines().any(|line| line.starts_with(tools::PROGRAM)) {
        return Trial::failed(
            "tools",
            seen.stderr.escape_debug().to_string(),
            "a coding agent could not call `apply_patch`",
            "let everybody read and execute this program (chmod 755), on a file system without noexec",
        );
    }
    // 2. Behind which walls?
    let fallen: Vec<_> = WALLS
        .iter()
        .filter(|(_, key, wanted)| {
            let value = seen.stdout.lines().find_map(|line| line.strip_prefix(key));
            value.and_then(|value| value.split_whitespace().next()) != Some(wanted)
        })
        .map(|(what, ..)| *what)
        .collect();
    if !fallen.is_empty() {
        return Trial::failed(
            "walls",
            format!("not as they should be: {}", fallen.join(", ")),
            "a program in the sandbox could do more than it may",
            "a kernel with seccomp filters and user namespaces, not inside an emulated one",
        );
    }
    let ran = format!("ran in {} ms", started.elapsed().as_millis());
    let mut findings = vec![good("sandbox", ran, "a real one, behind every wall, in the state directory")];
    // 3. Within which limits?
    if provider.enforce_limits && seen.unmet.is_empty() {
        findings.push(good("limits in force", "as set", "read back while it ran"));
    }
    for (what, held) in seen.unmet {
        let needed = matches!(what, "memory" | "processes");
        findings.push(bad(
            "limits in force",
            if needed { Verdict::Missing } else { Verdict::Limited },
            format!("{what}: {held}"),
            "this limit does not hold for executions",
            "let the agent own its control groups (systemd: Delegate=yes), or accept it with limits = \"none\"",
        ));
    }
    match seen.paused {
        Some(Ok(())) => {
            findings.push(good("pause", "stands still and goes on", "an execution can be frozen"))
        }
        Some(Err(error)) => findings.push(bad(
            "pause",
            Verdict::Limited,
            error.to_string(),
            "an execution cannot be frozen",
            "a kernel with control groups v2, or with the freezer of v1",
        )),
        None => {}
    }
    if provider.disk_in_memory && !seen.disk.as_ref().is_ok_and(|bytes| *bytes == seen.disk_wanted) {
        findings.push(bad(
            "disk limit",
            Verdict::Missing,
            seen.disk.map_or_else(
                |error| error.to_string(),
                |bytes| format!("{bytes} bytes instead of {}", seen.disk_wanted),
            ),
            "what an execution writes is not limited",
            "a kernel with tmpfs, or accept it with workspace_disk = \"directory\"",
        ));
    }
    Trial { ran: true, findings }
}

fn refused(error: &SandboxError) -> Trial {
    let text = match error {
        SandboxError::Setup(text) | SandboxError::Command(text) => text.clone(),
        SandboxError::Io { what, source } => format!("{what}: {source}"),
        SandboxError::HelperDied => error.to_string(),
    };
    let at = text.strip_prefix("workspace: ").unwrap_or(&text);
    match STEPS.iter().find(|(step, ..)| at.starts_with(step)) {
        Some((_, what, meaning, fix)) => Trial::failed(what, text, meaning, fix),
        None => Trial::failed(
            "sandbox",
            text,
            "no execution can run here",
            "run it as root on the host, with a state directory that can be written (--state-dir)",
        ),
    }
}
