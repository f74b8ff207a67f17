//! Patch batches: all of it or nothing, once, with a receipt.

use acceptance::{Answer, Archive, Project, create, edit, every_page, owner, refused, replace};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::limits::{PATCH_BODY_BYTES_MAX, PATCH_OPERATIONS_MAX};
use shared_contracts::patches::{
    OperationOutcome, PatchOperation, PatchState, PatchSummary, ProposePatch, RejectPatch,
};
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::FileMode;

const POEM: &str = "one\ntwo\nthree\nfour\n";

fn delete(path: &str, before: &str) -> PatchOperation {
    PatchOperation::Delete { path: path.parse().unwrap(), base_sha256: Some(Sha256::of(before.as_bytes())) }
}

fn rename(from: &str, to: &str, before: &str) -> PatchOperation {
    let base_sha256 = Some(Sha256::of(before.as_bytes()));
    PatchOperation::Rename { from: from.parse().unwrap(), to: to.parse().unwrap(), base_sha256 }
}

fn no() -> RejectPatch {
    RejectPatch { reason: "not like this".into() }
}

/// Every kind of operation at once.
fn all_kinds() -> Vec<PatchOperation> {
    vec![
        edit("poem", POEM, 2, "zwei\n"),
        create("dir/new", "fresh\n"),
        replace("whole", "old\n", "new\n"),
        delete("gone", "bye\n"),
        rename("before", "moved/after", "same\n"),
        PatchOperation::SetMode { path: "run".parse().unwrap(), mode: FileMode::Executable },
    ]
}

async fn project() -> Project {
    Project::with(&[
        ("poem", POEM),
        ("whole", "old\n"),
        ("gone", "bye\n"),
        ("before", "same\n"),
        ("run", "#!/bin/sh\n"),
    ])
    .await
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
async fn an_applied_batch_is_the_next_revision_with_its_receipt() {
    let project = project().await;
    let client = &project.client;
    let patch = project.propose(all_kinds()).await;
    let receipt = client.apply_patches(patch.id).await.unwrap();
    assert_eq!((receipt.patch_batch_id, receipt.project_id), (patch.id, project.id));
    assert_eq!((receipt.revision_before, receipt.revision_after), (1, 2));
    assert_eq!(receipt.operations.len(), 6);
    for (index, operation) in receipt.operations.iter().enumerate() {
        assert_eq!(operation.index as usize, index);
        assert!(matches!(operation.outcome, OperationOutcome::Applied { .. }), "{operation:?}");
    }
    let hash = |text: &str| Some(Sha256::of(text.as_bytes()));
    let mut files: Vec<_> = receipt
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.sha256_before, file.sha256_after))
        .collect();
    files.sort();
    assert_eq!(
        files,
        [
            ("before", hash("same\n"), None),
            ("dir/new", None, hash("fresh\n")),
            ("gone", hash("bye\n"), None),
            ("moved/after", None, hash("same\n")),
            ("poem", hash(POEM), hash("one\nzwei\nthree\nfour\n")),
            ("run", hash("#!/bin/sh\n"), hash("#!/bin/sh\n")),
            ("whole", hash("old\n"), hash("new\n")),
        ]
    );
    assert_eq!(project.paths().await, ["dir/new", "moved/after", "poem", "run", "whole"]);
    assert_eq!(project.text("poem").await, "one\nzwei\nthree\nfour\n");
    assert_eq!(project.text("moved/after").await, "same\n");
    let manifest = client.get_manifest(project.id, None).await.unwrap();
    let run = manifest.iter().find(|entry| entry.path.as_str() == "run").unwrap();
    assert_eq!(run.mode, FileMode::Executable);
    let revision = client.get_workspace(project.id, None).await.unwrap();
    let bytes: u64 = manifest.iter().map(|entry| entry.size_bytes).sum();
    assert_eq!((revision.file_count, revision.total_bytes), (manifest.len() as u64, bytes));
    assert_eq!((revision.patch_batch_id, revision.message.as_str()), (Some(patch.id), "a change"));
    let found = client.get_patch(patch.id).await.unwrap();
    assert_eq!((found.summary.state, found.summary.revision_after), (PatchState::Applied, Some(2)));
    assert_eq!(found.receipt, Some(receipt));
}

#[tokio::test]
async fn applying_again_gives_the_same_receipt_and_changes_nothing() {
    let project = project().await;
    let patch = project.propose(all_kinds()).await;
    let receipt = project.client.apply_patches(patch.id).await.unwrap();
    project.import(Archive::of(&[("poem", "rewritten\n")])).await.unwrap();
    assert_eq!(project.client.apply_patches(patch.id).await.unwrap(), receipt);
    assert_eq!((project.head().await, project.text("poem").await.as_str()), (3, "rewritten\n"));
    refused(project.client.reject_patch(patch.id, &no()).await, ProblemKind::WrongState);
}

