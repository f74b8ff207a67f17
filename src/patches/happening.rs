//! One thing that happened to a patch batch: an event in D1 and, where an execution is concerned that still runs, one
//! in its log. D1 keeps it once, and says until it was told that it has to be; the log knows it by its id.

use serde::{Deserialize, Serialize};
use shared_contracts::ids::{ExecutionId, PatchBatchId, PatchEventId};
use shared_contracts::limits::RECEIPT_BYTES_MAX;
use shared_contracts::patches::{KeptReceipt, PatchEventKind, PatchHappening};
use shared_contracts::patches::{OperationOutcome, OperationReceipt};
use shared_contracts::problem::{Problem, ProblemKind};

use super::store;
use crate::bindings::Bindings;
use crate::executions::commands::HubCommand;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::ids::derived;
use crate::platform::object;

pub struct Happening {
    pub id: PatchEventId,
    /// None of a text that could not be read.
    pub patch_batch_id: Option<PatchBatchId>,
    pub kind: PatchEventKind,
    /// JSON: of an application its receipt, of a refusal its outcomes.
    pub detail: String,
    pub duration_ms: u64,
    pub at_ms: u64,
    pub step: Option<String>,
    pub outcome: Option<String>,
    pub revision: Option<u64>,
    telling: Option<Telling>,
}

/// What the log of an execution is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Telling {
    execution_id: ExecutionId,
    happening: PatchHappening,
}

impl Happening {
    pub fn new(
        id: PatchBatchId,
        kind: PatchEventKind,
        detail: &impl Serialize,
        (duration_ms, at_ms): (u64, u64),
    ) -> Outcome<Self> {
        let detail = serde_json::to_string(detail)
            .map_err(|error| Failure::internal("writing a patch event", error))?;
        Ok(Self {
            id: PatchEventId::new(at_ms, derived(format!("{id} {}", kind.as_str()))),
            patch_batch_id: Some(id),
            kind,
            detail,
            duration_ms,
            at_ms,
            step: None,
            outcome: None,
            revision: None,
            telling: None,
        })
    }

    /// `kept` says when.
    pub fn applied(kept: &KeptReceipt, duration_ms: u64) -> Outcome<Self> {
        let (id, receipt) = (kept.receipt.patch_batch_id, &kept.receipt);
        let happening = Self::new(id, PatchEventKind::Applied, kept, (duration_ms, receipt.applied_at_ms))?;
        Ok(Self { revision: Some(receipt.revision_after), ..happening }.of(&receipt.operations))
    }

    /// The batch `id` was taken back by `kept`.
    pub fn reverted(id: PatchBatchId, kept: &KeptReceipt, duration_ms: u64) -> Outcome<Self> {
        let (inverse_id, receipt) = (kept.receipt.patch_batch_id, &kept.receipt);
        let times = (duration_ms, receipt.applied_at_ms);
        let happening = Self::new(id, PatchEventKind::Reverted, &inverse_id, times)?;
        Ok(Self { revision: Some(receipt.revision_after), ..happening }.of(&receipt.operations))
    }

    pub fn refused(id: PatchBatchId, problem: &Problem, times: (u64, u64)) -> Outcome<Self> {
        let happening = Self::new(id, PatchEventKind::Refused, &problem.outcomes, times)?;
        let happening = Self { revision: problem.revision, ..happening }.of(&problem.outcomes);
        if happening.detail.len() as u64 <= RECEIPT_BYTES_MAX {
            return Ok(happening);
        }
        // The sender has all of it; a row of D1 has room for which outcomes they were.
        let names = problem.outcomes.iter().map(|operation| operation.outcome.name());
        let detail = serde_json::to_string(&names.collect::<Vec<_>>())
            .map_err(|error| Failure::internal("writing a patch event", error))?;
        Ok(Self { detail, ..happening })
    }

    /// Of a text that was no batch, sent to be the batch `id`.
    pub fn unreadable(id: PatchBatchId, problem: &Problem, duration_ms: u64) -> Outcome<Self> {
        let happening = Self::refused(id, problem, (duration_ms, id.at_ms()))?;
        Ok(Self { patch_batch_id: None, ..happening })
    }

