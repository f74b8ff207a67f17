//! Executions, their events page by page, and their artifacts. Watching is in `watcher`.

use std::time::Duration;

use reqwest::Method;
use shared_contracts::artifacts::{Artifact, UploadArtifact};
use shared_contracts::events::{EventPage, EventQuery, SearchQuery};
use shared_contracts::executions::{CreateExecution, Execution};
use shared_contracts::ids::{ArtifactId, ExecutionId, ProjectId, TaskId};
use shared_contracts::page::{Page, PageQuery};

use super::{Client, ClientError};

const ENDED_POLL: Duration = Duration::from_millis(50);

impl Client {
    pub async fn create_execution(
        &self,
        project: ProjectId,
        task: TaskId,
        input: &CreateExecution,
    ) -> Result<Execution, ClientError> {
        self.post(format!("/api/projects/{project}/tasks/{task}/executions")).json(input).typed().await
    }

    pub async fn list_executions(
        &self,
        project: ProjectId,
        task: TaskId,
        page: &PageQuery,
    ) -> Result<Page<Execution>, ClientError> {
        self.get(format!("/api/projects/{project}/tasks/{task}/executions")).query(page).typed().await
    }

    pub async fn get_execution(&self, execution: ExecutionId) -> Result<Execution, ClientError> {
        self.get(format!("/api/sandbox/executions/{execution}")).typed().await
    }

    pub async fn stop_execution(&self, execution: ExecutionId) -> Result<Execution, ClientError> {
        self.post(format!("/api/sandbox/executions/{execution}/stop")).typed().await
    }

    pub async fn retry_execution(&self, execution: ExecutionId) -> Result<Execution, ClientError> {
        self.post(format!("/api/sandbox/executions/{execution}/retry")).typed().await
    }

    /// Asks until the record says that it has ended, at most this long; the last answer either way.
    pub async fn poll_until_ended(
        &self,
        execution: ExecutionId,
        at_most: Duration,
    ) -> Result<Execution, ClientError> {
        let deadline = tokio::time::Instant::now() + at_most;
        loop {
            let found = self.get_execution(execution).await?;
            if found.state.is_ended() || tokio::time::Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(ENDED_POLL).await;
        }
    }

    pub async fn list_events(
        &self,
        execution: ExecutionId,
        query: &EventQuery,
    ) -> Result<EventPage, ClientError> {
        self.get(format!("/api/sandbox/executions/{execution}/logs")).query(query).typed().await
    }

    /// Every event there is, page after page.
    pub async fn all_events(
        &self,
        execution: ExecutionId,
    ) -> Result<Vec<shared_contracts::events::Event>, ClientError> {
        let mut query =
            EventQuery { after: None, limit: Some(shared_contracts::limits::EVENT_PAGE_ITEMS_MAX) };
        let mut events = Vec::new();
        loop {
            let page = self.list_events(execution, &query).await?;
            events.extend(page.items);
            match page.next {
                Some(after) => query.after = Some(after),
                None => return Ok(events),
            }
        }
    }

    pub async fn search_events(
        &self,
        execution: ExecutionId,
        query: &SearchQuery,
    ) -> Result<EventPage, ClientError> {
        self.get(format!("/api/sandbox/executions/{execution}/logs/search")).query(query).typed().await
    }

    pub async fn list_artifacts(
        &self,
        execution: ExecutionId,
        page: &PageQuery,
    ) -> Result<Page<Artifact>, ClientError> {
        self.get(format!("/api/sandbox/executions/{execution}/artifacts")).query(page).typed().await
    }

    pub async fn get_artifact(&self, artifact: ArtifactId) -> Result<Artifact, ClientError> {
        self.get(format!("/api/sandbox/artifacts/{artifact}")).typed().await
    }

    pub async fn download_artifact(&self, artifact: ArtifactId) -> Result<Vec<u8>, ClientError> {
        self.get(format!("/api/sandbox/artifacts/{artifact}/download")).bulk().body().await
    }

    /// `range` as in the `Range` header, such as `bytes=0-99`; the answer as it is.
    pub async fn download_artifact_range(
        &self,
        artifact: ArtifactId,
        range: &str,
    ) -> Result<reqwest::Response, ClientError> {
        let path = format!("/api/sandbox/artifacts/{artifact}/download");
        self.get(path).header("Range", range).response().await
    }

    pub async fn delete_artifact(&self, artifact: ArtifactId) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/sandbox/artifacts/{artifact}")).empty().await
    }

    /// As a container agent, with an execution's token.
    pub async fn upload_artifact(
        &self,
        execution: ExecutionId,
        artifact: ArtifactId,
        about: &UploadArtifact,
        content: Vec<u8>,
    ) -> Result<Artifact, ClientError> {
        self.call(Method::PUT, format!("/api/sandbox/executions/{execution}/artifacts/{artifact}"))
            .query(about)
            .bytes("application/octet-stream", content)
            .typed()
            .await
    }
}
