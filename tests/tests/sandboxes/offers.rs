//! Which machine is offered what, and what is refused because none has it.

use acceptance::agents::{SOON, ScriptedAgent, Tenant, eventually, hello, unique};
use acceptance::refused;
use shared_contracts::container_agents::ContainerAgentState;
use shared_contracts::dispatch::{FromContainerAgent, Hello};
use shared_contracts::executions::ExecutionState;
use shared_contracts::problem::ProblemKind;
use shared_contracts::sandboxes::{Finding, OfferedSandbox, SandboxProvider, SandboxTier, Verdict};

use crate::{execute, machine, needing, offered};

const NAMESPACES: Option<SandboxProvider> = Some(SandboxProvider::Namespaces);
const OCI: Option<SandboxProvider> = Some(SandboxProvider::Oci);
const DIGEST: &str =
    "registry.example/tools@sha256:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

#[tokio::test]
async fn work_goes_to_the_machine_that_has_its_sandbox() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    // The weaker, the roomier: where a need is forgotten on its way, the wrong one is offered it.
    let connect = async |capacity, sandbox| {
        let hello = Hello { capacity, sandboxes: vec![sandbox], ..hello(&unique("machine")) };
        ScriptedAgent::connect_as(&tenant, hello).await.0
    };
    let strong = offered(SandboxProvider::Namespaces, SandboxTier::Strong, "all stands", &["host"]);
    let limited = offered(SandboxProvider::Namespaces, SandboxTier::Limited, "no cgroup", &["rust"]);
    let engine = offered(SandboxProvider::Oci, SandboxTier::Engine, "docker", &["debian:12", "*"]);
    let mut machines = [connect(1, strong).await, connect(4, limited).await, connect(9, engine).await];
    for (need, wanted) in [
        (needing(Some(SandboxTier::Strong), None, None), 0),
        (needing(None, None, None), 1),
        (needing(Some(SandboxTier::Engine), NAMESPACES, None), 1),
        (needing(Some(SandboxTier::Engine), OCI, None), 2),
        (needing(None, None, Some("host")), 0),
        (needing(None, NAMESPACES, Some("rust")), 1),
        (needing(Some(SandboxTier::Engine), None, Some("debian:12")), 2),
        (needing(Some(SandboxTier::None), OCI, Some(DIGEST)), 2),
    ] {
        let execution = execute(&tenant, project, &need).await.unwrap();
        assert_eq!(machines[wanted].is_offered().await, execution.id, "{need:?}");
        tenant.client.stop_execution(execution.id).await.unwrap();
    }
    let oci = needing(None, OCI, None);
    let problem = refused(execute(&tenant, project, &oci).await, ProblemKind::NoFittingSandbox);
    assert!(problem.detail.contains("`oci` of tier `engine` (docker)"), "limited is asked for: {problem}");
}

#[tokio::test]
async fn what_no_connected_machine_has_is_refused_in_its_words() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    let strong = needing(Some(SandboxTier::Strong), None, None);
    let queued = execute(&tenant, project, &strong).await.unwrap();
    assert_eq!(queued.state, ExecutionState::Queued, "while nobody is connected it waits for whoever comes");
    let reason = format!("the memory controller is missing {}", "ü".repeat(700));
    let limited = offered(SandboxProvider::Namespaces, SandboxTier::Limited, &reason, &["host"]);
    let (mut agent, id) = machine(&tenant, vec![limited]).await;
    let name = tenant.client.get_container_agent(id).await.unwrap().name;
    let problem = refused(execute(&tenant, project, &strong).await, ProblemKind::NoFittingSandbox);
    for part in [format!("`{name}`"), "tier `limited`".into(), "memory controller".into(), "doctor".into()] {
        assert!(problem.detail.contains(&part), "{problem}");
    }
    assert!(problem.detail.len() < 1_500, "{}", problem.detail.len());
    let image = needing(None, None, Some("debian:12"));
    let problem = refused(execute(&tenant, project, &image).await, ProblemKind::NoFittingSandbox);
    assert!(problem.detail.contains("`debian:12`") && problem.detail.contains("`host`"), "{problem}");
    // A refused execution takes nothing; another owner's machine changes nothing for anyone.
    let stranger = Tenant::new();
    let theirs = stranger.project().await.id;
    assert_eq!(execute(&stranger, theirs, &strong).await.unwrap().state, ExecutionState::Queued);
    // Who drains takes nothing: it is as if nobody were there.
    agent.say(&FromContainerAgent::Draining).await;
    eventually("it drains", SOON, async || {
        let state = tenant.client.get_container_agent(id).await.unwrap().state;
        (state == ContainerAgentState::Draining).then_some(())
    })
    .await;
    assert_eq!(execute(&tenant, project, &strong).await.unwrap().state, ExecutionState::Queued);
}

