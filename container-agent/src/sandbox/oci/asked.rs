//! What is asked of the engine, and whether it says that this is what there is.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, ResourcesUlimits,
};
use rustix::process::{Resource, getrlimit};

use super::engine::Kind;
use super::init;
use super::mounts::{INSIDE, MOUNTS};
use crate::sandbox::{Owner, SandboxSpec};
use crate::tools;

pub const INSTANCE: &str = "patchbay.instance";
pub const EXECUTION: &str = "patchbay.execution";
pub const GENERATION: &str = "patchbay.generation";
const PROJECT: &str = "patchbay.project";
const TASK: &str = "patchbay.task";
const MIB: i64 = 1024 * 1024;
/// What tells of the whole machine, or has been a way out of a container before: an empty file or directory stands in for
/// each. Docker takes this list instead of its own, so what engines cover by themselves is in it; control groups are below
/// `/sys`.
pub const COVERED: [&str; 12] = [
    "/sys",
    "/proc/acpi",
    "/proc/asound",
    "/proc/config.gz",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];

/// What besides the spec goes into one container.
pub struct Parts<'a> {
    pub kind: Kind,
    pub instance: &'a str,
    pub image: &'a str,
    pub user: u32,
    /// This program, on the machine.
    pub program: &'a Path,
    /// As this engine wants it: the JSON, or its path.
    pub seccomp: String,
}

/// Docker's names allow what ours have.
pub fn name(instance: &str, spec: &SandboxSpec) -> String {
    format!("patchbay-{instance}-{}", spec.name)
}

