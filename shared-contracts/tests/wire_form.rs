//! The wire form, pinned: what is written here has been said to somebody, so a change of these files is a change of
//! the protocol. `UPDATE_GOLDEN=1 cargo test -p shared-contracts` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_contracts::accounts::{AccessToken, CreateAccessToken, CreatedAccessToken, Scope};
use shared_contracts::append::{AppendAnswer, AppendHead};
use shared_contracts::artifacts::{Artifact, ArtifactType};
use shared_contracts::container_agents::{ContainerAgent, ContainerAgentState, SandboxTier};
use shared_contracts::dispatch::*;
use shared_contracts::events::*;
use shared_contracts::executions::*;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::*;
use shared_contracts::patches::*;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::{Fault, Problem, ProblemKind};
use shared_contracts::projects::{CreateProject, Project};
use shared_contracts::tasks::{CreateTask, Task, TaskState};
use shared_contracts::workspaces::*;

const AT_MS: u64 = 1_795_000_000_000;

fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, pinned, "the wire form of {name} has changed");
    assert_eq!(&serde_json::from_str::<T>(&pinned).unwrap(), value, "{name} does not read back");
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).unwrap()
}

fn lease() -> Lease {
    Lease { execution_id: ExecutionId::new(AT_MS, 1), generation: 2 }
}

fn spec() -> ExecutionSpec {
    ExecutionSpec {
        coding_agent: CodingAgent::Command,
        command: vec!["bash".into(), "-c".into(), "true".into()],
        environment: BTreeMap::from([("LANG".into(), "C.UTF-8".into())]),
        limits: Limits::default(),
        artifacts: vec!["report/**".into()],
        sandbox_tier: SandboxTier::Strong,
        base_revision: 3,
    }
}

#[test]
fn accounts() {
    let record = AccessToken {
        id: TokenId::new(AT_MS, 1),
        owner_id: OwnerId::new(AT_MS, 1),
        name: "laptop".into(),
        scopes: vec![
            Scope::Read,
            Scope::Write,
            Scope::Tokens,
            Scope::ContainerAgent,
            Scope::SharedContainerAgent,
        ],
        created_at_ms: AT_MS,
        expires_at_ms: Some(AT_MS + 1),
        last_used_at_ms: None,
        revoked_at_ms: None,
    };
    let create =
        CreateAccessToken { name: "ci".into(), scopes: vec![Scope::Read], lifetime_seconds: Some(3_600) };
    golden("create_access_token", &create);
    golden("access_token", &record);
    golden("created_access_token", &CreatedAccessToken { record, token: "pby_shown-once".into() });
}

#[test]
fn projects_and_tasks() {
    golden("create_project", &CreateProject { name: "Patchbay".into(), description: "one\ntwo".into() });
    let project = Project {
        id: ProjectId::new(AT_MS, 1),
        owner_id: OwnerId::new(AT_MS, 1),
        name: "Patchbay".into(),
        description: String::new(),
        created_at_ms: AT_MS,
        updated_at_ms: AT_MS,
    };
    golden("project", &project);
    golden("create_task", &CreateTask { title: "Fix it".into(), description: String::new(), priority: 5 });
    let task = Task {
        id: TaskId::new(AT_MS, 1),
        project_id: ProjectId::new(AT_MS, 1),
        title: "Fix it".into(),
        description: String::new(),
        priority: 9,
        state: TaskState::InProgress,
        error: Some("exit code 1".into()),
        active_execution_id: Some(ExecutionId::new(AT_MS, 1)),
        created_at_ms: AT_MS,
        updated_at_ms: AT_MS,
    };
    golden("task", &task);
}

