//! Conflict radar: batches that wait and change the same lines are named before either is applied.

use acceptance::{Archive, Project, create, edit, refused};
use shared_contracts::patches::PatchOperation;
use shared_contracts::patches::ProposedPatch;
use shared_contracts::problem::ProblemKind;

use super::{POEM, rename};

async fn propose(project: &Project, operations: Vec<PatchOperation>) -> ProposedPatch {
    project.client.propose_patch_with_conflicts(&project.batch(operations)).await.unwrap()
}

#[tokio::test]
async fn disjoint_batches_do_not_see_each_other_and_both_land() {
    let project = Project::with(&[("poem", POEM)]).await;
    let first = propose(&project, vec![edit("poem", POEM, 1, "eins\n"), create("a", "a\n")]).await;
    let second = propose(&project, vec![edit("poem", POEM, 4, "vier\n"), create("b", "b\n")]).await;
    assert_eq!((first.conflicts, second.conflicts.len()), (Vec::new(), 0));
    project.client.apply_patches(first.summary.id).await.unwrap();
    project.client.apply_patches(second.summary.id).await.unwrap();
    assert_eq!(project.text("poem").await, "eins\ntwo\nthree\nvier\n");
}

#[tokio::test]
async fn overlapping_batches_see_each_other_and_the_second_is_told_which_operations_collide() {
    let project = Project::with(&[("poem", POEM)]).await;
    let client = &project.client;
    let first = propose(&project, vec![edit("poem", POEM, 2, "zwei\n")]).await;
    let second = propose(&project, vec![create("new", "n\n"), edit("poem", POEM, 2, "deux\n")]).await;
    assert_eq!(second.conflicts.len(), 1);
    let conflict = &second.conflicts[0];
    assert_eq!((conflict.patch_batch_id, conflict.path.as_str()), (first.summary.id, "poem"));
    assert_eq!((conflict.lines.first, conflict.lines.last), (2, 2));
    assert_eq!((conflict.operations.as_slice(), conflict.their_operations.as_slice()), (&[1][..], &[0][..]));
    let theirs = client.list_conflicts(first.summary.id).await.unwrap();
    assert_eq!(theirs.len(), 1, "the first one learns of it too");
    assert_eq!(theirs[0].patch_batch_id, second.summary.id);
    client.apply_patches(first.summary.id).await.unwrap();
    assert!(
        client.list_conflicts(second.summary.id).await.unwrap().is_empty(),
        "what is applied waits no more"
    );
    let problem = refused(client.apply_patches(second.summary.id).await, ProblemKind::PatchRefused);
    let collide: Vec<_> = problem.outcomes.iter().map(|operation| operation.outcome.is_success()).collect();
    assert_eq!(collide, [true, false], "{problem:?}");
}

#[tokio::test]
async fn a_file_that_moves_conflicts_with_every_edit_of_it() {
    let project = Project::with(&[("poem", POEM)]).await;
    let moving = propose(&project, vec![rename("poem", "verse", POEM)]).await;
    let editing = propose(&project, vec![edit("poem", POEM, 4, "vier\n")]).await;
    assert_eq!(editing.conflicts.len(), 1, "{editing:?}");
    assert_eq!(editing.conflicts[0].patch_batch_id, moving.summary.id);
    let other = Project::with(&[("poem", POEM)]).await;
    assert!(propose(&other, vec![edit("poem", POEM, 4, "vier\n")]).await.conflicts.is_empty());
}

#[tokio::test]
async fn of_several_operations_on_a_file_those_that_collide_are_named() {
    let project = Project::with(&[("poem", POEM)]).await;
    let both = vec![edit("poem", POEM, 1, "eins\n"), edit("poem", POEM, 4, "vier\n")];
    let first = propose(&project, both).await;
    let second = propose(&project, vec![edit("poem", POEM, 4, "quatre\n")]).await;
    let found = &second.conflicts[0];
    assert_eq!((second.conflicts.len(), found.patch_batch_id), (1, first.summary.id));
    assert_eq!((found.operations.as_slice(), found.their_operations.as_slice()), (&[0][..], &[1][..]));
}

#[tokio::test]
async fn lines_that_moved_since_are_compared_where_they_are_now() {
    let project = Project::with(&[("poem", POEM)]).await;
    let waiting = propose(&project, vec![edit("poem", POEM, 4, "vier\n")]).await;
    let now = format!("a\nb\n{POEM}");
    project.import(Archive::of(&[("poem", now.as_str())])).await.unwrap();
    let same = propose(&project, vec![edit("poem", &now, 6, "quatre\n")]).await;
    let found: Vec<_> =
        same.conflicts.iter().map(|found| (found.patch_batch_id, found.lines.first)).collect();
    assert_eq!(found, [(waiting.summary.id, 6)]);
    let other = propose(&project, vec![edit("poem", &now, 4, "deux\n")]).await;
    assert!(other.conflicts.is_empty(), "{other:?}");
    // Who asks for an older one is answered for now, too.
    let now = format!("c\n{now}");
    project.import(Archive::of(&[("poem", now.as_str())])).await.unwrap();
    let found = project.client.list_conflicts(waiting.summary.id).await.unwrap();
    let found: Vec<_> = found.iter().map(|found| (found.patch_batch_id, found.lines.first)).collect();
    assert_eq!(found, [(same.summary.id, 7)]);
}

#[tokio::test]
async fn a_proposal_that_does_not_fit_is_kept_and_says_why() {
    let project = Project::with(&[("poem", POEM)]).await;
    project.import(Archive::of(&[("poem", "one\n2\nthree\nfour\n")])).await.unwrap();
    let late = propose(&project, vec![create("new", "n\n"), edit("poem", POEM, 2, "zwei\n")]).await;
    let fits: Vec<_> = late.outcomes.iter().map(|operation| operation.outcome.is_success()).collect();
    assert_eq!(fits, [true, false], "{late:?}");
    // Back at the base it fits.
    project.import(Archive::of(&[("poem", POEM)])).await.unwrap();
    project.client.apply_patches(late.summary.id).await.unwrap();
}
