//! What happened to patch batches is told once for each thing that happened.

use acceptance::{Archive, Project, create, plane, refused, replace};
use futures_util::future::join_all;
use serde_json::json;
use shared_contracts::events::{Event, EventBody};
use shared_contracts::ids::{ExecutionId, PatchBatchId, PatchEventId};
use shared_contracts::patches::{PatchEventKind, PatchOrigin, PatchRequest, PatchState, RejectPatch};
use shared_contracts::problem::ProblemKind;

use crate::alone;

/// The kinds of a batch's events, in the order in which they were recorded.
fn events(patch: PatchBatchId) -> Vec<String> {
    let sql = format!("SELECT kind FROM patch_events WHERE patch_batch_id = '{patch}' ORDER BY rowid");
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
async fn a_refusal_is_told_once_for_each_revision_and_a_rejection_once() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![create("a", "2\n")]).await;
    for content in ["3\n", "4\n"] {
        let twice = join_all((0..2).map(|_| project.client.apply_patches(patch.id))).await;
        for answer in twice {
            refused(answer, ProblemKind::PatchRefused);
        }
        project.import(Archive::of(&[("a", content)])).await.unwrap();
    }
    let no = RejectPatch { reason: "no".into() };
    let rejected = join_all((0..4).map(|_| project.client.reject_patch(patch.id, &no))).await;
    assert_eq!(rejected.iter().filter(|rejected| rejected.is_ok()).count(), 1);
    assert_eq!(events(patch.id), ["proposed", "refused", "refused", "rejected"]);
}

#[tokio::test]
async fn an_event_says_where_the_patch_came_from_and_how_it_was_placed() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n2\n")]).await;
    let (_, execution) = project.queued().await;
    let sent = |text: &str| PatchRequest {
        project_id: Some(project.id),
        title: Some("t".into()),
        text: Some(text.into()),
        origin: Some(PatchOrigin {
            execution_id: Some(execution.id),
            coding_agent: None,
            model: Some("large".into()),
            provider: Some("someone".into()),
        }),
        ..PatchRequest::default()
    };
    let diff = "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\n-2\n+zwei\n";
    let kept = project.client.apply_patch(&sent(diff)).await.unwrap();
    refused(
        project.client.apply_patch(&sent(&diff.replace("-2", "-3").replace("zwei", "drei"))).await,
        ProblemKind::PatchRefused,
    );
    refused(project.client.apply_patch(&sent("nothing")).await, ProblemKind::PatchRefused);
    for _ in 0..2 {
        project.client.revert_patch(kept.receipt.patch_batch_id).await.unwrap();
    }
    let sql = format!(
        "SELECT kind || ' ' || coalesce(coding_agent, '-') || ' ' || model || ' ' || provider || ' ' ||
           coalesce(format, '-') || ' ' || coalesce(step, '-') || ' ' || outcome || ' ' ||
           (duration_ms BETWEEN 0 AND 60000) AS told
         FROM patch_events WHERE project_id = '{}' AND execution_id = '{}' AND kind <> 'proposed' ORDER BY rowid",
        project.id, execution.id
    );
    let rows = plane().sql(&sql).unwrap();
    let told: Vec<_> = rows.iter().map(|row| row["told"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        [
            "applied command large someone unified_diff exact applied 1",
            "refused command large someone unified_diff - no_match 1",
            "refused command large someone - - malformed 1",
            "reverted command large someone unified_diff base applied 1",
        ]
    );
    assert_eq!(events(kept.receipt.patch_batch_id), ["proposed", "applied", "reverted"]);
}

#[tokio::test]
async fn a_refused_request_that_is_sent_again_is_told_once() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    for (text, batches) in [("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-2\n+3\n", 1), ("no patch at all", 0)] {
        let client = project.client.with_idempotency_key(&xtask::random::secret().unwrap());
        let request = PatchRequest {
            project_id: Some(project.id),
            title: Some("t".into()),
            text: Some(text.into()),
            ..PatchRequest::default()
        };
        let counted = |what: &str| {
            let rows = plane().sql(&format!("SELECT count(*) AS n FROM {what}")).unwrap();
            rows[0]["n"].as_u64().unwrap()
        };
        let (batches_sql, refusals_sql) = (
            format!("patch_batches WHERE project_id = '{}'", project.id),
            format!("patch_events WHERE kind = 'refused' AND project_id = '{}'", project.id),
        );
        let before = (counted(&batches_sql), counted(&refusals_sql));
        for _ in 0..3 {
            refused(client.apply_patch(&request).await, ProblemKind::PatchRefused);
        }
        assert_eq!(
            (counted(&batches_sql), counted(&refusals_sql)),
            (before.0 + batches, before.1 + 1),
            "{text}"
        );
    }
}

