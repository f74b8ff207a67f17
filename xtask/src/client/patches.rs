//! Patch batches.

use shared_contracts::ids::{ExecutionId, PatchBatchId, ProjectId};
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::patches::{KeptReceipt, PatchCheck, PatchConflict, PatchRequest, ProposedPatch};
use shared_contracts::patches::{Patch, PatchSummary, ProposePatch, Receipt, RejectPatch};

use super::{Client, ClientError};

impl Client {
    pub async fn list_patches(
        &self,
        project: ProjectId,
        page: &PageQuery,
    ) -> Result<Page<PatchSummary>, ClientError> {
        self.get(format!("/api/projects/{project}/patches")).query(page).typed().await
    }

    pub async fn propose_patch(&self, input: &ProposePatch) -> Result<PatchSummary, ClientError> {
        self.propose_patch_with_conflicts(input).await.map(|proposed| proposed.summary)
    }

    /// With what else changes the same lines, and why it would not fit now.
    pub async fn propose_patch_with_conflicts(
        &self,
        input: &ProposePatch,
    ) -> Result<ProposedPatch, ClientError> {
        self.post("/api/patches").json(input).typed().await
    }

    /// As a container agent, with an execution's token.
    pub async fn propose_execution_patch(
        &self,
        execution: ExecutionId,
        input: &ProposePatch,
    ) -> Result<ProposedPatch, ClientError> {
        self.post(format!("/api/sandbox/executions/{execution}/patches")).json(input).typed().await
    }

    pub async fn get_patch(&self, patch_batch: PatchBatchId) -> Result<Patch, ClientError> {
        self.get(format!("/api/patches/{patch_batch}")).typed().await
    }

    pub async fn apply_patches(&self, patch_batch: PatchBatchId) -> Result<Receipt, ClientError> {
        self.apply_patch(&PatchRequest::proposed(patch_batch)).await.map(|kept| kept.receipt)
    }

    /// Proposed or sent along.
    pub async fn apply_patch(&self, input: &PatchRequest) -> Result<KeptReceipt, ClientError> {
        self.post("/api/patches/apply").json(input).typed().await
    }

    pub async fn check_patches(&self, input: &PatchRequest) -> Result<PatchCheck, ClientError> {
        self.post("/api/patches/check").json(input).typed().await
    }

    pub async fn get_receipt(&self, patch_batch: PatchBatchId) -> Result<KeptReceipt, ClientError> {
        self.get(format!("/api/patches/{patch_batch}/receipt")).typed().await
    }

    pub async fn list_conflicts(&self, patch_batch: PatchBatchId) -> Result<Vec<PatchConflict>, ClientError> {
        self.get(format!("/api/patches/{patch_batch}/conflicts")).typed().await
    }

    pub async fn revert_patch(&self, patch_batch: PatchBatchId) -> Result<KeptReceipt, ClientError> {
        self.post(format!("/api/patches/{patch_batch}/revert")).typed().await
    }

    pub async fn reject_patch(
        &self,
        patch_batch: PatchBatchId,
        input: &RejectPatch,
    ) -> Result<PatchSummary, ClientError> {
        self.post(format!("/api/patches/{patch_batch}/reject")).json(input).typed().await
    }
}