#[tokio::test]
async fn who_says_no_more_than_a_tier_counts_by_it() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    let name = unique("older");
    let (mut older, id) = ScriptedAgent::connect_as(&tenant, Hello { capacity: 9, ..hello(&name) }).await;
    let record = tenant.client.get_container_agent(id).await.unwrap();
    assert_eq!(record.sandboxes, [OfferedSandbox::of_tier(SandboxTier::Strong)]);
    let host = execute(&tenant, project, &needing(Some(SandboxTier::Strong), NAMESPACES, Some("host"))).await;
    assert_eq!(older.is_offered().await, host.unwrap().id);
    for need in [needing(Some(SandboxTier::None), OCI, None), needing(None, None, Some("debian"))] {
        refused(execute(&tenant, project, &need).await, ProblemKind::NoFittingSandbox);
    }
}

#[tokio::test]
async fn the_tier_of_a_machine_is_that_of_its_strongest_sandbox() {
    let tenant = Tenant::new();
    let finding = Finding {
        what: "cgroup".into(),
        verdict: Verdict::Limited,
        found: "v1, without memory".into(),
        meaning: "memory is not limited".into(),
        fix: "boot with cgroup_enable=memory".into(),
    };
    let mut limited = offered(SandboxProvider::Namespaces, SandboxTier::Limited, "no memory", &["host"]);
    limited.findings = vec![finding];
    let engine = offered(SandboxProvider::Oci, SandboxTier::Engine, "docker", &["debian"]);
    let sandboxes = vec![limited, engine];
    // The hello claims more than it shows.
    let hello =
        Hello { sandboxes: sandboxes.clone(), sandbox_tier: SandboxTier::Strong, ..hello(&unique("m")) };
    let (_agent, id) = ScriptedAgent::connect_as(&tenant, hello).await;
    let record = tenant.client.get_container_agent(id).await.unwrap();
    assert_eq!((record.sandbox_tier, &record.sandboxes), (SandboxTier::Limited, &sandboxes));
    let listed = tenant.client.list_container_agents(&Default::default()).await.unwrap();
    assert_eq!(listed.items[0].sandboxes, sandboxes, "with what was found");
}

#[tokio::test]
async fn both_kinds_of_sandbox_are_listed_for_whoever_may_use_them() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let strong = offered(SandboxProvider::Namespaces, SandboxTier::Strong, "all stands", &["host", "*"]);
    let missing = offered(SandboxProvider::Oci, SandboxTier::None, "no Docker, no Podman", &[]);
    let (_agent, _) = machine(&tenant, vec![strong, missing]).await;
    let kinds = tenant.client.list_sandboxes().await.unwrap().items;
    let [namespaces, oci] = kinds.as_slice() else { panic!("{kinds:?}") };
    assert_eq!((namespaces.id, namespaces.tier), (SandboxProvider::Namespaces, SandboxTier::Strong));
    assert!(namespaces.is_available && !namespaces.requires_config);
    // Nine places, of which the settings give an owner five; 4,096 MB and 4 cores by the hello.
    assert_eq!((namespaces.max_concurrent, namespaces.default_image.as_deref()), (5, Some("host")));
    let most = &namespaces.resource_limits;
    assert_eq!((most.memory_mb, most.cpu_cores, most.wall_seconds), (4_096, 4.0, 86_400));
    assert_eq!(oci.id, SandboxProvider::Oci);
    assert!(
        !oci.is_available && oci.requires_config && oci.reason.contains("no Docker, no Podman"),
        "{oci:?}"
    );
    let theirs = stranger.client.list_sandboxes().await.unwrap().items;
    assert_eq!(theirs.len(), 2);
    assert!(theirs.iter().all(|kind| !kind.is_available && kind.reason.contains("patchbay-agent run")));
}