/// As a Worker leaves D1 that dies between the Workspace's commit and what follows.
fn crashed(patch: PatchBatchId) {
    plane()
        .sql(&format!(
            "DELETE FROM patch_events WHERE patch_batch_id = '{patch}' AND kind = 'applied';
             UPDATE patch_batches SET state = 'proposed', revision_after = NULL, applying_since_ms = 1
             WHERE id = '{patch}'"
        ))
        .unwrap();
}

#[tokio::test]
async fn what_a_crash_left_of_an_application_is_settled_by_the_reconciler() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let client = &project.client;
    let diff = "Here:\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n";
    let (_, execution) = project.queued().await;
    let request = PatchRequest {
        project_id: Some(project.id),
        title: Some("t".into()),
        text: Some(diff.into()),
        origin: Some(PatchOrigin { execution_id: Some(execution.id), ..PatchOrigin::default() }),
        ..PatchRequest::default()
    };
    let kept = client.apply_patch(&request).await.unwrap();
    assert!(!kept.reading.notes.is_empty());
    let id = kept.receipt.patch_batch_id;
    crashed(id);
    plane().run_reconciler().await.unwrap();
    assert_eq!(client.get_receipt(id).await.unwrap(), kept, "the whole receipt");
    assert_eq!(client.get_patch(id).await.unwrap().summary.state, PatchState::Applied);
    assert_eq!(events(id), ["proposed", "applied"]);
    assert_eq!(told(&project, execution.id).await, [PatchEventKind::Applied]);
    // A revert is two batches' matter, settled together.
    let reverted = client.revert_patch(id).await.unwrap();
    let inverse_id = reverted.receipt.patch_batch_id;
    crashed(inverse_id);
    plane()
        .sql(&format!(
            "DELETE FROM patch_events WHERE patch_batch_id = '{id}' AND kind = 'reverted';
             UPDATE patch_batches SET reverted_by = NULL WHERE id = '{id}'"
        ))
        .unwrap();
    plane().run_reconciler().await.unwrap();
    assert_eq!(client.get_patch(id).await.unwrap().summary.state, PatchState::Reverted);
    assert_eq!(client.revert_patch(id).await.unwrap(), reverted);
    assert_eq!((events(id).len(), events(inverse_id)), (3, vec!["proposed".into(), "applied".into()]));
    assert_eq!(told(&project, execution.id).await, [PatchEventKind::Applied, PatchEventKind::Reverted]);
    project.client.stop_execution(execution.id).await.unwrap();
}

#[tokio::test]
async fn an_application_that_never_came_to_the_workspace_is_given_up() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let patch = project.propose(vec![create("b", "2\n")]).await;
    plane()
        .sql(&format!("UPDATE patch_batches SET applying_since_ms = 1 WHERE id = '{}'", patch.id))
        .unwrap();
    plane().run_reconciler().await.unwrap();
    assert_eq!(project.client.get_patch(patch.id).await.unwrap().summary, patch);
    let rows = plane().sql("SELECT id FROM patch_batches WHERE applying_since_ms IS NOT NULL").unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!((project.head().await, events(patch.id)), (1, vec!["proposed".into()]));
}

/// What an execution's log says of patches.
async fn told(project: &Project, execution: ExecutionId) -> Vec<PatchEventKind> {
    let events = project.client.all_events(execution).await.unwrap();
    let kind = |event: &Event| match &event.body {
        EventBody::PatchEvent(told) => Some(told.kind),
        _ => None,
    };
    events.iter().filter_map(kind).collect()
}

#[tokio::test]
async fn what_a_log_was_not_told_it_is_told_by_the_reconciler_once() {
    let _alone = alone().await;
    let project = Project::with(&[("a", "1\n")]).await;
    let (_, execution) = project.queued().await;
    let event_id = PatchEventId::new(1, xtask::random::id_bits().unwrap());
    let untold = json!({
        "execution_id": execution.id,
        "happening": {"patch_event_id": event_id, "patch_batch_id": null, "kind": "refused", "summary": "no"},
    });
    for _ in 0..2 {
        // The second time as after a crash between the log and D1.
        plane()
            .sql(&format!(
                "INSERT INTO patch_events (id, project_id, kind, detail, duration_ms, created_at_ms, untold)
                 VALUES ('{event_id}', '{}', 'refused', '[]', 1, 1, '{untold}')
                 ON CONFLICT DO UPDATE SET untold = excluded.untold",
                project.id
            ))
            .unwrap();
        plane().run_reconciler().await.unwrap();
        assert_eq!(told(&project, execution.id).await, [PatchEventKind::Refused]);
        let left = plane().sql("SELECT id FROM patch_events WHERE untold IS NOT NULL").unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    project.client.stop_execution(execution.id).await.unwrap();
}
