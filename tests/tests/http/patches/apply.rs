//! A batch that fits is applied: once, with a receipt.

use acceptance::{Archive, Project, create, edit, refused, replace};
use futures_util::future::join_all;
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{OperationOutcome, PatchState};
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::FileMode;

use super::{POEM, all_kinds, no, project};

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
async fn large_files_are_patched_too() {
    let large = "x".repeat(3 * 1024 * 1024) + "\n";
    let text = format!("first\n{large}last\n");
    let project = Project::with(&[("large", text.as_str())]).await;
    let patch = project.propose(vec![edit("large", &text, 3, "LAST\n"), create("also large", &large)]).await;
    project.client.apply_patches(patch.id).await.unwrap();
    assert!(project.text("large").await == format!("first\n{large}LAST\n"));
    assert!(project.text("also large").await == large);
}
