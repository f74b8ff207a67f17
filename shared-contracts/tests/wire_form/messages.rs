//! What machines, hubs and watchers say to each other.

use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::containers::{ContainerAnswer, ContainerCommand};
use shared_contracts::dispatch::*;
use shared_contracts::events::*;
use shared_contracts::executions::*;
use shared_contracts::ids::*;
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::sandboxes::SandboxTier;
use shared_contracts::secrets::{LeasedSecret, SecretForm};

use super::*;

#[test]
fn events() {
    let log = EventBody::Log {
        level: LogLevel::Warn,
        stream: LogStream::Stderr,
        text: "a line \u{1b}[31m".into(),
        continues: true,
    };
    let ended = EventBody::Ended {
        outcome: Outcome::Failed,
        exit_code: Some(1),
        exit_signal: None,
        reason: "exit code 1".into(),
        usage: Usage { wall_ms: 10, cpu_ms: 5, memory_peak_bytes: 4_096 },
        patch_batch_id: None,
    };
    let bodies = [
        log,
        EventBody::Status { state: ExecutionState::Running, message: "started".into() },
        EventBody::Lost { reason: "not heard of".into() },
        EventBody::ContainerStatus { status: ContainerStatus::Creating, message: String::new() },
        EventBody::ResourceUsage { memory_bytes: 4_096, cpu_percent: 12.5, processes: 3 },
        EventBody::Patch {
            patch_batch_id: PatchBatchId::new(AT_MS, 1),
            operations: 2,
            summary: "2 files".into(),
        },
        EventBody::Artifact { artifact_id: ArtifactId::new(AT_MS, 1), path: "a/b".into(), size_bytes: 7 },
        ended,
    ];
    golden("events", &numbered(bodies));
    golden("watch_sync", &WatchMessage::Sync { after: 7, head: 90 });
    golden("watcher_acknowledge", &WatcherMessage::Acknowledge { through: 7 });
}

fn numbered(bodies: impl IntoIterator<Item = EventBody>) -> Vec<Event> {
    let event =
        |(sequence, body)| Event { sequence, generation: 1, at_ms: AT_MS, source: EventSource::Agent, body };
    (1..).zip(bodies).map(event).collect()
}

#[test]
fn what_leaves_a_sandbox() {
    let decided = EgressEvent {
        moment: EgressMoment::Decided,
        connection: 3,
        allowed: true,
        host: "registry.npmjs.org".into(),
        port: Some(443),
        address: Some("104.16.0.34:443".into()),
        reason: "listed".into(),
        message: "the project lists it".into(),
        bytes_up: 0,
        bytes_down: 0,
        dropped_before: 0,
    };
    let ended = EgressEvent {
        moment: EgressMoment::Ended,
        reason: "closed".into(),
        bytes_up: 900,
        bytes_down: 40_000,
        ..decided.clone()
    };
    let refused = EgressEvent {
        allowed: false,
        host: String::new(),
        port: None,
        address: None,
        reason: "malformed".into(),
        dropped_before: 2,
        ..decided.clone()
    };
    let found = EventBody::SecretFound {
        name: "NPM_TOKEN".into(),
        place: SecretPlace::Patch,
        path: ".npmrc".into(),
        offset_bytes: 17,
    };
    let events = numbered([decided, ended, refused].map(EventBody::Egress).into_iter().chain([found]));
    golden("sandbox_events", &events);
    let names: Vec<_> = events.iter().map(|event| event.body.stream_name()).collect();
    assert_eq!(names, ["egress", "egress", "egress", "secret_found"]);
}

#[test]
fn appending() {
    golden("append_head", &AppendHead { generation: 2, first_sequence: 5, count: 3 });
    let answers = vec![
        AppendAnswer::Ready { next_sequence: 5 },
        AppendAnswer::Acknowledged { through: 7 },
        AppendAnswer::Gap { wanted: 5 },
        AppendAnswer::Fenced { generation: 3, reason: "another lease".into() },
        AppendAnswer::Refused { detail: "not JSON".into() },
    ];
    golden("append_answers", &answers);
}

#[test]
fn dispatching() {
    let hello = Hello {
        protocol: PROTOCOL_VERSION,
        version: "0.1.0".into(),
        name: "workshop".into(),
        capacity: 4,
        sandbox_tier: SandboxTier::Strong,
        sandboxes: super::offered(),
        memory_mb_max: 65_536,
        cpu_cores_max: 16.0,
        leases: vec![lease()],
    };
    let execution_id = ExecutionId::new(AT_MS, 1);
    let from = vec![
        FromContainerAgent::Hello(hello),
        FromContainerAgent::Accept { execution_id },
        FromContainerAgent::Decline { execution_id, reason: "full".into() },
        FromContainerAgent::Heartbeat { leases: vec![lease()] },
        FromContainerAgent::Abandon { lease: lease(), reason: "restarted".into() },
        FromContainerAgent::Draining,
        FromContainerAgent::Container { request: 7, answer: ContainerAnswer::Removed },
        FromContainerAgent::CleanedUp { removed: vec![super::containers::cleanup()] },
    ];
    golden("from_container_agent", &from);
    let leased = LeasedExecution {
        lease: lease(),
        project_id: ProjectId::new(AT_MS, 1),
        task_id: TaskId::new(AT_MS, 1),
        task_title: "Fix it".into(),
        prompt: "please".into(),
        spec: spec(),
        denied_paths: vec!["**/.env".into()],
        egress: vec!["example.com:443".into()],
        secrets: vec![LeasedSecret {
            name: "NPM_TOKEN".into(),
            form: SecretForm::Environment,
            value: "shown only here".into(),
        }],
        next_sequence: 3,
        execution_token: "pbx_claims.signature".into(),
    };
    let to = vec![
        ToContainerAgent::Welcome {
            container_agent_id: ContainerAgentId::new(AT_MS, 1),
            heartbeat_seconds: 10,
            lease_seconds: 30,
            gone: vec![],
        },
        ToContainerAgent::Refused {
            problem: Problem::new(ProblemKind::OutdatedProtocol, "too old"),
            protocol_min: PROTOCOL_VERSION_MIN,
        },
        ToContainerAgent::Offer { execution_id },
        ToContainerAgent::Leased(Box::new(leased)),
        ToContainerAgent::Withdrawn { execution_id },
        ToContainerAgent::HeartbeatAnswer {
            gone: vec![lease()],
            renewed: vec![RenewedToken { lease: lease(), execution_token: "pbx_x.y".into() }],
        },
        ToContainerAgent::Cancel { lease: lease(), reason: "stopped".into() },
        ToContainerAgent::Drain,
        ToContainerAgent::Container { request: 7, command: ContainerCommand::List },
    ];
    golden("to_container_agent", &to);
}
