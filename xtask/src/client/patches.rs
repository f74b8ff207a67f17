//! Patch batches.

use shared_contracts::ids::{ExecutionId, PatchBatchId, ProjectId};
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::patches::{ApplyPatches, Patch, PatchSummary, ProposePatch, Receipt, RejectPatch};

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
        self.post("/api/patches").json(input).typed().await
    }

    /// As a container agent, with an execution's token.
    pub async fn propose_execution_patch(
        &self,
        execution: ExecutionId,
        input: &ProposePatch,
    ) -> Result<PatchSummary, ClientError> {
        self.post(format!("/api/sandbox/executions/{execution}/patches")).json(input).typed().await
    }

    pub async fn get_patch(&self, patch_batch: PatchBatchId) -> Result<Patch, ClientError> {
        self.get(format!("/api/patches/{patch_batch}")).typed().await
    }

    pub async fn apply_patches(&self, patch_batch: PatchBatchId) -> Result<Receipt, ClientError> {
        let input = ApplyPatches { patch_batch_id: patch_batch };
        self.post("/api/patches/apply").json(&input).typed().await
    }

    pub async fn reject_patch(
        &self,
        patch_batch: PatchBatchId,
        input: &RejectPatch,
    ) -> Result<PatchSummary, ClientError> {
        self.post(format!("/api/patches/{patch_batch}/reject")).json(input).typed().await
    }
}
