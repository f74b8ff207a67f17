//! From an imported tree to the tree with the change in it.

use std::collections::BTreeMap;

use acceptance::agents::{Job, Log, Machine, Tenant, lab, shell};
use acceptance::{Archive, refused, unpacked};
use shared_contracts::artifacts::ArtifactType;
use shared_contracts::events::{EventBody, LogStream};
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::hash::Sha256;
use shared_contracts::page::PageQuery;
use shared_contracts::patches::{Content, PatchOperation, PatchState};
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::TaskState;

const SCRIPT: &str = r"
    set -e
    sed -i 's/two/TWO/' src/lines.txt
    printf 'new\n' > src/added.txt
    rm gone.txt
    mkdir renamed && mv old/name.txt renamed/name.txt
    chmod +x tool.sh
    ln -s src/lines.txt link
    printf '\000\001\377binary' > blob.bin
    printf '\376\375 changed' > keep.bin
    mkdir -p out/deep
    printf 'a report\n' > out/report.txt
    head -c 300000 /dev/zero | tr '\0' 'z' > out/deep/zeros.bin
    printf 'not wanted\n' > out/other.md
    echo 'said to stdout'
    echo 'said to stderr' >&2
    printf 'no line feed'
";

fn before() -> Archive {
    Archive::default()
        .file(".gitignore", b"out/\n")
        .file("src/lines.txt", b"one\ntwo\nthree\n")
        .file("gone.txt", b"soon gone\n")
        .file("old/name.txt", b"a file that moves\nand keeps its content\n")
        .file("tool.sh", b"#!/bin/sh\n")
        .file("keep.bin", b"\xff\xfe\x00 binary")
        .file("untouched.txt", b"as it was\n")
        .executable("run", b"#!/bin/sh\ntrue\n")
        .link("old-link", "untouched.txt")
}

fn after() -> BTreeMap<String, (char, Vec<u8>)> {
    let files: [(&str, char, &[u8]); 11] = [
        (".gitignore", 'f', b"out/\n"),
        ("blob.bin", 'f', b"\x00\x01\xffbinary"),
        ("keep.bin", 'f', b"\xfe\xfd changed"),
        ("link", 'l', b"src/lines.txt"),
        ("old-link", 'l', b"untouched.txt"),
        ("renamed/name.txt", 'f', b"a file that moves\nand keeps its content\n"),
        ("run", 'x', b"#!/bin/sh\ntrue\n"),
        ("src/added.txt", 'f', b"new\n"),
        ("src/lines.txt", 'f', b"one\nTWO\nthree\n"),
        ("tool.sh", 'x', b"#!/bin/sh\n"),
        ("untouched.txt", 'f', b"as it was\n"),
    ];
    files.into_iter().map(|(path, kind, content)| (path.to_owned(), (kind, content.to_vec()))).collect()
}