    /// To be told to the log of this execution.
    pub fn to(mut self, execution_id: Option<ExecutionId>, summary: impl FnOnce() -> String) -> Self {
        self.telling = execution_id.map(|execution_id| Telling {
            execution_id,
            happening: PatchHappening {
                patch_event_id: self.id,
                patch_batch_id: self.patch_batch_id,
                kind: self.kind,
                summary: summary(),
            },
        });
        self
    }

    /// What is to be told yet, as JSON.
    pub fn untold(&self) -> Outcome<Option<String>> {
        let text = self.telling.as_ref().map(serde_json::to_string).transpose();
        text.map_err(|error| Failure::internal("writing a patch event", error))
    }

    /// The least sure step, and what stands for all outcomes: the first refusal, else an application.
    pub fn of(mut self, operations: &[OperationReceipt]) -> Self {
        let outcomes = || operations.iter().map(|operation| &operation.outcome);
        let steps = outcomes().filter_map(|outcome| match outcome {
            OperationOutcome::Applied { step, .. } => Some(*step),
            _ => None,
        });
        self.step = steps.max_by_key(|step| *step as u8).and_then(name);
        let telling = outcomes()
            .find(|outcome| !outcome.is_success())
            .or_else(|| outcomes().find(|outcome| matches!(outcome, OperationOutcome::Applied { .. })))
            .or_else(|| outcomes().next());
        self.outcome = telling.map(|outcome| outcome.name().to_owned());
        self
    }

    /// Only by the one who recorded it: of two at once, the other has nothing to tell.
    pub async fn tell(self, bindings: &Bindings) {
        if let Some(telling) = self.telling {
            telling.tell(bindings).await;
        }
    }
}

impl Telling {
    /// Into the log, unless that has ended or is gone; D1 learns that it was told. What happened has happened, whether or
    /// not its watchers can be told now: the reconciler tells them otherwise.
    pub async fn tell(self, bindings: &Bindings) {
        if let Err(failure) = self.try_tell(bindings).await {
            failure.log("telling of a patch event");
        }
    }

    async fn try_tell(self, bindings: &Bindings) -> Outcome<()> {
        let Self { execution_id, happening } = self;
        let id = happening.patch_event_id;
        match object::call::<()>(&bindings.hub(execution_id)?, &HubCommand::Tell { happening }).await {
            Ok(()) => {}
            Err(Failure::Problem(problem)) if problem.kind == ProblemKind::NotFound => {}
            Err(failure) => return Err(failure),
        }
        store::told(&bindings.db, id).await
    }
}

/// As a contract's enum is written.
pub fn name(value: impl serde::Serialize) -> Option<String> {
    Some(serde_json::to_value(value).ok()?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::patches::PlacementStep::{Base, Exact, Partial};

    fn receipts(outcomes: Vec<OperationOutcome>) -> Vec<OperationReceipt> {
        let receipt = |(index, outcome)| OperationReceipt { index, path: "a".into(), outcome };
        (0..).zip(outcomes).map(receipt).collect()
    }

    fn of(outcomes: Vec<OperationOutcome>) -> (Option<String>, Option<String>) {
        let id = PatchBatchId::new(1, 1);
        let happening = Happening::new(id, PatchEventKind::Applied, &(), (1, 2)).unwrap();
        let happening = happening.of(&receipts(outcomes));
        (happening.step, happening.outcome)
    }

    #[test]
    fn an_event_names_the_least_sure_step_and_the_first_refusal() {
        let applied = |step| OperationOutcome::Applied { step, lines: Vec::new() };
        let refused = OperationOutcome::MissingFile { hint: String::new() };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of(vec![applied(Exact), applied(Partial), applied(Base)]),
            (some("partial"), some("applied"))
        );
        assert_eq!(of(vec![OperationOutcome::AlreadyApplied]), (None, some("already_applied")));
        assert_eq!(of(vec![applied(Exact), refused]), (some("exact"), some("missing_file")));
    }

    #[test]
    fn the_same_told_twice_has_the_same_id() {
        let id = PatchBatchId::new(1, 1);
        let told = |kind, at_ms| Happening::new(id, kind, &(), (1, at_ms)).unwrap().id;
        assert_eq!(told(PatchEventKind::Applied, 2), told(PatchEventKind::Applied, 2));
        assert_ne!(told(PatchEventKind::Applied, 2), told(PatchEventKind::Refused, 2));
    }
}
