//! Projects and tasks.

use reqwest::Method;
use shared_contracts::ids::{ProjectId, TaskId};
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::projects::{CreateProject, Project, UpdateProject};
use shared_contracts::tasks::{CreateTask, Task, UpdateTask};

use super::{Client, ClientError};

impl Client {
    pub async fn list_projects(&self, page: &PageQuery) -> Result<Page<Project>, ClientError> {
        self.get("/api/projects").query(page).typed().await
    }

    pub async fn create_project(&self, input: &CreateProject) -> Result<Project, ClientError> {
        self.post("/api/projects").json(input).typed().await
    }

    pub async fn get_project(&self, project: ProjectId) -> Result<Project, ClientError> {
        self.get(format!("/api/projects/{project}")).typed().await
    }

    pub async fn update_project(
        &self,
        project: ProjectId,
        input: &UpdateProject,
    ) -> Result<Project, ClientError> {
        self.call(Method::PATCH, format!("/api/projects/{project}")).json(input).typed().await
    }

    pub async fn delete_project(&self, project: ProjectId) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/projects/{project}")).empty().await
    }

    pub async fn list_tasks(&self, project: ProjectId, page: &PageQuery) -> Result<Page<Task>, ClientError> {
        self.get(format!("/api/projects/{project}/tasks")).query(page).typed().await
    }

    pub async fn create_task(&self, project: ProjectId, input: &CreateTask) -> Result<Task, ClientError> {
        self.post(format!("/api/projects/{project}/tasks")).json(input).typed().await
    }

    pub async fn get_task(&self, project: ProjectId, task: TaskId) -> Result<Task, ClientError> {
        self.get(format!("/api/projects/{project}/tasks/{task}")).typed().await
    }

    pub async fn update_task(
        &self,
        project: ProjectId,
        task: TaskId,
        input: &UpdateTask,
    ) -> Result<Task, ClientError> {
        self.call(Method::PATCH, format!("/api/projects/{project}/tasks/{task}")).json(input).typed().await
    }

    pub async fn delete_task(&self, project: ProjectId, task: TaskId) -> Result<(), ClientError> {
        self.call(Method::DELETE, format!("/api/projects/{project}/tasks/{task}")).empty().await
    }
}