#[test]
fn executions() {
    let create = CreateExecution {
        coding_agent: CodingAgent::Command,
        command: vec!["make".into()],
        environment: BTreeMap::new(),
        limits: RequestedLimits { memory_mb: Some(512), ..RequestedLimits::default() },
        artifacts: vec![],
        priority: 5,
        sandbox_tier: SandboxTier::Limited,
        revision: None,
    };
    golden("create_execution", &create);
    let execution = Execution {
        id: ExecutionId::new(AT_MS, 1),
        project_id: ProjectId::new(AT_MS, 1),
        task_id: TaskId::new(AT_MS, 1),
        owner_id: OwnerId::new(AT_MS, 1),
        state: ExecutionState::TimedOut,
        generation: 2,
        priority: 5,
        spec: spec(),
        container_agent_id: Some(ContainerAgentId::new(AT_MS, 1)),
        queue_position: None,
        stop_requested: false,
        exit_code: None,
        exit_signal: Some(9),
        reason: Some("wall time".into()),
        patch_batch_id: Some(PatchBatchId::new(AT_MS, 1)),
        retry_of: None,
        lost_count: 1,
        memory_peak_bytes: Some(1_048_576),
        cpu_ms: Some(12),
        event_count: Some(40),
        created_at_ms: AT_MS,
        started_at_ms: Some(AT_MS),
        ended_at_ms: Some(AT_MS),
    };
    golden("execution", &execution);
}

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
    let events: Vec<Event> = (1..)
        .zip(bodies)
        .map(|(sequence, body)| Event {
            sequence,
            generation: 1,
            at_ms: AT_MS,
            source: EventSource::Agent,
            body,
        })
        .collect();
    golden("events", &events);
    golden("watch_sync", &WatchMessage::Sync { after: 7, head: 90 });
    golden("watcher_acknowledge", &WatcherMessage::Acknowledge { through: 7 });
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
    ];
    golden("from_container_agent", &from);
    let leased = LeasedExecution {
        lease: lease(),
        project_id: ProjectId::new(AT_MS, 1),
        task_id: TaskId::new(AT_MS, 1),
        task_title: "Fix it".into(),
        prompt: "please".into(),
        spec: spec(),
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
    ];
    golden("to_container_agent", &to);
}

#[test]
fn container_agents_and_artifacts() {
    let agent = ContainerAgent {
        id: ContainerAgentId::new(AT_MS, 1),
        owner_id: OwnerId::new(AT_MS, 1),
        name: "workshop".into(),
        state: ContainerAgentState::Draining,
        version: "0.1.0".into(),
        capacity: 4,
        running: 1,
        sandbox_tier: SandboxTier::Strong,
        memory_mb_max: 65_536,
        cpu_cores_max: 16.0,
        shared: false,
        connected_at_ms: AT_MS,
        disconnected_at_ms: None,
    };
    golden("container_agent", &agent);
    let artifact = Artifact {
        id: ArtifactId::new(AT_MS, 1),
        execution_id: ExecutionId::new(AT_MS, 1),
        artifact_type: ArtifactType::TestReport,
        path: path("report/junit.xml"),
        size_bytes: 7,
        mime_type: "application/xml".into(),
        sha256: Sha256::of(b"content"),
        created_at_ms: AT_MS,
    };
    golden("artifact", &artifact);
}

#[test]
fn workspaces() {
    let entry = ManifestEntry {
        path: path("src/a.rs"),
        sha256: Sha256::of(b""),
        size_bytes: 0,
        mode: FileMode::Executable,
    };
    golden("manifest_entry", &entry);
    let revision = Revision {
        revision: 2,
        message: "Import".into(),
        patch_batch_id: None,
        file_count: 1,
        total_bytes: 0,
        created_at_ms: AT_MS,
    };
    let receipt =
        ImportReceipt { revision, files_added: 1, files_changed: 0, files_removed: 0, new_blob_bytes: 0 };
    golden("import_receipt", &receipt);
    golden(
        "started_import",
        &StartedImport { import_id: ImportId::new(AT_MS, 1), missing: vec![Sha256::of(b"")] },
    );
    let items = vec![
        TreeItem::Directory { name: "src".into() },
        TreeItem::File { name: "a".into(), sha256: Sha256::of(b""), size_bytes: 0, mode: FileMode::Symlink },
    ];
    golden("tree_items", &items);
}

