//! A patch that is sent along is applied in one go: in any format, recorded as a batch, once for each key.

use acceptance::{Project, create, edit, owner, refused};
use serde_json::json;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::PatchRequest;
use shared_contracts::patches::{
    OperationOutcome, PatchBatch, PatchFormat, PatchOperation, PatchOrigin, PatchState, PlacementStep,
};
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::UpdateProject;

use super::{POEM, text, whole};

const CODEX: &str =
    "*** Begin Patch\n*** Update File: poem.txt\n@@\n one\n-two\n+zwei\n three\n*** End Patch\n";
const DIFF: &str = "--- a/poem.txt\n+++ b/poem.txt\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n";
const WHOLE: &str = "poem.txt\n```\none\nzwei\nthree\nfour\n```\n";
const BLOCKS: &str = "poem.txt\n<<<<<<< SEARCH\ntwo\n=======\nzwei\n>>>>>>> REPLACE\n";

#[tokio::test]
async fn every_format_lands_as_it_says_or_as_it_looks() {
    let operation = |operation: serde_json::Value| json!({"operations": [operation]}).to_string();
    let marker = operation(json!({"operation": "insert", "path": "poem.txt", "base_sha256": null,
        "at": {"where": "between", "first": "one", "last": "three"}, "text": "zwei\n"}));
    let tag = format!("2:{}", &Sha256::of(b"two").to_string()[..6]);
    let tagged = operation(json!({"operation": "edit_lines", "path": "poem.txt", "base_sha256": null,
        "edits": [{"first": tag, "last": tag, "new": "zwei\n"}]}));
    for (sent, format) in [
        (CODEX, PatchFormat::Codex),
        (DIFF, PatchFormat::UnifiedDiff),
        (BLOCKS, PatchFormat::SearchReplace),
        (WHOLE, PatchFormat::WholeFile),
        (&marker, PatchFormat::Json),
        (&tagged, PatchFormat::Json),
    ] {
        for named in [None, Some(format)] {
            let project = Project::with(&[("poem.txt", POEM)]).await;
            let request = PatchRequest { format: named, ..text(&project, sent) };
            let kept = project.client.apply_patch(&request).await.unwrap();
            assert_eq!(kept.reading.format, Some(format), "{sent}");
            assert_eq!((kept.receipt.revision_before, kept.receipt.revision_after), (1, 2));
            assert_eq!(project.text("poem.txt").await, "one\nzwei\nthree\nfour\n");
            let id = kept.receipt.patch_batch_id;
            let found = project.client.get_patch(id).await.unwrap();
            assert_eq!((found.summary.state, found.batch.operations.len()), (PatchState::Applied, 1));
            assert_eq!(found.summary.format, Some(format));
            assert_eq!(project.client.get_receipt(id).await.unwrap(), kept);
        }
    }
}

#[tokio::test]
async fn a_batch_is_sent_along_too() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let request = whole(&project, vec![edit("poem.txt", POEM, 2, "zwei\n"), create("new", "fresh\n")]);
    let kept = project.client.apply_patch(&request).await.unwrap();
    assert_eq!((kept.receipt.files.len(), kept.reading.format), (2, None));
    assert_eq!(project.paths().await, ["new", "poem.txt"]);
}

#[tokio::test]
async fn the_same_key_is_one_patch() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let client = project.client.with_idempotency_key(&format!("direct {}", project.id).replace(' ', "-"));
    let request = text(&project, DIFF);
    let first = client.apply_patch(&request).await.unwrap();
    assert_eq!(client.apply_patch(&request).await.unwrap(), first);
    assert_eq!(project.head().await, 2);
    // Without the key it is another patch, whose change is there already.
    let again = project.client.apply_patch(&request).await.unwrap();
    assert_ne!(again.receipt.patch_batch_id, first.receipt.patch_batch_id);
    assert_eq!(again.receipt.operations[0].outcome, OperationOutcome::AlreadyApplied);
    assert_eq!((again.inverse_patch_batch_id, project.head().await), (None, 2));
}

#[tokio::test]
async fn a_refused_patch_is_kept_and_a_text_that_is_none_is_explained() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let client = &project.client;
    let astray = DIFF.replace("-two", "-nowhere");
    let problem = refused(client.apply_patch(&text(&project, &astray)).await, ProblemKind::PatchRefused);
    assert!(matches!(problem.outcomes[0].outcome, OperationOutcome::NoMatch { .. }), "{problem:?}");
    let page = client.list_patches(project.id, &Default::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].state, PatchState::Conflicted);
    let problem =
        refused(client.apply_patch(&text(&project, "please fix it")).await, ProblemKind::PatchRefused);
    assert!(matches!(problem.outcomes[0].outcome, OperationOutcome::Malformed { .. }), "{problem:?}");
    // One operation of two cannot be read: both are explained, nothing is done.
    let half = format!("{DIFF}--- a/../out\n+++ b/../out\n@@ -1 +1 @@\n-a\n+b\n");
    let problem = refused(client.apply_patch(&text(&project, &half)).await, ProblemKind::PatchRefused);
    assert_eq!(problem.outcomes.len(), 2, "{problem:?}");
    assert!(problem.outcomes[0].outcome.is_success() && !problem.outcomes[1].outcome.is_success());
    assert_eq!(client.list_patches(project.id, &Default::default()).await.unwrap().items.len(), 1);
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn a_request_that_is_neither_names_its_fault() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let absent = PatchBatchId::new(1, 1);
    for (field, body) in [
        ("text", json!({"project_id": project.id, "title": "t"})),
        ("title", json!({"project_id": project.id, "text": "x"})),
        ("project_id", json!({"title": "t", "text": "x"})),
        (
            "batch",
            json!({"project_id": project.id, "title": "t", "text": "x", "batch": {"operations": [
            {"operation": "delete", "path": "poem.txt"}]}}),
        ),
        ("patch_batch_id", json!({"patch_batch_id": absent, "title": "t"})),
        ("format", json!({"project_id": project.id, "title": "t", "text": "x", "format": "ed"})),
    ] {
        for door in ["/api/patches/apply", "/api/patches/check"] {
            let call = owner().call(reqwest::Method::POST, door).json(&body);
            let problem = acceptance::Answer::to(call).await.problem(ProblemKind::Invalid);
            assert_eq!(problem.faults[0].field, field, "{problem:?}");
        }
    }
}

