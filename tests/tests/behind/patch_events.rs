//! What happened to patch batches is told once for each thing that happened.

use acceptance::{Project, create, plane, refused, replace};
use futures_util::future::join_all;
use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::RejectPatch;
use shared_contracts::problem::ProblemKind;

use crate::alone;

/// The kinds of a batch's events, in order of time.
fn events(patch: PatchBatchId) -> Vec<String> {
    let sql = format!("SELECT kind FROM patch_events WHERE patch_batch_id = '{patch}' ORDER BY id");
    let rows = plane().sql(&sql).unwrap();
    rows.iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_application_is_told_once_however_often_it_is_asked_for() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![create("b", "2\n")]).await;
    let applied = join_all((0..5).map(|_| project.client.apply_patches(patch.id))).await;
    assert!(applied.iter().all(Result::is_ok), "{applied:?}");
    project.client.apply_patches(patch.id).await.unwrap();
    assert_eq!(events(patch.id), ["proposed", "applied"]);
}

#[tokio::test]
async fn what_was_already_so_is_told_once_too() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![replace("a", "0\n", "1\n")]).await;
    let applied = join_all((0..5).map(|_| project.client.apply_patches(patch.id))).await;
    let first = applied[0].as_ref().unwrap();
    assert!(applied.iter().all(|receipt| receipt.as_ref().unwrap() == first), "{applied:?}");
    assert_eq!(events(patch.id), ["proposed", "applied"]);
}

#[tokio::test]
async fn every_refusal_and_one_rejection_are_told() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![create("a", "2\n")]).await;
    for _ in 0..2 {
        refused(project.client.apply_patches(patch.id).await, ProblemKind::PatchRefused);
    }
    let no = RejectPatch { reason: "no".into() };
    let rejected = join_all((0..4).map(|_| project.client.reject_patch(patch.id, &no))).await;
    assert_eq!(rejected.iter().filter(|rejected| rejected.is_ok()).count(), 1);
    assert_eq!(events(patch.id), ["proposed", "refused", "refused", "rejected"]);
}
