//! What belongs to one owner is absent to every other, and what belongs to one project to every other project.

use std::collections::BTreeMap;

use acceptance::{Answer, Archive, Project, create, owner, plane, refused, stranger};
use reqwest::Method;
use serde_json::json;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ArtifactId, ContainerAgentId};
use shared_contracts::problem::ProblemKind;
use shared_contracts::routes::{Access, Body, ROUTES, Route};
use xtask::client::{Call, Client};

use crate::alone;

/// One of everything, the owner's.
struct Everything {
    parameters: BTreeMap<&'static str, String>,
    bodies: BTreeMap<&'static str, serde_json::Value>,
}

async fn everything() -> Everything {
    let project = Project::with(&[("a/b", "content\n")]).await;
    let client = &project.client;
    let (task, execution) = project.queued().await;
    let patch = project.propose(vec![create("new", "text\n")]).await;
    client.apply_patches(patch.id).await.unwrap();
    let scopes = vec![shared_contracts::accounts::Scope::Read];
    let input =
        shared_contracts::accounts::CreateAccessToken { name: "t".into(), scopes, lifetime_seconds: None };
    let token = client.create_access_token(&input).await.unwrap();
    let import = client.start_import(project.id, &[]).await.unwrap();
    let sha256 = Sha256::of(b"content\n");
    let (artifact, machine) = (
        ArtifactId::new(1, execution.id.at_ms().into()),
        ContainerAgentId::new(1, execution.id.at_ms().into()),
    );
    plane()
        .sql(&format!(
            "INSERT INTO execution_artifacts VALUES
               ('{artifact}', '{execution}', 'file', 'out', 1, 'text/plain', '{sha256}', 1);
             INSERT INTO container_agents (id, owner_id, name, state, version, capacity, sandbox_tier, shared,
               connected_at_ms, disconnected_at_ms) VALUES
               ('{machine}', '{owner}', 'box {machine}', 'disconnected', '1', 1, 'strong', 0, 1, 2)",
            execution = execution.id,
            owner = execution.owner_id,
        ))
        .unwrap();
    client.set_secret(project.id, "A_NAME", "of the owner's own").await.unwrap();
    let parameters = BTreeMap::from([
        ("{container_id}", format!("{}.1", execution.id)),
        ("{name}", "A_NAME".to_owned()),
        ("{token_id}", token.record.id.to_string()),
        ("{project_id}", project.id.to_string()),
        ("{task_id}", task.id.to_string()),
        ("{execution_id}", execution.id.to_string()),
        ("{artifact_id}", artifact.to_string()),
        ("{patch_batch_id}", patch.id.to_string()),
        ("{container_agent_id}", machine.to_string()),
        ("{import_id}", import.import_id.to_string()),
        ("{sha256}", sha256.to_string()),
        ("{*path}", "a/b".to_owned()),
    ]);
    let proposal = serde_json::to_value(project.batch(vec![create("other", "text\n")])).unwrap();
    let bodies = BTreeMap::from([
        ("UpdateProject", json!({"name": "mine now"})),
        ("SetSecret", json!({"value": "mine from now on"})),
        ("CreateTask", json!({"title": "mine now"})),
        ("UpdateTask", json!({"title": "mine now"})),
        ("FetchBlobs", json!({"sha256": [sha256]})),
        ("CreateExecution", serde_json::to_value(acceptance::command(&["true"])).unwrap()),
        ("ProposePatch", proposal),
        ("PatchRequest", json!({"patch_batch_id": patch.id})),
        ("RejectPatch", json!({"reason": "mine now"})),
    ]);
    Everything { parameters, bodies }
}

impl Everything {
    /// A call that would succeed, or nearly, for the owner.
    fn call(&self, client: &Client, route: &Route) -> Call {
        let path = self
            .parameters
            .iter()
            .fold(route.path.to_owned(), |path, (name, value)| path.replace(name, value));
        let call = client.call(Method::from_bytes(route.method.as_bytes()).unwrap(), path);
        match route.request {
            Body::Json(name) => call.json(&self.bodies[name]),
            Body::Bytes(_) => call.bytes("application/x-tar", Archive::of(&[("x", "y")]).finished()),
            Body::JsonLines(_) => call.bytes("application/x-ndjson", Vec::new()),
            _ if route.response == Body::WebSocket => call
                .header("upgrade", "websocket")
                .header("connection", "upgrade")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            _ => call,
        }
    }
}