#[tokio::test]
async fn an_edit_is_placed_by_way_of_its_base() {
    // Two blocks alike: by its text alone the edit has two places, and its line number is that of the old file.
    let before = "a\nx\nb\n\nx\n";
    let now = "new\na\nx\nb\n\nx\n";
    let project = Project::with(&[("f", before)]).await;
    project.import(acceptance::Archive::of(&[("f", now)])).await.unwrap();
    let diff = "--- a/f\n+++ b/f\n@@ -5 +5 @@\n-x\n+y\n";
    refused(project.client.apply_patch(&text(&project, diff)).await, ProblemKind::PatchRefused);
    let request = PatchRequest { base_revision: Some(1), ..text(&project, diff) };
    let kept = project.client.apply_patch(&request).await.unwrap();
    let outcome = &kept.receipt.operations[0].outcome;
    assert!(
        matches!(outcome, OperationOutcome::Applied { step: PlacementStep::Provenance, .. }),
        "{outcome:?}"
    );
    assert_eq!(project.text("f").await, "new\na\nx\nb\n\ny\n");
    // The same by the base's hash.
    let edit = edit("f", before, 2, "z\n");
    assert!(matches!(edit, PatchOperation::Edit { base_sha256: Some(_), .. }));
    project.client.apply_patch(&whole(&project, vec![edit])).await.unwrap();
    assert_eq!(project.text("f").await, "new\na\nz\nb\n\ny\n");
}

#[tokio::test]
async fn a_file_that_others_changed_since_is_not_overwritten() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    project.import(acceptance::Archive::of(&[("poem.txt", "others wrote this\n")])).await.unwrap();
    let deletes = "*** Begin Patch\n*** Delete File: poem.txt\n*** End Patch\n";
    for sent in [WHOLE, deletes] {
        let request = PatchRequest { base_revision: Some(1), ..text(&project, sent) };
        let problem = refused(project.client.apply_patch(&request).await, ProblemKind::PatchRefused);
        let outcome = &problem.outcomes[0].outcome;
        assert!(matches!(outcome, OperationOutcome::StaleBase { .. }), "{sent}: {outcome:?}");
        assert_eq!(problem.revision, Some(2));
    }
    // Who does not say what it was made against means the file as it is.
    project.client.apply_patch(&text(&project, WHOLE)).await.unwrap();
    assert_eq!(project.text("poem.txt").await, "one\nzwei\nthree\nfour\n");
}

#[tokio::test]
async fn a_project_denies_paths() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let client = &project.client;
    let denying = |globs: &[&str]| UpdateProject {
        denied_paths: Some(globs.iter().map(|glob| (*glob).to_owned()).collect()),
        ..UpdateProject::default()
    };
    let changed = client.update_project(project.id, &denying(&["**/.env", "secrets"])).await.unwrap();
    assert_eq!(changed.denied_paths, ["**/.env", "secrets"]);
    for path in ["a/.env", "secrets/key"] {
        let request = whole(&project, vec![create("fine", "1\n"), create(path, "2\n")]);
        for answer in
            [client.check_patches(&request).await.map(drop), client.apply_patch(&request).await.map(drop)]
        {
            let problem = refused(answer, ProblemKind::PatchRefused);
            let denied = &problem.outcomes[1].outcome;
            assert!(matches!(denied, OperationOutcome::DeniedPath { .. }), "{path}: {problem:?}");
        }
    }
    assert_eq!(project.head().await, 1);
    refused(client.update_project(project.id, &denying(&[""])).await, ProblemKind::Invalid);
    let kept = client.update_project(project.id, &UpdateProject::default()).await.unwrap();
    assert_eq!(kept.denied_paths.len(), 2, "what is absent stays");
    client.update_project(project.id, &denying(&[])).await.unwrap();
    client.apply_patch(&whole(&project, vec![create("a/.env", "2\n")])).await.unwrap();
}

#[tokio::test]
async fn an_origin_is_the_owners_own() {
    let project = Project::with(&[("poem.txt", POEM)]).await;
    let (_, foreign) = Project::new().await.queued().await;
    let origin = PatchOrigin { execution_id: Some(foreign.id), ..PatchOrigin::default() };
    for sent in [DIFF, "no patch"] {
        let request = PatchRequest { origin: Some(origin.clone()), ..text(&project, sent) };
        refused(project.client.apply_patch(&request).await, ProblemKind::NotFound);
    }
    let batch = PatchBatch { operations: Vec::new() };
    let empty = PatchRequest { batch: Some(batch), ..whole(&project, Vec::new()) };
    refused(project.client.apply_patch(&empty).await, ProblemKind::Invalid);
}
