//! An applied batch is taken back by a batch of its own, once, as long as that still fits.

use acceptance::{Archive, Project, edit, refused, replace};
use futures_util::future::join_all;
use shared_contracts::patches::{OperationOutcome, PatchState};
use shared_contracts::problem::ProblemKind;

use super::{POEM, all_kinds, no, project};

#[tokio::test]
async fn a_revert_gives_the_tree_of_before() {
    let project = project().await;
    let client = &project.client;
    let before = client.get_manifest(project.id, None).await.unwrap();
    let patch = project.propose(all_kinds()).await;
    client.apply_patches(patch.id).await.unwrap();
    let kept = client.get_receipt(patch.id).await.unwrap();
    let reverted = client.revert_patch(patch.id).await.unwrap();
    assert_eq!(Some(reverted.receipt.patch_batch_id), kept.inverse_patch_batch_id);
    assert_eq!((reverted.receipt.revision_before, reverted.receipt.revision_after), (2, 3));
    assert_eq!(client.get_manifest(project.id, None).await.unwrap(), before);
    let inverse = client.get_patch(reverted.receipt.patch_batch_id).await.unwrap();
    assert_eq!(
        (inverse.summary.state, inverse.summary.title.as_str()),
        (PatchState::Applied, "Revert: a change")
    );
    // The revert is a batch as any other, and can be taken back too.
    let again = client.revert_patch(reverted.receipt.patch_batch_id).await.unwrap();
    assert_eq!(again.receipt.revision_after, 4);
    assert_eq!(project.text("poem").await, "one\nzwei\nthree\nfour\n");
}

#[tokio::test]
async fn reverting_twice_is_the_same_receipt() {
    let project = project().await;
    let patch = project.propose(all_kinds()).await;
    project.client.apply_patches(patch.id).await.unwrap();
    let reverts = join_all((0..4).map(|_| project.client.revert_patch(patch.id))).await;
    let first = reverts[0].as_ref().unwrap();
    assert!(reverts.iter().all(|revert| revert.as_ref().unwrap() == first), "{reverts:?}");
    assert_eq!(&project.client.revert_patch(patch.id).await.unwrap(), first);
    assert_eq!(project.head().await, 3);
}

#[tokio::test]
async fn what_others_built_on_is_refused_unless_it_still_places() {
    let project = Project::with(&[("poem", POEM)]).await;
    let client = &project.client;
    let patch = project.propose(vec![edit("poem", POEM, 2, "zwei\n")]).await;
    client.apply_patches(patch.id).await.unwrap();
    // Others changed the very line.
    project.import(Archive::of(&[("poem", "one\ndeux\nthree\nfour\n")])).await.unwrap();
    let problem = refused(client.revert_patch(patch.id).await, ProblemKind::PatchRefused);
    assert!(!problem.outcomes[0].outcome.is_success(), "{problem:?}");
    assert_eq!(project.text("poem").await, "one\ndeux\nthree\nfour\n");
    // Others changed other lines: it still places.
    project.import(Archive::of(&[("poem", "zero\none\nzwei\nthree\nfour\nfive\n")])).await.unwrap();
    let kept = client.revert_patch(patch.id).await.unwrap();
    assert!(matches!(kept.receipt.operations[0].outcome, OperationOutcome::Applied { .. }), "{kept:?}");
    assert_eq!(project.text("poem").await, "zero\none\ntwo\nthree\nfour\nfive\n");
}

#[tokio::test]
async fn only_what_was_applied_and_changed_something_is_reverted() {
    let project = Project::with(&[("a", "1\n")]).await;
    let client = &project.client;
    let patch = project.propose(vec![replace("a", "0\n", "1\n")]).await;
    refused(client.revert_patch(patch.id).await, ProblemKind::WrongState);
    refused(client.get_receipt(patch.id).await, ProblemKind::WrongState);
    client.apply_patches(patch.id).await.unwrap();
    refused(client.revert_patch(patch.id).await, ProblemKind::WrongState);
    let rejected = project.propose(vec![replace("a", "1\n", "2\n")]).await;
    client.reject_patch(rejected.id, &no()).await.unwrap();
    refused(client.revert_patch(rejected.id).await, ProblemKind::WrongState);
    assert_eq!(project.head().await, 1);
}