/// An operation in one line.
fn told(operation: &PatchOperation) -> String {
    match operation {
        PatchOperation::Create { path, content, mode } => {
            let kind = if matches!(content, Content::Text(_)) { "text" } else { "bytes" };
            format!("create {path} {} {kind}", mode.as_str())
        }
        PatchOperation::Edit { path, hunks, .. } => format!("edit {path} {}", hunks.len()),
        PatchOperation::Replace { path, .. } => format!("replace {path}"),
        PatchOperation::Delete { path, .. } => format!("delete {path}"),
        PatchOperation::Rename { from, to, .. } => format!("rename {from} {to}"),
        PatchOperation::SetMode { path, mode } => format!("mode {path} {}", mode.as_str()),
        other => format!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_changes_a_tree_and_everyone_sees_it() {
    let tenant = Tenant::new();
    let project = tenant.project_with(before()).await;
    let mut input = shell(SCRIPT);
    input.artifacts = vec!["out/**/*.bin".into(), "out/*.txt".into()];
    let job = Job::submit(&project, &input).await;
    assert_eq!(job.task().await.state, TaskState::InProgress);
    assert_eq!(job.task().await.active_execution_id, Some(job.id));

    // Both ways of watching, from before any machine is there.
    let streamed = tokio::spawn(job.client.watch(job.id, 0).collect());
    let messages = tokio::spawn(job.client.watch_socket(job.id, 0).collect());
    let machine = Machine::start(lab(), &tenant, 2).await;
    let streamed = Log::whole(streamed.await.unwrap().unwrap());
    let messages = Log::whole(messages.await.unwrap().unwrap());
    assert_eq!(streamed, messages);
    assert_eq!(streamed, job.log().await);

    let log = streamed;
    assert_eq!(log.lines(LogStream::Stdout), ["said to stdout", "no line feed"]);
    assert_eq!(log.lines(LogStream::Stderr), ["said to stderr"]);
    assert_eq!(
        log.states(),
        [(0, ExecutionState::Queued), (1, ExecutionState::Leased), (1, ExecutionState::Running)]
    );
    let end = log.end();
    assert_eq!((end.outcome, end.exit_code, end.exit_signal), (Outcome::Succeeded, Some(0), None));
    assert!(end.usage.wall_ms > 0 && end.usage.memory_peak_bytes > 0, "{:?}", end.usage);

    // The record says what the terminal event said.
    let record = job.record().await;
    assert_eq!(record.state, ExecutionState::Succeeded);
    assert_eq!((record.generation, record.lost_count), (1, 0));
    assert_eq!((record.exit_code, record.exit_signal), (Some(0), None));
    assert_eq!(record.event_count, Some(log.0.len() as u64));
    assert_eq!(record.memory_peak_bytes, Some(end.usage.memory_peak_bytes));
    assert_eq!(record.cpu_ms, Some(end.usage.cpu_ms));
    assert_eq!(record.container_agent_id, Some(machine.record.id));
    assert_eq!(record.reason.as_deref(), Some(end.reason));
    assert!(record.created_at_ms <= record.started_at_ms.unwrap());
    assert!(record.started_at_ms <= record.ended_at_ms);
    let task = job.task().await;
    assert_eq!((task.state, task.error, task.active_execution_id), (TaskState::AiReview, None, None));

    // The patch: proposed, then applied.
    let id = record.patch_batch_id.expect("a patch batch was proposed");
    assert_eq!(end.patch_batch_id, Some(id));
    let shown = log.0.iter().find_map(|event| match &event.body {
        EventBody::Patch { patch_batch_id, operations, .. } => Some((*patch_batch_id, *operations)),
        _ => None,
    });
    let patch = tenant.client.get_patch(id).await.unwrap();
    assert_eq!(shown, Some((id, patch.summary.operation_count)));
    assert_eq!(patch.summary.state, PatchState::Proposed);
    assert_eq!((patch.summary.execution_id, patch.summary.base_revision), (Some(job.id), 1));
    let mut operations: Vec<String> = patch.batch.operations.iter().map(told).collect();
    operations.sort();
    assert_eq!(
        operations,
        [
            "create blob.bin regular bytes",
            "create link symlink text",
            "create src/added.txt regular text",
            "delete gone.txt",
            "edit src/lines.txt 1",
            "mode tool.sh executable",
            "rename old/name.txt renamed/name.txt",
            "replace keep.bin",
        ]
    );
    let receipt = tenant.client.apply_patches(id).await.unwrap();
    assert_eq!((receipt.revision_before, receipt.revision_after), (1, 2));
    assert_eq!(receipt.operations.len(), operations.len());
    assert!(receipt.operations.iter().all(|operation| operation.outcome.is_success()));
    let tree = tenant.client.export_workspace(project.id, Some(2)).await.unwrap();
    assert_eq!(unpacked(&tree), after());
    let patch = tenant.client.get_patch(id).await.unwrap();
    assert_eq!((patch.summary.state, patch.receipt), (PatchState::Applied, Some(receipt)));
    machine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_declared_is_kept_and_can_be_fetched_and_deleted() {
    let tenant = Tenant::new();
    let project = tenant.project_with(before()).await;
    let machine = Machine::start(lab(), &tenant, 2).await;
    let mut input = shell(SCRIPT);
    input.artifacts = vec!["out/**/*.bin".into(), "out/*.txt".into(), "nothing/*".into()];
    let job = Job::submit(&project, &input).await;
    let log = job.log().await;

    let page = PageQuery { after: None, limit: None };
    let mut listed = tenant.client.list_artifacts(job.id, &page).await.unwrap().items;
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    let zeros = vec![b'z'; 300_000];
    let seen: Vec<_> =
        listed.iter().map(|found| (found.path.as_str(), found.size_bytes, found.sha256)).collect();
    assert_eq!(
        seen,
        [
            ("out/deep/zeros.bin", 300_000, Sha256::of(&zeros)),
            ("out/report.txt", 9, Sha256::of(b"a report\n"))
        ]
    );
    let report = &listed[1];
    assert_eq!((report.artifact_type, report.execution_id), (ArtifactType::File, job.id));
    assert_eq!(report.mime_type, "text/plain; charset=utf-8");
    assert_eq!(tenant.client.get_artifact(report.id).await.unwrap(), *report);
    let told = log.0.iter().filter_map(|event| match &event.body {
        EventBody::Artifact { artifact_id, path, size_bytes } => {
            Some((*artifact_id, path.as_str(), *size_bytes))
        }
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort_by_key(|(_, path, _)| *path);
    let wanted: Vec<_> =
        listed.iter().map(|found| (found.id, found.path.as_str(), found.size_bytes)).collect();
    assert_eq!(told, wanted);

    assert_eq!(tenant.client.download_artifact(report.id).await.unwrap(), b"a report\n");
    assert_eq!(tenant.client.download_artifact(listed[0].id).await.unwrap(), zeros);
    let part = tenant.client.download_artifact_range(report.id, "bytes=2-5").await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-5/9");
    assert_eq!(part.bytes().await.unwrap(), "repo");
    let beyond = tenant.client.download_artifact_range(report.id, "bytes=9-").await;
    refused(beyond, ProblemKind::RangeNotSatisfiable);

    tenant.client.delete_artifact(report.id).await.unwrap();
    refused(tenant.client.get_artifact(report.id).await, ProblemKind::NotFound);
    refused(tenant.client.download_artifact(report.id).await, ProblemKind::NotFound);
    let left = tenant.client.list_artifacts(job.id, &page).await.unwrap().items;
    assert_eq!(left, [listed[0].clone()]);
    machine.stop().await;
}
