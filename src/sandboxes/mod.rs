//! Sandboxes as people choose them: what connected container agents have, and whether one of them has what is needed.
//!
//! Operation: `list_sandboxes`. [`fit`] is asked by `create_execution`.

pub mod fit;

use shared_contracts::ids::OwnerId;
use shared_contracts::sandboxes::{
    OfferedSandbox, SandboxKind, SandboxKinds, SandboxMaxima, SandboxProvider, SandboxTier,
};

use crate::container_agents::{self, Machine};
use crate::executions::create_execution::concurrency;
use crate::executions::{self, Settings, ceilings};
use crate::platform::d1::Db;
use crate::platform::failure::Outcome;

pub async fn list_sandboxes(db: &Db, owner_id: OwnerId) -> Outcome<SandboxKinds> {
    let machines = container_agents::usable(db, owner_id).await?;
    let settings = executions::settings(db).await?;
    Ok(kinds(&machines, &settings))
}

fn kinds(machines: &[Machine], settings: &Settings) -> SandboxKinds {
    let items = SandboxProvider::ALL.map(|provider| kind(provider, machines, settings));
    SandboxKinds { items: items.into() }
}

fn kind(provider: SandboxProvider, machines: &[Machine], settings: &Settings) -> SandboxKind {
    let of_this: Vec<(&Machine, &OfferedSandbox)> = machines
        .iter()
        .flat_map(|machine| machine.sandboxes.iter().map(move |sandbox| (machine, sandbox)))
        .filter(|(_, sandbox)| sandbox.provider == provider)
        .collect();
    let usable: Vec<_> =
        of_this.iter().filter(|(_, sandbox)| sandbox.tier > SandboxTier::None).copied().collect();
    let strongest = of_this.iter().max_by_key(|(_, sandbox)| sandbox.tier);
    let mut images: Vec<String> = usable.iter().flat_map(|(_, sandbox)| sandbox.images.clone()).collect();
    images.sort_unstable();
    images.dedup();
    let mut firsts: Vec<Option<&String>> = usable.iter().map(|(_, sandbox)| sandbox.images.first()).collect();
    firsts.dedup();
    let default_image = match firsts.as_slice() {
        [first] => first.cloned(),
        _ => None,
    };
    let ceiling = ceilings::ceilings(settings);
    let capacity = usable.iter().fold(0_u32, |sum, (machine, _)| sum.saturating_add(machine.capacity));
    let memory_mb = usable.iter().map(|(machine, _)| machine.memory_mb_max).max();
    let cpu_cores = usable.iter().map(|(machine, _)| machine.cpu_cores_max).fold(0.0, f64::max);
    let (name, description, requires_config) = described(provider);
    SandboxKind {
        id: provider,
        name: name.into(),
        description: description.into(),
        supported_images: images,
        default_image,
        tier: strongest.map_or(SandboxTier::None, |(_, sandbox)| sandbox.tier),
        max_concurrent: concurrency(settings).min(capacity),
        resource_limits: SandboxMaxima {
            memory_mb: memory_mb.unwrap_or(0).min(ceiling.memory_mb),
            cpu_cores: cpu_cores.min(ceiling.cpu_cores),
            wall_seconds: if usable.is_empty() { 0 } else { ceiling.wall_seconds },
        },
        is_available: !usable.is_empty(),
        requires_config,
        reason: match strongest {
            Some((machine, sandbox)) => format!("{}: {}", machine.name, sandbox.reason),
            None if machines.is_empty() => {
                "No container agent of yours, and no shared one, is connected; start one with \
                 `patchbay-agent run`"
                    .into()
            }
            None => "No connected container agent has looked for it".into(),
        },
    }
}

fn described(provider: SandboxProvider) -> (&'static str, &'static str, bool) {
    match provider {
        SandboxProvider::Namespaces => (
            "Namespaces",
            "Made by the container agent itself, from the kernel's namespaces, cgroups, seccomp and Landlock",
            false,
        ),
        SandboxProvider::Oci => {
            ("Docker or Podman", "A container of the engine that runs on the machine", true)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn offered(provider: SandboxProvider, tier: SandboxTier, images: &[&str]) -> OfferedSandbox {
        let images = images.iter().map(|image| (*image).to_owned()).collect();
        OfferedSandbox {
            provider,
            tier,
            reason: format!("is {}", tier.as_str()),
            images,
            findings: Vec::new(),
        }
    }

    pub(super) fn machine(name: &str, sandboxes: Vec<OfferedSandbox>) -> Machine {
        Machine { name: name.into(), capacity: 2, memory_mb_max: 4_096, cpu_cores_max: 4.0, sandboxes }
    }

    #[test]
    fn kinds_are_the_sum_of_what_is_connected() {
        use SandboxProvider::{Namespaces, Oci};
        let settings: Settings = serde_json::from_str(r#"{"sandbox.cpu_cores_max": "2.5"}"#).unwrap();
        let none = kinds(&[], &settings);
        assert!(none.items.iter().all(|kind| !kind.is_available && kind.max_concurrent == 0), "{none:?}");
        assert!(none.items[0].reason.contains("patchbay-agent run"));
        let mut large = machine(
            "large",
            vec![
                offered(Namespaces, SandboxTier::Strong, &["host", "*"]),
                offered(Oci, SandboxTier::None, &[]),
            ],
        );
        large.memory_mb_max = 8_192;
        let small = machine("small", vec![offered(Namespaces, SandboxTier::Limited, &["host"])]);
        let kinds = kinds(&[small, large], &settings);
        let [namespaces, oci] = kinds.items.as_slice() else { panic!("both are listed") };
        assert_eq!((namespaces.tier, namespaces.max_concurrent), (SandboxTier::Strong, 4));
        assert_eq!(namespaces.supported_images, ["*", "host"]);
        assert_eq!(namespaces.default_image.as_deref(), Some("host"));
        assert_eq!(namespaces.reason, "large: is strong");
        let limits = &namespaces.resource_limits;
        assert_eq!((limits.memory_mb, limits.cpu_cores), (8_192, 2.5));
        assert!(!oci.is_available && oci.requires_config && oci.max_concurrent == 0);
        assert_eq!((oci.tier, oci.reason.as_str()), (SandboxTier::None, "large: is none"));
    }
}
