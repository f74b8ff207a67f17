//! A project of one test's own, and what tests do in it.

use shared_contracts::executions::{CodingAgent, CreateExecution, Execution, RequestedLimits};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ProjectId, TaskId};
use shared_contracts::patches::{Content, Hunk, PatchBatch, PatchOperation, PatchSummary, ProposePatch};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::projects::CreateProject;
use shared_contracts::tasks::{CreateTask, Task};
use shared_contracts::workspaces::{FileMode, ImportReceipt};
use xtask::client::{Client, ClientError};

use crate::archive::Archive;
use crate::stage::owner;

#[derive(Debug, Clone)]
pub struct Project {
    pub client: Client,
    pub id: ProjectId,
}

impl Project {
    /// An empty one, the owner's.
    pub async fn new() -> Self {
        Self::of(owner()).await
    }

    pub async fn of(client: Client) -> Self {
        let input = CreateProject { name: "a project".into(), description: String::new() };
        let project = client.create_project(&input).await.expect("a project is created");
        Self { client, id: project.id }
    }

    pub async fn with(files: &[(&str, &str)]) -> Self {
        let project = Self::new().await;
        project.import(Archive::of(files)).await.expect("the files are imported");
        project
    }

    pub async fn import(&self, archive: Archive) -> Result<ImportReceipt, ClientError> {
        self.client.import_workspace(self.id, archive.finished()).await
    }

    pub async fn head(&self) -> u64 {
        self.client.get_workspace(self.id, None).await.expect("the head is given").revision
    }

    /// A text file of the head.
    pub async fn text(&self, path: &str) -> String {
        let bytes = self.client.read_file(self.id, path, None).await.expect("the file is given");
        String::from_utf8(bytes).expect("the file is text")
    }

    /// Paths of the head.
    pub async fn paths(&self) -> Vec<String> {
        let manifest = self.client.get_manifest(self.id, None).await.expect("the manifest is given");
        manifest.into_iter().map(|entry| entry.path.to_string()).collect()
    }

    pub async fn task(&self) -> Task {
        let input = CreateTask { title: "a task".into(), description: "do it".into(), priority: 5 };
        self.client.create_task(self.id, &input).await.expect("a task is created")
    }

    pub async fn find_task(&self, id: TaskId) -> Task {
        self.client.get_task(self.id, id).await.expect("the task is given")
    }

    /// A task with an execution that waits, as long as no container agent is connected.
    pub async fn queued(&self) -> (Task, Execution) {
        let task = self.task().await;
        let execution = self.client.create_execution(self.id, task.id, &command(&["true"])).await;
        (task, execution.expect("an execution is created"))
    }

    pub fn batch(&self, operations: Vec<PatchOperation>) -> ProposePatch {
        ProposePatch {
            id: None,
            project_id: self.id,
            execution_id: None,
            title: "a change".into(),
            base_revision: 1,
            batch: PatchBatch { operations },
        }
    }

    pub async fn propose(&self, operations: Vec<PatchOperation>) -> PatchSummary {
        self.client.propose_patch(&self.batch(operations)).await.expect("a patch batch is proposed")
    }
}

pub fn command(words: &[&str]) -> CreateExecution {
    CreateExecution {
        coding_agent: CodingAgent::Command,
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        environment: Default::default(),
        limits: RequestedLimits::default(),
        artifacts: Vec::new(),
        archive_artifacts: false,
        priority: 5,
        sandbox_tier: None,
        sandbox_provider: None,
        image: None,
        terminal: None,
        secrets: Vec::new(),
        revision: None,
    }
}

fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).expect("the path is one")
}

pub fn create(at: &str, text: &str) -> PatchOperation {
    PatchOperation::Create { path: path(at), content: Content::Text(text.into()), mode: FileMode::Regular }
}

/// One line becomes another; `before` is the whole file that the change was made against.
pub fn edit(at: &str, before: &str, line: u32, new: &str) -> PatchOperation {
    let old = before.split_inclusive('\n').nth(line as usize - 1).expect("the line is there");
    let hunk = Hunk { start_line: Some(line), old: old.into(), new: new.into(), ..Hunk::default() };
    PatchOperation::Edit {
        path: path(at),
        base_sha256: Some(Sha256::of(before.as_bytes())),
        hunks: vec![hunk],
    }
}

pub fn replace(at: &str, before: &str, new: &str) -> PatchOperation {
    PatchOperation::Replace {
        path: path(at),
        base_sha256: Some(Sha256::of(before.as_bytes())),
        content: Content::Text(new.into()),
    }
}
