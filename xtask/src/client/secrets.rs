//! Secrets of a project.

use reqwest::Method;
use shared_contracts::ids::ProjectId;
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::secrets::{Secret, SetSecret};

use super::{Client, ClientError};

impl Client {
    pub async fn list_secrets(
        &self,
        project: ProjectId,
        page: &PageQuery,
    ) -> Result<Page<Secret>, ClientError> {
        self.get(format!("/api/projects/{project}/secrets")).query(page).typed().await
    }

    pub async fn set_secret(
        &self,
        project: ProjectId,
        name: &str,
        value: &str,
    ) -> Result<Secret, ClientError> {
        let input = SetSecret { value: value.to_owned() };
        self.call(Method::PUT, format!("/api/projects/{project}/secrets/{name}")).json(&input).typed().await
    }

    pub async fn delete_secret(&self, project: ProjectId, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/projects/{project}/secrets/{name}")).empty().await
    }
}
