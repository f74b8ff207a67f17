//! A batch is proposed, listed, rejected; what no batch may hold is refused here.

use acceptance::{Answer, Project, create, every_page, owner, refused};
use reqwest::Method;
use serde_json::json;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::{PATCH_BODY_BYTES_MAX, PATCH_OPERATIONS_MAX};
use shared_contracts::patches::{OperationOutcome, PatchState, PatchSummary, ProposePatch, RejectPatch};
use shared_contracts::problem::ProblemKind;

use super::{all_kinds, no, project};

async fn propose_text(body: String) -> Answer {
    Answer::to(owner().call(Method::POST, "/api/patches").bytes("application/json", body)).await
}

fn raw(project: &Project, operations: serde_json::Value) -> String {
    json!({"project_id": project.id, "title": "t", "base_revision": 1, "batch": {"operations": operations}})
        .to_string()
}

#[tokio::test]
async fn a_batch_is_proposed_read_and_listed() {
    let project = project().await;
    let client = &project.client;
    let input = project.batch(all_kinds());
    let proposed = client.propose_patch(&input).await.unwrap();
    assert_eq!(
        (proposed.state, proposed.operation_count, proposed.base_revision),
        (PatchState::Proposed, 6, 1)
    );
    assert_eq!(
        (proposed.title.as_str(), proposed.project_id, proposed.revision_after),
        ("a change", project.id, None)
    );
    let found = client.get_patch(proposed.id).await.unwrap();
    assert_eq!((&found.summary, &found.batch, &found.receipt), (&proposed, &input.batch, &None));
    let other = project.propose(vec![create("x", "y")]).await;
    let listed: Vec<PatchSummary> =
        every_page(client, &format!("/api/projects/{}/patches", project.id), 1).await;
    let mut wanted = vec![proposed, other];
    wanted.sort_by_key(|patch| std::cmp::Reverse(patch.id));
    assert_eq!(listed, wanted);
    assert_eq!(project.head().await, 1, "a proposal changes nothing");
}

#[tokio::test]
async fn a_proposal_sent_twice_is_one() {
    let project = project().await;
    let id = PatchBatchId::new(acceptance::now_ms(), xtask::random::id_bits().unwrap());
    let input = ProposePatch { id: Some(id), ..project.batch(vec![create("x", "y")]) };
    let first = project.client.propose_patch(&input).await.unwrap();
    assert_eq!(first.id, id);
    assert_eq!(project.client.propose_patch(&input).await.unwrap(), first);
    let listed: Vec<PatchSummary> =
        every_page(&project.client, &format!("/api/projects/{}/patches", project.id), 100).await;
    assert_eq!(listed.len(), 1);
    // Another owner learns nothing of it, and does not get it either.
    let theirs = Project::of(acceptance::stranger()).await;
    let input = ProposePatch { id: Some(id), ..theirs.batch(vec![create("x", "theirs")]) };
    refused(theirs.client.propose_patch(&input).await, ProblemKind::NotFound);
    assert_eq!(project.client.get_patch(id).await.unwrap().summary, first);
}

#[tokio::test]
async fn a_rejected_batch_stays_rejected() {
    let project = project().await;
    let client = &project.client;
    let patch = project.propose(all_kinds()).await;
    let rejected = client.reject_patch(patch.id, &no()).await.unwrap();
    assert_eq!((rejected.state, rejected.reason.as_deref()), (PatchState::Rejected, Some("not like this")));
    refused(client.reject_patch(patch.id, &no()).await, ProblemKind::WrongState);
    refused(client.apply_patches(patch.id).await, ProblemKind::WrongState);
    assert_eq!(project.head().await, 1);
    let blank = RejectPatch { reason: " ".into() };
    let other = project.propose(vec![create("x", "y")]).await;
    refused(client.reject_patch(other.id, &blank).await, ProblemKind::Invalid);
}