/// Routes that name something, in their path or their body.
fn naming() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| {
        let by_body = matches!(route.request, Body::Json("ProposePatch" | "PatchRequest"));
        (route.path.contains('{') || by_body) && route.access != Access::Execution
    })
}

#[tokio::test]
async fn another_owners_things_are_absent_through_every_door() {
    let _alone = alone().await;
    let everything = everything().await;
    let client = stranger();
    let mut asked = 0;
    for route in naming() {
        let answer = Answer::to(everything.call(&client, route)).await;
        assert_eq!(answer.status, 404, "{} {}: {}", route.method, route.path, answer.text());
        answer.problem(ProblemKind::NotFound);
        asked += 1;
    }
    assert!(asked >= 40, "only {asked} doors were tried");
}

#[tokio::test]
async fn the_same_calls_find_the_owners_own() {
    let _alone = alone().await;
    let everything = everything().await;
    let client = owner();
    // A download's bytes are not there, and a container is on a machine, which is asked in tests of its own.
    let is_tried = |route: &&Route| {
        route.method == "GET" && !route.path.ends_with("/download") && !route.path.contains("{container_id}")
    };
    for route in naming().filter(is_tried) {
        if matches!(route.response, Body::EventStream(_)) {
            let response = everything.call(&client, route).raw().await.unwrap();
            assert_eq!(response.status(), 200, "{}", route.path);
            continue;
        }
        let answer = Answer::to(everything.call(&client, route)).await;
        assert_eq!(answer.status, route.status, "{} {}: {}", route.method, route.path, answer.text());
    }
}

#[tokio::test]
async fn a_thing_is_found_only_under_its_own_project_and_task() {
    let _alone = alone().await;
    let (mine, other) =
        (Project::with(&[("a", "secret of one\n")]).await, Project::with(&[("b", "b\n")]).await);
    let (task, execution) = mine.queued().await;
    let other_task = other.task().await;
    let client = owner();
    let absent = async |path: String| {
        Answer::to(client.call(Method::GET, path)).await.problem(ProblemKind::NotFound);
    };
    absent(format!("/api/projects/{}/tasks/{}", other.id, task.id)).await;
    absent(format!("/api/projects/{}/tasks/{}/executions", other.id, task.id)).await;
    for (project, task) in [(other.id, task.id), (mine.id, other_task.id), (other.id, other_task.id)] {
        absent(format!("/api/projects/{project}/tasks/{task}/executions/{}", execution.id)).await;
        absent(format!("/api/projects/{project}/tasks/{task}/executions/{}/logs", execution.id)).await;
        absent(format!("/api/projects/{project}/tasks/{task}/executions/{}/artifacts", execution.id)).await;
    }
    // A hash learnt elsewhere opens nothing.
    refused(client.get_blob(other.id, Sha256::of(b"secret of one\n")).await, ProblemKind::NotFound);
    client.get_blob(mine.id, Sha256::of(b"secret of one\n")).await.unwrap();
    let import = client.start_import(mine.id, &[]).await.unwrap();
    refused(client.commit_import(other.id, import.import_id).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn an_id_of_another_kind_is_absent() {
    let _alone = alone().await;
    let project = Project::new().await;
    let client = owner();
    for id in [
        "x",
        "tsk_01arz3ndektsv4rrffq69g5fav",
        "prj_",
        "PRJ_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "%2e%2e",
        "%00",
        "' OR 1=1",
    ] {
        let answer = Answer::to(client.call(Method::GET, format!("/api/projects/{id}"))).await;
        answer.problem(ProblemKind::NotFound);
    }
    let task = format!("/api/projects/{}/tasks/{}", project.id, project.id);
    Answer::to(client.call(Method::GET, task)).await.problem(ProblemKind::NotFound);
}

#[tokio::test]
async fn lists_hold_only_the_owners_own() {
    let _alone = alone().await;
    let project = Project::new().await;
    let theirs: Vec<shared_contracts::projects::Project> =
        acceptance::every_page(&stranger(), "/api/projects", 100).await;
    assert!(
        theirs.iter().all(|found| found.id != project.id && found.owner_id == plane().owner(1).unwrap().id)
    );
}