#[test]
fn patches() {
    let base_sha256 = Some(Sha256::of(b"base"));
    let hunk = Hunk { start_line: 3, old: "a\n".into(), new: "b\n".into() };
    let operations = vec![
        PatchOperation::Create {
            path: path("new"),
            content: Content::Text("text\n".into()),
            mode: FileMode::Executable,
        },
        PatchOperation::Edit { path: path("a"), base_sha256, hunks: vec![hunk] },
        PatchOperation::Replace { path: path("b"), base_sha256, content: Content::from_bytes(&[0xff]) },
        PatchOperation::Delete { path: path("c"), base_sha256: None },
        PatchOperation::Rename { from: path("d"), to: path("e"), base_sha256 },
        PatchOperation::SetMode { path: path("f"), mode: FileMode::Regular },
    ];
    let proposal = ProposePatch {
        id: Some(PatchBatchId::new(AT_MS, 1)),
        project_id: ProjectId::new(AT_MS, 1),
        execution_id: None,
        title: "Fix it".into(),
        base_revision: 3,
        batch: PatchBatch { operations },
    };
    golden("propose_patch", &proposal);
    let hint = || String::from("send the lines as they are now");
    let outcomes = [
        OperationOutcome::Applied { step: PlacementStep::Base, lines: vec![LineRange { first: 3, last: 3 }] },
        OperationOutcome::AlreadyApplied,
        OperationOutcome::StaleBase { wanted: Sha256::of(b"1"), found: Sha256::of(b"2"), hint: hint() },
        OperationOutcome::Ambiguous {
            hunk: 0,
            candidates: vec![LineRange { first: 1, last: 2 }],
            hint: hint(),
        },
        OperationOutcome::NoMatch { hunk: 0, hint: hint() },
        OperationOutcome::MissingFile { hint: hint() },
        OperationOutcome::FileExists { hint: hint() },
        OperationOutcome::NotText { hint: hint() },
        OperationOutcome::TooLarge { hint: hint() },
        OperationOutcome::DeniedPath { why: "through a link".into() },
        OperationOutcome::Overlaps { with: 1, hint: hint() },
        OperationOutcome::Malformed { what: "not base64".into(), hint: hint() },
    ];
    let operations: Vec<OperationReceipt> = (0..)
        .zip(outcomes)
        .map(|(index, outcome)| OperationReceipt { index, path: path("a"), outcome })
        .collect();
    let receipt = Receipt {
        patch_batch_id: PatchBatchId::new(AT_MS, 1),
        project_id: ProjectId::new(AT_MS, 1),
        revision_before: 3,
        revision_after: 4,
        operations,
        files: vec![FileReceipt { path: path("a"), sha256_before: None, sha256_after: base_sha256 }],
        applied_at_ms: AT_MS,
    };
    golden("receipt", &receipt);
}

#[test]
fn problems() {
    let mut problem = Problem::new(ProblemKind::Invalid, "Some fields break a rule");
    problem.faults.push(Fault { field: "limits.memory_mb".into(), message: "lower than 16".into() });
    golden("problem", &problem);
}

proptest! {
    #[test]
    fn log_lines_survive_the_wire(text in ".*", continues: bool, sequence in 1u64..(1 << 53)) {
        let body = EventBody::Log { level: LogLevel::Info, stream: LogStream::Stdout, text, continues };
        let event = Event { sequence, generation: 1, at_ms: AT_MS, source: EventSource::Agent, body };
        let json = serde_json::to_string(&event).unwrap();
        prop_assert!(!json.contains('\n'), "one event is one line");
        prop_assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn contents_survive_the_wire(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let json = serde_json::to_string(&Content::from_bytes(&bytes)).unwrap();
        prop_assert_eq!(serde_json::from_str::<Content>(&json).unwrap().to_bytes().unwrap(), bytes);
    }
}
