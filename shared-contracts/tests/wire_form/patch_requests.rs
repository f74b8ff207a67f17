//! What is asked about patches and answered.

use shared_contracts::events::EventBody;
use shared_contracts::ids::*;
use shared_contracts::patches::*;
use shared_contracts::problem::{Problem, ProblemKind};

use super::{AT_MS, golden};

fn patch() -> PatchBatchId {
    PatchBatchId::new(AT_MS, 1)
}

#[test]
fn proposals_and_refusals() {
    let summary = PatchSummary {
        id: patch(),
        project_id: ProjectId::new(AT_MS, 1),
        execution_id: None,
        title: "Revert: fix it".into(),
        state: PatchState::Conflicted,
        base_revision: 3,
        operation_count: 1,
        size_bytes: 100,
        format: Some(PatchFormat::Codex),
        reverts: Some(PatchBatchId::new(AT_MS, 2)),
        revision_after: None,
        reason: Some("it does not fit".into()),
        created_at_ms: AT_MS,
        decided_at_ms: Some(AT_MS + 1),
    };
    let outcome = OperationOutcome::MissingFile { hint: "create it".into() };
    let outcomes = vec![OperationReceipt { index: 0, path: "a".into(), outcome }];
    let problem = Problem::new(ProblemKind::PatchRefused, "1 of 1 operations do not fit revision 3");
    golden("patch_refused", &Problem { outcomes: outcomes.clone(), revision: Some(3), ..problem });
    golden("proposed_patch", &ProposedPatch { summary, conflicts: Vec::new(), outcomes });
}

#[test]
fn requests_and_answers() {
    let project_id = ProjectId::new(AT_MS, 1);
    let request = PatchRequest {
        project_id: Some(project_id),
        title: Some("Fix it".into()),
        format: Some(PatchFormat::Codex),
        text: Some("*** Begin Patch\n*** End Patch\n".into()),
        base_revision: Some(3),
        origin: Some(PatchOrigin { model: Some("a model".into()), ..PatchOrigin::default() }),
        ..PatchRequest::default()
    };
    golden("patch_request", &request);
    let reading = Reading { format: Some(PatchFormat::UnifiedDiff), notes: vec!["line 2: forgiven".into()] };
    let receipt = Receipt {
        patch_batch_id: patch(),
        project_id,
        revision_before: 3,
        revision_after: 4,
        operations: Vec::new(),
        files: Vec::new(),
        applied_at_ms: AT_MS,
    };
    let inverse_patch_batch_id = Some(PatchBatchId::new(AT_MS, 2));
    golden("kept_receipt", &KeptReceipt { receipt, reading: reading.clone(), inverse_patch_batch_id });
    let check = PatchCheck {
        project_id,
        revision: 3,
        reading,
        operations: Vec::new(),
        files: Vec::new(),
        diff: Some(String::new()),
    };
    golden("patch_check", &check);
    // What a sender of whole patches says is a request, and what it reads is an answer.
    let direct = DirectPatch {
        project_id,
        title: "t".into(),
        format: None,
        body: PatchBody::Text("x".into()),
        origin: PatchOrigin::default(),
    };
    let sent: PatchRequest = serde_json::from_str(&serde_json::to_string(&direct).unwrap()).unwrap();
    assert_eq!(sent.wanted().unwrap(), WantedPatch::Direct { patch: direct, base_revision: None });
}

#[test]
fn conflicts_and_happenings() {
    let conflict = PatchConflict {
        patch_batch_id: patch(),
        execution_id: Some(ExecutionId::new(AT_MS, 1)),
        path: "a".into(),
        lines: LineRange { first: 3, last: 5 },
        operations: vec![0],
        their_operations: vec![1, 2],
    };
    golden("patch_conflict", &conflict);
    let happening = PatchHappening {
        patch_event_id: PatchEventId::new(AT_MS, 1),
        patch_batch_id: Some(patch()),
        kind: PatchEventKind::Applied,
        summary: "applied".into(),
    };
    golden("patch_event", &EventBody::PatchEvent(happening));
}
