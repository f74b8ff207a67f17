//! What a project allows its executions: how weak a sandbox, which hosts.

use acceptance::agents::{ScriptedAgent, Tenant, Writer, unique};
use acceptance::{command, refused};
use shared_contracts::events::{EgressEvent, EgressMoment, EventBody, EventQuery, SecretPlace};
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::UpdateProject;
use shared_contracts::sandboxes::SandboxTier;

use crate::{execute, needing};

fn with_floor(tier: SandboxTier) -> UpdateProject {
    UpdateProject { sandbox_tier_min: Some(tier), ..UpdateProject::default() }
}

#[tokio::test]
async fn nothing_runs_below_the_projects_floor() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    assert_eq!(client.get_project(project).await.unwrap().sandbox_tier_min, SandboxTier::None);
    let weakest = execute(&tenant, project, &needing(Some(SandboxTier::None), None, None)).await.unwrap();
    assert_eq!(weakest.spec.sandbox_tier, SandboxTier::None);
    let unsaid = execute(&tenant, project, &command(&["true"])).await.unwrap();
    assert_eq!(unsaid.spec.sandbox_tier, SandboxTier::Limited);
    let changed = client.update_project(project, &with_floor(SandboxTier::Strong)).await.unwrap();
    assert_eq!(changed.sandbox_tier_min, SandboxTier::Strong);
    let unsaid = execute(&tenant, project, &command(&["true"])).await.unwrap();
    assert_eq!(unsaid.spec.sandbox_tier, SandboxTier::Strong);
    let limited = needing(Some(SandboxTier::Limited), None, None);
    let problem = refused(execute(&tenant, project, &limited).await, ProblemKind::Invalid);
    assert_eq!(problem.faults[0].field, "sandbox_tier");
    let message = &problem.faults[0].message;
    assert!(message.contains("`strong`") && message.contains("`sandbox_tier_min`"), "{message}");
    // Tried again, an execution of before is held to what holds now.
    client.stop_execution(weakest.id).await.unwrap();
    let again = client.retry_execution(weakest.id).await.unwrap();
    assert_eq!(again.spec.sandbox_tier, SandboxTier::Strong);
}

#[tokio::test]
async fn hosts_are_read_as_the_machine_reads_them_and_come_with_the_lease() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let egress = |entries: &[&str]| UpdateProject {
        egress: Some(entries.iter().map(|entry| (*entry).to_owned()).collect()),
        ..UpdateProject::default()
    };
    for (entries, field, said) in [
        (&["example.com:443", "example.org"][..], "egress[1]", "the port is missing"),
        (&["*.com:443"], "egress[0]", "whole top-level domain"),
        (&["https://example.com:443"], "egress[0]", "a scheme or path"),
        (&["0x7f.1:80"], "egress[0]", "looks like a number"),
        (&[""], "egress[0]", ""),
    ] {
        let problem = refused(client.update_project(project, &egress(entries)).await, ProblemKind::Invalid);
        assert_eq!(problem.faults[0].field, field, "{problem}");
        assert!(problem.faults.iter().any(|fault| fault.message.contains(said)), "{problem}");
    }
    let many: Vec<_> = (0..257).map(|n| format!("h{n}.example.com:443")).collect();
    let many = UpdateProject { egress: Some(many), ..UpdateProject::default() };
    assert_eq!(
        refused(client.update_project(project, &many).await, ProblemKind::Invalid).faults[0].field,
        "egress"
    );
    assert!(client.get_project(project).await.unwrap().egress.is_empty(), "nothing unless listed");
    let wanted = ["registry.npmjs.org:443", "*.example.com:443", "[2001:db8::7]:8080"];
    assert_eq!(client.update_project(project, &egress(&wanted)).await.unwrap().egress, wanted);
    let mut agent = ScriptedAgent::connect(&tenant, &unique("machine"), 1).await;
    execute(&tenant, project, &command(&["true"])).await.unwrap();
    assert_eq!(agent.takes_work().await.egress, wanted);
}

#[tokio::test]
async fn what_leaves_a_sandbox_is_in_the_log() {
    let tenant = Tenant::new();
    let project = tenant.project().await.id;
    let mut agent = ScriptedAgent::connect(&tenant, &unique("machine"), 1).await;
    let execution = execute(&tenant, project, &command(&["true"])).await.unwrap();
    let leased = agent.takes_work().await;
    let egress = EventBody::Egress(EgressEvent {
        moment: EgressMoment::Decided,
        connection: 1,
        allowed: false,
        host: "example.com".into(),
        port: Some(443),
        address: None,
        reason: "not_listed".into(),
        message: "the project does not list it".into(),
        bytes_up: 0,
        bytes_down: 0,
        dropped_before: 0,
    });
    let found = EventBody::SecretFound {
        name: "TOKEN".into(),
        place: SecretPlace::Patch,
        path: "a".into(),
        offset_bytes: 3,
    };
    let (mut writer, _) = Writer::open(&tenant.client, execution.id, &leased.execution_token).await;
    writer.send(1, leased.next_sequence, &[egress.clone(), found.clone()]).await;
    let events = tenant.client.list_events(execution.id, &EventQuery::default()).await.unwrap().items;
    let bodies: Vec<_> = events.into_iter().map(|event| event.body).collect();
    assert!(bodies.ends_with(&[egress, found]), "{bodies:?}");
    let path = format!("/api/sandbox/executions/{}/logs/stream", execution.id);
    let mut stream = tenant.client.call(reqwest::Method::GET, path).endless().response().await.unwrap();
    let mut text = String::new();
    while !(text.contains("event: egress\n") && text.contains("event: secret_found\n")) {
        let chunk = stream.chunk().await.unwrap().expect("the stream goes on");
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
}
