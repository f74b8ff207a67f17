//! What requests and answers hold.

use std::collections::BTreeMap;

use shared_contracts::accounts::{AccessToken, CreateAccessToken, CreatedAccessToken, Scope};
use shared_contracts::artifacts::{Artifact, ArtifactType};
use shared_contracts::container_agents::{ContainerAgent, ContainerAgentState};
use shared_contracts::executions::*;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::*;
use shared_contracts::patches::*;
use shared_contracts::problem::{Fault, Problem, ProblemKind};
use shared_contracts::projects::{CreateProject, Project};
use shared_contracts::sandboxes::{SandboxProvider, SandboxTier};
use shared_contracts::secrets::{SecretForm, SecretUse};
use shared_contracts::tasks::{CreateTask, Task, TaskState};
use shared_contracts::workspaces::*;

use super::*;

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
        denied_paths: vec!["**/.env".into()],
        egress: vec!["*.example.com:443".into()],
        sandbox_tier_min: SandboxTier::Strong,
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
        archive_artifacts: true,
        priority: 5,
        sandbox_tier: Some(SandboxTier::Limited),
        sandbox_provider: Some(SandboxProvider::Namespaces),
        image: Some("host".into()),
        terminal: Some(Terminal { rows: 24, columns: 80 }),
        secrets: vec![SecretUse { name: "NPM_TOKEN".into(), form: SecretForm::File }],
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
        sandboxes: super::offered(),
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
    let hunk = Hunk { start_line: Some(3), old: "a\n".into(), new: "b\n".into(), ..Hunk::default() };
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
            candidates: vec![Candidate {
                lines: LineRange { first: 1, last: 2 },
                excerpt: "a\n".into(),
                score_percent: 100,
            }],
            hint: hint(),
        },
        OperationOutcome::NoMatch { hunk: 0, nearest: None, hint: hint() },
        OperationOutcome::MissingFile { hint: hint() },
        OperationOutcome::FileExists { hint: hint() },
        OperationOutcome::NotText { hint: hint() },
        OperationOutcome::TooLarge { hint: hint() },
        OperationOutcome::DeniedPath { why: "through a link".into() },
        OperationOutcome::Overlaps { with: 1, hint: hint() },
        OperationOutcome::Malformed { line: Some(1), column: None, what: "not base64".into(), hint: hint() },
    ];
    let operations: Vec<OperationReceipt> = (0..)
        .zip(outcomes)
        .map(|(index, outcome)| OperationReceipt { index, path: "a".into(), outcome })
        .collect();
    for operation in &operations {
        assert_eq!(serde_json::to_value(operation).unwrap()["outcome"], operation.outcome.name());
    }
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
fn patches_sent_directly() {
    let base_sha256 = Some(Sha256::of(b"base"));
    let write =
        PatchOperation::Write { path: path("a"), base_sha256, content: Content::Text("whole\n".into()) };
    let batch = PatchBatch { operations: vec![write] };
    let origin = PatchOrigin {
        execution_id: Some(ExecutionId::new(AT_MS, 1)),
        coding_agent: Some("codex".into()),
        model: Some("a-model".into()),
        provider: Some("a-provider".into()),
    };
    let direct = |format, body, origin| DirectPatch {
        project_id: ProjectId::new(AT_MS, 1),
        title: "Fix it".into(),
        format,
        body,
        origin,
    };
    let text = PatchBody::Text("*** Begin Patch\n*** Delete File: a\n*** End Patch\n".into());
    golden(
        "direct_patches",
        &[
            direct(Some(PatchFormat::Codex), text, origin),
            direct(None, PatchBody::Batch(batch.clone()), PatchOrigin::default()),
        ],
    );
    let outcome = OperationOutcome::Applied {
        step: PlacementStep::Exact,
        lines: vec![LineRange { first: 1, last: 1 }],
    };
    let operations = vec![OperationReceipt { index: 0, path: "a".into(), outcome }];
    let files = vec![FileReceipt {
        path: path("a"),
        sha256_before: base_sha256,
        sha256_after: Some(Sha256::of(b"after")),
    }];
    let receipt = TreeReceipt {
        id: Some(PatchBatchId::new(AT_MS, 1)),
        format: Some(PatchFormat::UnifiedDiff),
        notes: vec!["line 1: text around the patch was skipped".into()],
        operations,
        files,
        applied_at_ms: AT_MS,
        reverts: Some(PatchBatchId::new(AT_MS, 2)),
        inverse: Some(batch),
    };
    golden("tree_receipt", &receipt);
}

#[test]
fn problems() {
    let mut problem = Problem::new(ProblemKind::Invalid, "Some fields break a rule");
    problem.faults.push(Fault { field: "limits.memory_mb".into(), message: "lower than 16".into() });
    golden("problem", &problem);
}