pub fn body(spec: &SandboxSpec, parts: &Parts<'_>) -> ContainerCreateBody {
    let memory = i64::from(spec.limits.memory_mb) * MIB;
    let program = format!("{}/{}", tools::PROGRAMS, tools::PROGRAM);
    let host = HostConfig {
        // 1. Limits. As much swap space as memory is none.
        memory: Some(memory),
        memory_swap: Some(memory),
        nano_cpus: Some((spec.limits.cpu_cores * 1e9) as i64),
        pids_limit: Some(spec.limits.processes.into()),
        ulimits: Some(ulimits(spec)),
        // 2. Walls.
        cap_drop: Some(vec!["ALL".into()]),
        security_opt: Some(security(parts)),
        masked_paths: (parts.kind == Kind::Docker).then(|| COVERED.map(str::to_owned).to_vec()),
        readonly_rootfs: Some(true),
        privileged: Some(false),
        network_mode: Some("none".into()),
        ipc_mode: Some("private".into()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        // 3. What it sees of the machine's files.
        binds: Some(binds(&spec.directory, parts.program, &program)),
        // 4. Nothing stays: what is printed goes through pipes of the agent's, and what has ended is removed.
        log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
        auto_remove: Some(true),
        init: Some(false),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(parts.image.to_owned()),
        hostname: Some("sandbox".into()),
        user: Some(format!("{0}:{0}", parts.user)),
        entrypoint: Some(vec![program, init::ARGUMENT.into()]),
        cmd: Some(Vec::new()),
        // The payload's own comes through the socket: `inspect` shows what stands here to everyone.
        env: Some(Vec::new()),
        working_dir: Some("/workspace".into()),
        healthcheck: no_health_check(parts.kind),
        labels: Some(labels(parts.instance, spec.owner)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

fn security(parts: &Parts<'_>) -> Vec<String> {
    let mut options = vec!["no-new-privileges".into(), format!("seccomp={}", parts.seccomp)];
    if parts.kind == Kind::Podman {
        options.push(format!("mask={}", COVERED.join(":")));
    }
    options
}

/// An image's own would be run beside the payload, past our filters. Podman takes a "none" for one more to be timed.
fn no_health_check(kind: Kind) -> Option<HealthConfig> {
    let none = || HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() };
    (kind == Kind::Docker).then(none)
}

fn ulimits(spec: &SandboxSpec) -> Vec<ResourcesUlimits> {
    // An engine cannot raise what it was given; the container's first process says so where it is too little.
    let within = |resource, wanted: u64| getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
    [
        ("nofile", within(Resource::Nofile, spec.limits.open_files.into())),
        ("nproc", within(Resource::Nproc, u64::from(spec.limits.processes) * 2)),
        ("core", 0),
    ]
    .into_iter()
    .map(|(name, value)| {
        let value = i64::try_from(value).ok();
        ResourcesUlimits { name: Some(name.into()), soft: value, hard: value }
    })
    .collect()
}

fn binds(directory: &Path, program: &Path, program_inside: &str) -> Vec<String> {
    let inside = directory.join(INSIDE);
    let bind = |from: &Path, to: &str, read_only: bool| {
        format!("{}:{to}:{}", from.display(), if read_only { "ro" } else { "rw" })
    };
    let mut binds: Vec<_> =
        MOUNTS.iter().map(|(name, to, read_only)| bind(&inside.join(name), to, *read_only)).collect();
    binds.push(bind(&inside.join("tools"), tools::FOLDER, true));
    binds.push(bind(program, program_inside, true));
    binds
}

fn labels(instance: &str, owner: Option<Owner>) -> HashMap<String, String> {
    let mut labels = HashMap::from([(INSTANCE.to_owned(), instance.to_owned())]);
    if let Some(owner) = owner {
        labels.extend([
            (PROJECT.to_owned(), owner.project_id.to_string()),
            (TASK.to_owned(), owner.task_id.to_string()),
            (EXECUTION.to_owned(), owner.lease.execution_id.to_string()),
            (GENERATION.to_owned(), owner.lease.generation.to_string()),
        ]);
    }
    labels
}

/// Where what the engine made differs from what it was asked for: an engine may drop what it cannot do with no more than
/// a warning. The walls that only show inside are looked at there.
pub fn differences(asked: &ContainerCreateBody, made: &ContainerInspectResponse) -> Vec<String> {
    let mut differences = Vec::new();
    let (Some(wanted), Some(has)) = (&asked.host_config, &made.host_config) else {
        return vec!["the engine does not say what it made".into()];
    };
    let mut same = |what: &str, wanted: String, has: String| {
        if wanted != has {
            differences.push(format!("{what} is {has} instead of {wanted}"));
        }
    };
    let number = |value: Option<i64>| value.unwrap_or_default().to_string();
    let switch = |value: Option<bool>| value.unwrap_or_default().to_string();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    same("memory", number(wanted.memory), number(has.memory));
    same("memory and swap space", number(wanted.memory_swap), number(has.memory_swap));
    same("CPU", number(wanted.nano_cpus), number(has.nano_cpus));
    same("processes", number(wanted.pids_limit), number(has.pids_limit));
    same("the network", text(&wanted.network_mode), text(&has.network_mode));
    same("a read-only root", switch(wanted.readonly_rootfs), switch(has.readonly_rootfs));
    same("privileged", "false".into(), switch(has.privileged));
    let of_others = |mode: &Option<String>| {
        let mode = text(mode);
        if mode == "host" || mode.starts_with("container:") { mode } else { String::new() }
    };
    // Podman has another word for private.
    same("shared memory of others", String::new(), of_others(&has.ipc_mode));
    same("processes of others", String::new(), of_others(&has.pid_mode));
    same("host names of others", String::new(), of_others(&has.uts_mode));
    same("added capabilities", "0".into(), has.cap_add.as_deref().unwrap_or_default().len().to_string());
    same("devices", "0".into(), has.devices.as_deref().unwrap_or_default().len().to_string());
    let user = made.config.as_ref().and_then(|config| config.user.clone());
    same("the user", text(&asked.user), text(&user));
    // An engine may be set to show files of the machine to all its containers; an image's volumes have no size.
    let places = |mounts: Option<&Vec<bollard::models::MountPoint>>| mounts.map_or(0, Vec::len).to_string();
    same(
        "mounts (VOLUMEs of the image count)",
        wanted.binds.as_ref().map_or(0, Vec::len).to_string(),
        places(made.mounts.as_ref()),
    );
    differences
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared_contracts::executions::Limits;

    use super::*;
    use crate::sandbox::{Egress, Mounts};

    fn asked() -> ContainerCreateBody {
        let spec = SandboxSpec {
            name: "one".into(),
            owner: None,
            directory: "/state/one".into(),
            mounts: Mounts { workspace: "/tree".into(), image: None, files: Vec::new() },
            command: vec!["true".into()],
            environment: BTreeMap::from([("TOKEN".into(), "hunter2".into())]),
            limits: Limits::default(),
            egress: Egress::Nothing,
            terminal: None,
            slot: 1,
        };
        let program = Path::new("/bin/agent");
        body(
            &spec,
            &Parts {
                kind: Kind::Docker,
                instance: "ab",
                image: "i",
                user: 200_001,
                program,
                seccomp: "{}".into(),
            },
        )
    }

    fn as_asked(asked: &ContainerCreateBody) -> ContainerInspectResponse {
        let mounts = vec![bollard::models::MountPoint::default(); MOUNTS.len() + 2];
        let config = bollard::models::ContainerConfig { user: asked.user.clone(), ..Default::default() };
        ContainerInspectResponse {
            host_config: asked.host_config.clone(),
            config: Some(config),
            mounts: Some(mounts),
            ..Default::default()
        }
    }

    #[test]
    fn every_difference_is_seen() {
        let asked = asked();
        assert_eq!(differences(&asked, &as_asked(&asked)), Vec::<String>::new());
        let change = |change: fn(&mut HostConfig), what: &str| {
            let mut made = as_asked(&asked);
            change(made.host_config.as_mut().unwrap());
            let found = differences(&asked, &made).join("; ");
            assert!(found.contains(what), "{what}: {found}");
        };
        change(|host| host.memory = Some(0), "memory is 0 instead of");
        change(|host| host.memory_swap = Some(-1), "swap space is -1");
        change(|host| host.pids_limit = None, "processes is 0");
        change(|host| host.nano_cpus = Some(7), "CPU is 7");
        change(|host| host.network_mode = Some("bridge".into()), "network is bridge");
        change(|host| host.privileged = Some(true), "privileged is true");
        change(|host| host.readonly_rootfs = Some(false), "read-only root is false");
        change(|host| host.pid_mode = Some("host".into()), "processes of others is host");
        change(|host| host.ipc_mode = Some("host".into()), "shared memory of others is host");
        change(|host| host.cap_add = Some(vec!["SYS_ADMIN".into()]), "capabilities is 1");
        let mut made = as_asked(&asked);
        made.mounts.as_mut().unwrap().push(Default::default());
        assert!(differences(&asked, &made).join("").contains("is 8 instead of 7"));
        made = as_asked(&asked);
        made.config.as_mut().unwrap().user = Some("root".into());
        assert!(differences(&asked, &made).join("").contains("the user is root"));
    }

    #[test]
    fn the_environment_is_not_for_everyone_who_may_inspect() {
        assert!(!serde_json::to_string(&asked()).unwrap().contains("hunter2"));
    }
}