#[tokio::test]
async fn a_path_that_leaves_the_tree_is_refused() {
    let project = project().await;
    for path in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "./x",
        "a//b",
        "a\\b",
        "C:/x",
        "a\u{0}b",
        ".git/config",
        ".GIT/hooks/x",
        "sub/.git/config",
        "git~1/x",
        ".git./x",
        ".g\u{200c}it/x",
        "",
        "trailing./x",
    ] {
        for operation in [
            json!({"operation": "create", "path": path, "content": {"text": "evil"}}),
            json!({"operation": "delete", "path": path}),
            json!({"operation": "rename", "from": path, "to": "fine"}),
            json!({"operation": "rename", "from": "poem", "to": path}),
            json!({"operation": "set_mode", "path": path, "mode": "executable"}),
        ] {
            let body = raw(&project, json!([{"operation": "delete", "path": "poem"}, operation]));
            let problem = propose_text(body).await.problem(ProblemKind::Invalid);
            assert!(problem.faults[0].field.starts_with("batch.operations"), "{path}: {problem:?}");
        }
    }
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn a_batch_has_its_limits() {
    let project = project().await;
    let many = |count: usize| {
        let operations = (0..count).map(|number| create(&format!("many/{number}"), "x")).collect();
        project.batch(operations)
    };
    let at_most = project.client.propose_patch(&many(PATCH_OPERATIONS_MAX)).await.unwrap();
    let receipt = project.client.apply_patches(at_most.id).await.unwrap();
    assert_eq!(receipt.files.len(), PATCH_OPERATIONS_MAX);
    let problem =
        refused(project.client.propose_patch(&many(PATCH_OPERATIONS_MAX + 1)).await, ProblemKind::Invalid);
    assert_eq!(problem.faults[0].field, "batch.operations");
    refused(project.client.propose_patch(&many(0)).await, ProblemKind::Invalid);
    let large = |bytes: u64| {
        let around = serde_json::to_vec(&project.batch(vec![create("large", "")])).unwrap().len() as u64;
        project.batch(vec![create("large", &"x".repeat((bytes - around) as usize))])
    };
    project.client.propose_patch(&large(PATCH_BODY_BYTES_MAX)).await.unwrap();
    refused(project.client.propose_patch(&large(PATCH_BODY_BYTES_MAX + 1)).await, ProblemKind::TooLarge);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_place() {
    let project = project().await;
    for (operation, place) in [
        (json!({"operation": "create", "path": "x", "content": {"base64": "%%%"}}), "content"),
        (
            json!({"operation": "create", "path": "x", "content": {"text": "a", "base64": "YQ=="}}),
            "batch.operations",
        ),
        (json!({"operation": "create", "path": "x", "content": {"rot13": "a"}}), "batch.operations"),
        (json!({"operation": "explode", "path": "x"}), "batch.operations"),
        (json!({"operation": "delete"}), "batch.operations"),
        (json!({"operation": "delete", "path": "x", "more": 1}), "batch.operations"),
        (json!({"operation": "delete", "path": "x", "base_sha256": "abc"}), "batch.operations"),
        (json!({"operation": "set_mode", "path": "x", "mode": "setuid"}), "batch.operations"),
        (
            json!({"operation": "create", "path": "x", "content": {"text": "a"}, "mode": 755}),
            "batch.operations",
        ),
    ] {
        let answer = propose_text(raw(&project, json!([operation]))).await;
        if answer.status == 201 {
            // The engine says so, then, when it is applied.
            let patch: PatchSummary = serde_json::from_slice(&answer.body).unwrap();
            let problem = refused(project.client.apply_patches(patch.id).await, ProblemKind::PatchRefused);
            let outcome = &problem.outcomes[0].outcome;
            assert!(matches!(outcome, OperationOutcome::Malformed { .. }), "{operation}: {outcome:?}");
            assert_eq!(place, "content", "{operation}");
        } else {
            let problem = answer.problem(ProblemKind::Invalid);
            assert!(problem.faults[0].field.contains(place), "{operation}: {problem:?}");
        }
    }
    let binary = json!([{"operation": "create", "path": "bin", "content": {"base64": "AP8="}}]);
    let answer = propose_text(raw(&project, binary)).await;
    let patch: PatchSummary = serde_json::from_slice(&answer.body).unwrap();
    project.client.apply_patches(patch.id).await.unwrap();
    assert_eq!(project.client.read_file(project.id, "bin", None).await.unwrap(), [0, 0xff]);
}

#[tokio::test]
async fn a_batch_that_is_not_is_absent() {
    let absent = PatchBatchId::new(1, 1);
    let client = owner();
    refused(client.get_patch(absent).await, ProblemKind::NotFound);
    refused(client.apply_patches(absent).await, ProblemKind::NotFound);
    refused(client.reject_patch(absent, &no()).await, ProblemKind::NotFound);
    let (project, other) = (project().await, Project::new().await);
    let (_, execution) = other.queued().await;
    let input = ProposePatch { execution_id: Some(execution.id), ..project.batch(all_kinds()) };
    refused(client.propose_patch(&input).await, ProblemKind::NotFound);
}
