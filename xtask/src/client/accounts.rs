//! Access tokens and container agents.

use reqwest::Method;
use shared_contracts::accounts::{AccessToken, CreateAccessToken, CreatedAccessToken};
use shared_contracts::container_agents::ContainerAgent;
use shared_contracts::containers::ContainerCleanup;
use shared_contracts::ids::{ContainerAgentId, TokenId};
use shared_contracts::page::{Page, PageQuery};

use super::{Client, ClientError};

impl Client {
    pub async fn list_access_tokens(&self, page: &PageQuery) -> Result<Page<AccessToken>, ClientError> {
        self.get("/api/access-tokens").query(page).typed().await
    }

    pub async fn create_access_token(
        &self,
        input: &CreateAccessToken,
    ) -> Result<CreatedAccessToken, ClientError> {
        self.post("/api/access-tokens").json(input).typed().await
    }

    pub async fn revoke_access_token(&self, token: TokenId) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/access-tokens/{token}")).empty().await
    }

    pub async fn list_container_agents(&self, page: &PageQuery) -> Result<Page<ContainerAgent>, ClientError> {
        self.get("/api/container-agents").query(page).typed().await
    }

    pub async fn get_container_agent(&self, agent: ContainerAgentId) -> Result<ContainerAgent, ClientError> {
        self.get(format!("/api/container-agents/{agent}")).typed().await
    }

    pub async fn drain_container_agent(
        &self,
        agent: ContainerAgentId,
    ) -> Result<ContainerAgent, ClientError> {
        self.post(format!("/api/container-agents/{agent}/drain")).typed().await
    }

    pub async fn list_container_cleanups(
        &self,
        agent: ContainerAgentId,
        page: &PageQuery,
    ) -> Result<Page<ContainerCleanup>, ClientError> {
        self.get(format!("/api/container-agents/{agent}/cleanups")).query(page).typed().await
    }
}
