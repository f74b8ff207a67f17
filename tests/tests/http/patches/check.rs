//! A check says what applying would do, and does nothing.

use acceptance::{Project, create, every_page, refused, stranger};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::PatchRequest;
use shared_contracts::patches::{PatchState, PatchSummary};
use shared_contracts::problem::ProblemKind;

use super::{POEM, all_kinds, project, text, whole};

#[tokio::test]
async fn a_check_says_what_applying_then_does() {
    let project = project().await;
    let client = &project.client;
    let request = whole(&project, all_kinds());
    let check = client.check_patches(&request).await.unwrap();
    assert_eq!((check.project_id, check.revision), (project.id, 1));
    let diff = check.diff.unwrap();
    for line in [
        "-two",
        "+zwei",
        "new file mode 100644",
        "deleted file mode",
        "rename from before",
        "new mode 100755",
    ] {
        assert!(diff.contains(line), "{line}: {diff}");
    }
    let none: Vec<PatchSummary> =
        every_page(client, &format!("/api/projects/{}/patches", project.id), 10).await;
    assert_eq!((none, project.head().await), (Vec::new(), 1), "nothing is written");
    let kept = client.apply_patch(&request).await.unwrap();
    assert_eq!((kept.receipt.operations, kept.receipt.files), (check.operations, check.files));
}

#[tokio::test]
async fn a_proposed_batch_is_checked_as_it_would_be_applied() {
    let project = project().await;
    let client = &project.client;
    let patch = project.propose(all_kinds()).await;
    let check = client.check_patches(&PatchRequest::proposed(patch.id)).await.unwrap();
    assert_eq!(check.operations.len(), 6);
    assert_eq!(client.get_patch(patch.id).await.unwrap().summary, patch);
    // What does not fit is refused as applying it would be, and stays as it is.
    let late = project.propose(vec![create("poem", "x\n")]).await;
    let checked =
        refused(client.check_patches(&PatchRequest::proposed(late.id)).await, ProblemKind::PatchRefused);
    assert_eq!(client.get_patch(late.id).await.unwrap().summary.state, PatchState::Proposed);
    let applied = refused(client.apply_patches(late.id).await, ProblemKind::PatchRefused);
    assert_eq!(checked.outcomes, applied.outcomes);
}

#[tokio::test]
async fn a_check_of_a_text_says_how_it_was_read() {
    let project = Project::with(&[("poem", POEM)]).await;
    let sent = "Here you are:\n```diff\n--- a/poem\n+++ b/poem\n@@ ... @@\n one\n-two\n+zwei\n three\n```\n";
    let check = project.client.check_patches(&text(&project, sent)).await.unwrap();
    assert!(!check.reading.notes.is_empty(), "the text around it was noticed: {check:?}");
    assert_eq!(check.files[0].sha256_before, Some(Sha256::of(POEM.as_bytes())));
    assert_eq!(check.files[0].sha256_after, Some(Sha256::of(b"one\nzwei\nthree\nfour\n")));
    let strangers = stranger().check_patches(&text(&project, sent)).await;
    refused(strangers, ProblemKind::NotFound);
}
