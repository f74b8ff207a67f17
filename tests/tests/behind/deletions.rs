//! A deleted project is gone at once, and what it left outside of D1 with the next passes of the reconciler.

use std::fs;
use std::path::Path;

use acceptance::agents::{SOON, ScriptedAgent, Tenant, Writer, ended, eventually, line};
use acceptance::{Archive, Project, create, now_ms, plane, refused};
use shared_contracts::artifacts::{ArtifactType, UploadArtifact};
use shared_contracts::events::EventQuery;
use shared_contracts::executions::{Execution, Outcome};
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ArtifactId, PatchBatchId};
use shared_contracts::limits::INLINE_BLOB_BYTES_MAX;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::Task;

use crate::alone;

/// A project with something of its own in every store: a large file, an artifact, a patch batch, a log.
struct Full {
    project: Project,
    task: Task,
    execution: Execution,
    /// In all that it keeps in R2, and nowhere else.
    mark: String,
}

async fn full() -> Full {
    let tenant = Tenant::of(plane(), 1);
    let mark = xtask::random::secret().unwrap();
    let project = Project::of(tenant.client.clone()).await;
    let large = format!("{mark}{}", "x".repeat(INLINE_BLOB_BYTES_MAX as usize));
    project.import(Archive::default().file("large", large.as_bytes())).await.unwrap();
    let mut agent = ScriptedAgent::connect(&tenant, "a machine", 1).await;
    let (task, execution) = project.queued().await;
    let leased = agent.takes_work().await;
    let with_lease = tenant.client.with_token(&leased.execution_token);
    let about = UploadArtifact {
        path: WorkspacePath::parse("out.txt").unwrap(),
        artifact_type: ArtifactType::File,
        size_bytes: mark.len() as u64,
        sha256: Sha256::of(mark.as_bytes()),
    };
    let artifact = ArtifactId::new(now_ms(), 1);
    with_lease.upload_artifact(execution.id, artifact, &about, mark.clone().into_bytes()).await.unwrap();
    let mut patch = project.batch(vec![create("new", &mark)]);
    patch.id = Some(PatchBatchId::new(now_ms(), xtask::random::id_bits().unwrap()));
    with_lease.propose_execution_patch(execution.id, &patch).await.unwrap();
    let (mut writer, _) = Writer::open(&tenant.client, execution.id, &leased.execution_token).await;
    writer.send(1, leased.next_sequence, &[line("a line"), ended(Outcome::Succeeded)]).await;
    let execution = tenant.client.poll_until_ended(execution.id, SOON).await.unwrap();
    Full { project, task, execution, mark }
}

/// Objects in R2 that hold this text.
fn objects_with(mark: &str) -> usize {
    fn count(folder: &Path, mark: &[u8]) -> usize {
        let Ok(entries) = fs::read_dir(folder) else { return 0 };
        entries
            .map(|entry| entry.unwrap().path())
            .map(|path| match fs::read(&path) {
                Ok(content) => usize::from(content.windows(mark.len()).any(|part| part == mark)),
                Err(_) => count(&path, mark),
            })
            .sum()
    }
    let buckets = plane().state_folder().join("worker/v3/r2");
    assert!(buckets.exists(), "R2 is not at {}", buckets.display());
    count(&buckets, mark.as_bytes())
}

fn rows(sql: &str) -> usize {
    plane().sql(sql).unwrap().len()
}

/// Puts the records back, so that the doors lead to the objects again.
fn bring_back(full: &Full) {
    let Full { project, task, execution, .. } = full;
    let (project, task, owner, id) = (project.id, task.id, execution.owner_id, execution.id);
    let spec = serde_json::to_string(&execution.spec).unwrap();
    plane()
        .sql(&format!(
            "INSERT INTO projects (id, owner_id, name, description, created_at_ms, updated_at_ms)
             VALUES ('{project}', '{owner}', 'back', '', 1, 1);
             INSERT INTO tasks VALUES ('{task}', '{project}', 'back', '', 5, 'todo', NULL, NULL, 1, 1);
             INSERT INTO executions (id, project_id, task_id, owner_id, state, priority, spec, sandbox_tier,
               created_at_ms, changed_at_ms, ended_at_ms)
             VALUES ('{id}', '{project}', '{task}', '{owner}', 'failed', 5, '{spec}', 'limited', 1, 1, 1)"
        ))
        .unwrap();
}

#[tokio::test]
async fn a_deleted_project_leaves_nothing_anywhere() {
    let _alone = alone().await;
    let full = Box::pin(full()).await;
    let (client, project, execution) = (&full.project.client, full.project.id, full.execution.id);
    let objects = objects_with(&full.mark);
    assert_eq!(objects, 3, "a blob, an artifact, a patch batch");
    client.delete_project(project).await.unwrap();
    refused(client.get_project(project).await, ProblemKind::NotFound);
    refused(client.get_execution(execution).await, ProblemKind::NotFound);
    let left = format!("SELECT id FROM deletions WHERE id IN ('{project}', '{execution}')");
    assert_eq!(rows(&left), 2);

    plane().run_reconciler().await.unwrap();
    eventually("R2 has nothing of it", SOON, async || (objects_with(&full.mark) == 0).then_some(())).await;
    bring_back(&full);
    match client.list_events(execution, &EventQuery::default()).await {
        // The object that forgot it is still there, or a new one has taken its name.
        Err(error) => drop(refused(Err::<(), _>(error), ProblemKind::NotFound)),
        Ok(page) => assert_eq!((page.items.len(), page.head), (0, 0)),
    }
    match client.get_workspace(project, None).await {
        Err(error) => drop(refused(Err::<(), _>(error), ProblemKind::NotFound)),
        Ok(head) => assert_eq!(head.revision, 0),
    }

    // An hour later it is looked at once more, and forgotten.
    assert_eq!(rows(&left), 2);
    plane()
        .sql(&format!(
            "DELETE FROM projects WHERE id = '{project}';
             UPDATE deletions SET deleted_at_ms = 1, due_at_ms = 1 WHERE id = '{project}'"
        ))
        .unwrap();
    eventually("the last pass", SOON, async || {
        plane().sql("UPDATE deletions SET due_at_ms = 1 WHERE deleted_at_ms = 1").unwrap();
        plane().run_reconciler().await.unwrap();
        (rows(&left) == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_task_leaves_no_artifacts_and_no_log() {
    let _alone = alone().await;
    let full = Box::pin(full()).await;
    let (client, project) = (&full.project.client, full.project.id);
    client.delete_task(project, full.task.id).await.unwrap();
    refused(client.get_execution(full.execution.id).await, ProblemKind::NotFound);
    plane().run_reconciler().await.unwrap();
    eventually("the artifact is gone, and it alone", SOON, async || {
        (objects_with(&full.mark) == 2).then_some(())
    })
    .await;
    assert!(full.project.text("large").await.starts_with(&full.mark), "the project is still there");
    client.delete_project(project).await.unwrap();
}
