//! Sandboxes to choose from, and those that are there now.

use reqwest::Method;
use shared_contracts::containers::{Container, ContainerId, ContainerList, ContainerQuery, ContainerStats};
use shared_contracts::sandboxes::SandboxKinds;

use super::{Client, ClientError};

impl Client {
    pub async fn list_sandboxes(&self) -> Result<SandboxKinds, ClientError> {
        self.get("/api/sandboxes").typed().await
    }

    pub async fn list_containers(&self, query: &ContainerQuery) -> Result<ContainerList, ClientError> {
        self.get("/api/containers").query(query).typed().await
    }

    pub async fn get_container(&self, container: ContainerId) -> Result<Container, ClientError> {
        self.get(format!("/api/containers/{container}")).typed().await
    }

    pub async fn get_container_stats(&self, container: ContainerId) -> Result<ContainerStats, ClientError> {
        self.get(format!("/api/containers/{container}/stats")).typed().await
    }

    pub async fn restart_container(&self, container: ContainerId) -> Result<Container, ClientError> {
        self.post(format!("/api/containers/{container}/restart")).typed().await
    }

    pub async fn stop_container(&self, container: ContainerId) -> Result<Container, ClientError> {
        self.post(format!("/api/containers/{container}/stop")).typed().await
    }

    pub async fn freeze_container(&self, container: ContainerId) -> Result<Container, ClientError> {
        self.post(format!("/api/containers/{container}/freeze")).typed().await
    }

    pub async fn thaw_container(&self, container: ContainerId) -> Result<Container, ClientError> {
        self.post(format!("/api/containers/{container}/thaw")).typed().await
    }

    pub async fn remove_container(&self, container: ContainerId) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/containers/{container}")).empty().await
    }
}
