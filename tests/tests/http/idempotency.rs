//! `Idempotency-Key`: what is sent again is answered again, not done again.

use acceptance::{Answer, Project, command, create, every_page, owner, refused, stranger};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use shared_contracts::executions::ExecutionState;
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::{CreateProject, Project as Record};
use xtask::client::Client;

/// A key that no other test has.
fn key() -> String {
    xtask::random::secret().unwrap()
}

async fn create_project(client: &Client, key: &str, name: &str) -> Answer {
    let call = client.call(Method::POST, "/api/projects").header("idempotency-key", key);
    Answer::to(call.json(&json!({"name": name}))).await
}

async fn named(client: &Client, name: &str) -> usize {
    let listed: Vec<Record> = every_page(client, "/api/projects", 100).await;
    listed.iter().filter(|project| project.name == name).count()
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer() {
    let (client, key) = (owner(), key());
    let name = format!("once {key}");
    let first = create_project(&client, &key, &name).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None), "{}", first.text());
    for _ in 0..2 {
        let again = create_project(&client, &key, &name).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
        assert_eq!(again.text(), first.text());
    }
    assert_eq!(named(&client, &name).await, 1);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let (client, key) = (owner(), key());
    let name = format!("first {key}");
    create_project(&client, &key, &name).await;
    create_project(&client, &key, "another body").await.problem(ProblemKind::IdempotencyConflict);
    let project = Project::new().await;
    let task = json!({"name": name});
    let elsewhere = client.call(Method::POST, format!("/api/projects/{}/tasks", project.id));
    let answer = Answer::to(elsewhere.header("idempotency-key", &key).json(&json!({"title": "t"}))).await;
    answer.problem(ProblemKind::IdempotencyConflict);
    drop(task);
    assert_eq!(named(&client, &name).await, 1);
}

#[tokio::test]
async fn the_same_body_elsewhere_is_another_request() {
    let (one, other, key) = (Project::new().await, Project::new().await, key());
    let input =
        shared_contracts::tasks::CreateTask { title: "t".into(), description: String::new(), priority: 5 };
    let client = owner().with_idempotency_key(&key);
    client.create_task(one.id, &input).await.unwrap();
    refused(client.create_task(other.id, &input).await, ProblemKind::IdempotencyConflict);
}

#[tokio::test]
async fn keys_are_each_owners_own() {
    let key = key();
    let (mine, theirs) =
        (create_project(&owner(), &key, "same").await, create_project(&stranger(), &key, "same").await);
    assert_eq!((mine.status, theirs.status), (201, 201));
    assert_eq!(theirs.header("idempotent-replayed"), None);
    assert_ne!(mine.text(), theirs.text());
}

#[tokio::test]
async fn duplicates_at_once_make_one_thing() {
    let (client, key) = (owner(), key());
    let name = format!("at once {key}");
    let answers = join_all((0..12).map(|_| create_project(&client, &key, &name))).await;
    let (mut made, mut bodies) = (0, Vec::new());
    for answer in &answers {
        if answer.status == 201 {
            made += usize::from(answer.header("idempotent-replayed").is_none());
            bodies.push(answer.text());
        } else {
            answer.problem(ProblemKind::IdempotencyConflict);
        }
    }
    bodies.dedup();
    assert_eq!((made, bodies.len()), (1, 1), "{answers:?}");
    assert_eq!(named(&client, &name).await, 1);
    assert_eq!(create_project(&client, &key, &name).await.text(), bodies[0]);
}

#[tokio::test]
async fn a_refusal_is_no_result() {
    let project = Project::with(&[("a", "1\n")]).await;
    let (task, execution) = project.queued().await;
    let client = project.client.with_idempotency_key(&key());
    let input = command(&["true"]);
    refused(client.create_execution(project.id, task.id, &input).await, ProblemKind::WrongState);
    project.client.stop_execution(execution.id).await.unwrap();
    let made = client.create_execution(project.id, task.id, &input).await.unwrap();
    let again = client.create_execution(project.id, task.id, &input).await.unwrap();
    assert_eq!((again.id, again.state), (made.id, ExecutionState::Queued));
}

#[tokio::test]
async fn a_retry_and_an_application_happen_once_too() {
    let project = Project::with(&[("a", "1\n")]).await;
    let (_, execution) = project.queued().await;
    project.client.stop_execution(execution.id).await.unwrap();
    let client = project.client.with_idempotency_key(&key());
    let first = client.retry_execution(execution.id).await.unwrap();
    assert_eq!(client.retry_execution(execution.id).await.unwrap(), first);
    assert_eq!(first.retry_of, Some(execution.id));
    let client = project.client.with_idempotency_key(&key());
    let proposed = client.propose_patch(&project.batch(vec![create("b", "2\n")])).await.unwrap();
    assert_eq!(client.propose_patch(&project.batch(vec![create("b", "2\n")])).await.unwrap(), proposed);
    let client = project.client.with_idempotency_key(&key());
    let receipt = client.apply_patches(proposed.id).await.unwrap();
    assert_eq!(client.apply_patches(proposed.id).await.unwrap(), receipt);
    assert_eq!(project.head().await, 2);
}

#[tokio::test]
async fn a_key_that_breaks_the_rules_is_refused() {
    for bad in ["", "with space", &"x".repeat(201), "ümlaut"] {
        let answer = create_project(&owner(), bad, "never made").await;
        let problem = answer.problem(ProblemKind::Invalid);
        assert_eq!(problem.faults[0].field.to_lowercase(), "idempotency-key", "{bad}");
    }
    let input = CreateProject { name: "long key".into(), description: String::new() };
    owner().with_idempotency_key(&"x".repeat(200)).create_project(&input).await.unwrap();
}