#[tokio::test]
async fn the_same_batch_applied_at_once_lands_once() {
    let project = project().await;
    let patch = project.propose(all_kinds()).await;
    let receipts = join_all((0..6).map(|_| project.client.apply_patches(patch.id))).await;
    let first = receipts[0].as_ref().unwrap();
    assert!(receipts.iter().all(|receipt| receipt.as_ref().unwrap() == first), "{receipts:?}");
    assert_eq!(project.head().await, 2);
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
async fn a_batch_whose_last_operation_fails_changes_nothing() {
    let project = project().await;
    let client = &project.client;
    let before = client.export_workspace(project.id, None).await.unwrap();
    let mut operations = all_kinds();
    operations.push(replace("absent", "x\n", "y\n"));
    let patch = project.propose(operations).await;
    let problem = refused(client.apply_patches(patch.id).await, ProblemKind::PatchRefused);
    assert_eq!(problem.outcomes.len(), 7, "every operation is explained: {problem:?}");
    let (last, others) = problem.outcomes.split_last().unwrap();
    assert!(matches!(last.outcome, OperationOutcome::MissingFile { .. }), "{last:?}");
    assert!(others.iter().all(|operation| operation.outcome.is_success()), "{others:?}");
    assert_eq!(project.head().await, 1);
    assert!(client.export_workspace(project.id, None).await.unwrap() == before);
    let found = client.get_patch(patch.id).await.unwrap();
    assert_eq!((found.summary.state, found.receipt), (PatchState::Conflicted, None));
    assert!(found.summary.reason.is_some());
}

#[tokio::test]
async fn a_conflict_says_why_for_every_operation_and_may_be_tried_again() {
    let project = project().await;
    let client = &project.client;
    let patch = project.propose(all_kinds()).await;
    project
        .import(Archive::of(&[
            ("poem", "one\n2\nthree\nfour\n"),
            ("whole", "other\n"),
            ("dir/new", "there\n"),
            ("before", "same\n"),
        ]))
        .await
        .unwrap();
    let problem = refused(client.apply_patches(patch.id).await, ProblemKind::PatchRefused);
    let outcomes: Vec<_> = problem.outcomes.iter().map(|operation| &operation.outcome).collect();
    assert!(
        matches!(outcomes[0], OperationOutcome::NoMatch { .. } | OperationOutcome::StaleBase { .. }),
        "{outcomes:?}"
    );
    assert!(matches!(outcomes[1], OperationOutcome::FileExists { .. }), "{outcomes:?}");
    assert!(matches!(outcomes[2], OperationOutcome::StaleBase { .. }), "{outcomes:?}");
    assert!(outcomes[4].is_success(), "{outcomes:?}");
    assert!(matches!(outcomes[5], OperationOutcome::MissingFile { .. }), "{outcomes:?}");
    assert_eq!((project.head().await, project.text("poem").await.as_str()), (2, "one\n2\nthree\nfour\n"));
    assert_eq!(client.get_patch(patch.id).await.unwrap().summary.state, PatchState::Conflicted);
    refused(client.apply_patches(patch.id).await, ProblemKind::PatchRefused);
    // The workspace goes back to where the batch fits.
    let fitting =
        [("poem", POEM), ("whole", "old\n"), ("gone", "bye\n"), ("before", "same\n"), ("run", "#!/bin/sh\n")];
    project.import(Archive::of(&fitting)).await.unwrap();
    let receipt = client.apply_patches(patch.id).await.unwrap();
    assert_eq!((receipt.revision_before, receipt.revision_after), (3, 4));
    let found = client.get_patch(patch.id).await.unwrap().summary;
    assert_eq!((found.state, found.reason), (PatchState::Applied, None));
}

#[tokio::test]
async fn what_is_already_so_is_applied_without_a_revision() {
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![replace("a", "0\n", "1\n")]).await;
    let receipt = project.client.apply_patches(patch.id).await.unwrap();
    assert_eq!((receipt.revision_before, receipt.revision_after, receipt.files.len()), (1, 1, 0));
    assert_eq!(receipt.operations[0].outcome, OperationOutcome::AlreadyApplied);
    assert_eq!(project.client.apply_patches(patch.id).await.unwrap(), receipt);
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn disjoint_batches_at_once_all_land() {
    let project = Project::with(&[("base", "0\n")]).await;
    let mut patches = Vec::new();
    for number in 0..8 {
        patches.push(project.propose(vec![create(&format!("file {number}"), &format!("{number}\n"))]).await);
    }
    let receipts = join_all(patches.iter().map(|patch| project.client.apply_patches(patch.id))).await;
    let mut after: Vec<_> = receipts.iter().map(|receipt| receipt.as_ref().unwrap().revision_after).collect();
    after.sort_unstable();
    assert_eq!(after, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(project.paths().await.len(), 9);
}

#[tokio::test]
async fn of_overlapping_batches_at_once_exactly_one_lands() {
    let project = Project::with(&[("poem", POEM)]).await;
    let mut patches = Vec::new();
    for number in 0..6 {
        patches.push(project.propose(vec![edit("poem", POEM, 2, &format!("variant {number}\n"))]).await);
    }
    let receipts = join_all(patches.iter().map(|patch| project.client.apply_patches(patch.id))).await;
    let (landed, lost): (Vec<_>, Vec<_>) = receipts.into_iter().partition(Result::is_ok);
    assert_eq!((landed.len(), lost.len()), (1, 5));
    for lost in lost {
        refused(lost, ProblemKind::PatchRefused);
    }
    let winner = landed[0].as_ref().unwrap().patch_batch_id;
    let number = patches.iter().position(|patch| patch.id == winner).unwrap();
    assert_eq!(project.text("poem").await, format!("one\nvariant {number}\nthree\nfour\n"));
    assert_eq!(project.head().await, 2);
}

#[tokio::test]
async fn large_files_are_patched_too() {
    let large = "x".repeat(3 * 1024 * 1024) + "\n";
    let text = format!("first\n{large}last\n");
    let project = Project::with(&[("large", text.as_str())]).await;
    let patch = project.propose(vec![edit("large", &text, 3, "LAST\n"), create("also large", &large)]).await;
    project.client.apply_patches(patch.id).await.unwrap();
    assert!(project.text("large").await == format!("first\n{large}LAST\n"));
    assert!(project.text("also large").await == large);
}

async fn propose_text(body: String) -> Answer {
    Answer::to(owner().call(Method::POST, "/api/patches").bytes("application/json", body)).await
}

fn raw(project: &Project, operations: serde_json::Value) -> String {
    json!({"project_id": project.id, "title": "t", "base_revision": 1, "batch": {"operations": operations}})
        .to_string()
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
async fn nothing_is_written_through_a_link_or_below_a_file() {
    let project = Project::new().await;
    project
        .import(
            Archive::of(&[("dir/file", "x\n"), ("plain", "y\n")]).link("link", "dir").link("up", "dir/file"),
        )
        .await
        .unwrap();
    let symlink = |path: &str, target: &str| PatchOperation::Create {
        path: path.parse().unwrap(),
        content: shared_contracts::patches::Content::Text(target.into()),
        mode: FileMode::Symlink,
    };
    for (what, operations) in [
        ("through a link", vec![create("link/new", "evil\n")]),
        ("through a link to a file", vec![create("up/new", "evil\n")]),
        ("below a file", vec![create("plain/new", "evil\n")]),
        ("over a directory", vec![create("dir", "evil\n")]),
        ("a link out of the tree", vec![symlink("out", "../../etc/passwd")]),
        ("an absolute link", vec![symlink("out", "/etc/passwd")]),
        ("a link into .git", vec![symlink("out", ".git/config")]),
        ("through a link of the same batch", vec![symlink("fresh", "dir"), create("fresh/new", "evil\n")]),
        (
            "a renamed link that then leads out",
            vec![symlink("a/b/l", "../../plain"), rename("a/b/l", "l", "../../plain")],
        ),
        (
            "a link by its mode",
            vec![
                create("target", "/etc/passwd"),
                PatchOperation::SetMode { path: "target".parse().unwrap(), mode: FileMode::Symlink },
            ],
        ),
        (
            "a directory's place taken by a link",
            vec![delete("dir/file", "x\n"), symlink("dir", "plain"), create("dir/file", "x\n")],
        ),
    ] {
        let patch = project.client.propose_patch(&project.batch(operations)).await;
        match patch {
            // Refused already when it was proposed, or when it is applied: never done.
            Err(_) => drop(refused(patch, ProblemKind::Invalid)),
            Ok(patch) => {
                let applied = project.client.apply_patches(patch.id).await;
                let problem = refused(applied, ProblemKind::PatchRefused);
                assert!(problem.outcomes.iter().any(|operation| !operation.outcome.is_success()), "{what}");
            }
        }
        assert_eq!(project.head().await, 1, "{what}");
    }
    assert_eq!(project.paths().await, ["dir/file", "link", "plain", "up"]);
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
