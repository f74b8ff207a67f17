//! A batch that does not fit changes nothing, and says why for every operation.

use acceptance::{Archive, Project, create, edit, refused, replace};
use futures_util::future::join_all;
use shared_contracts::patches::{OperationOutcome, PatchOperation, PatchState};
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::FileMode;

use super::{POEM, all_kinds, delete, project, rename};

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
