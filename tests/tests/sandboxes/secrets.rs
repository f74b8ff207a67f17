//! Secrets through the doors: set, listed, deleted, asked for, and never given back.

use acceptance::agents::{SOON, Said, ScriptedAgent, Tenant, unique};
use acceptance::{Answer, command, every_page, refused};
use reqwest::Method;
use serde_json::json;
use shared_contracts::dispatch::{FromContainerAgent, ToContainerAgent};
use shared_contracts::executions::{CreateExecution, ExecutionState};
use shared_contracts::ids::ProjectId;
use shared_contracts::limits::{SECRET_VALUE_BYTES_MAX, SECRETS_PER_PROJECT_MAX};
use shared_contracts::problem::{Problem, ProblemKind};
use shared_contracts::secrets::{LeasedSecret, Secret, SecretForm, SecretUse};

use crate::{execute, strong_machine};

pub const VALUE: &str = "correct horse battery staple 4711";

pub fn wanting(names: &[&str]) -> CreateExecution {
    let secret = |name: &&str| SecretUse { name: (*name).to_owned(), form: SecretForm::Environment };
    CreateExecution { secrets: names.iter().map(secret).collect(), ..command(&["true"]) }
}

fn path(project: ProjectId, name: &str) -> String {
    format!("/api/projects/{project}/secrets/{name}")
}

#[tokio::test]
async fn a_secret_is_written_and_never_read_back() {
    let (tenant, stranger) = (Tenant::new(), Tenant::new());
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let set = client.call(Method::PUT, path(project, "NPM_TOKEN")).json(&json!({ "value": VALUE }));
    let answer = Answer::to(set).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains("horse"), "{}", answer.text());
    let made: Secret = serde_json::from_slice(&answer.body).unwrap();
    let again = client.set_secret(project, "NPM_TOKEN", "another value").await.unwrap();
    assert_eq!((again.name.as_str(), again.created_at_ms), ("NPM_TOKEN", made.created_at_ms));
    client.set_secret(project, "A", VALUE).await.unwrap();
    let answer = Answer::to(client.call(Method::GET, format!("/api/projects/{project}/secrets"))).await;
    for hidden in ["horse", "another value", "sealed", "key_id"] {
        assert!(!answer.text().contains(hidden), "{}", answer.text());
    }
    let names = async || -> Vec<String> {
        let all: Vec<Secret> = every_page(client, &format!("/api/projects/{project}/secrets"), 1).await;
        all.into_iter().map(|secret| secret.name).collect()
    };
    assert_eq!(names().await, ["A", "NPM_TOKEN"]);
    Answer::to(client.call(Method::GET, path(project, "A"))).await.problem(ProblemKind::MethodNotAllowed);
    refused(stranger.client.set_secret(project, "A", VALUE).await, ProblemKind::NotFound);
    refused(stranger.client.delete_secret(project, "A").await, ProblemKind::NotFound);
    refused(stranger.client.list_secrets(project, &Default::default()).await, ProblemKind::NotFound);
    client.delete_secret(project, "A").await.unwrap();
    refused(client.delete_secret(project, "A").await, ProblemKind::NotFound);
    assert_eq!(names().await, ["NPM_TOKEN"]);
}

#[tokio::test]
async fn what_is_no_secret_is_refused_without_being_repeated() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    let put = async |name: &str, body: String| -> Problem {
        let call = client.call(Method::PUT, path(project, name)).bytes("application/json", body);
        let answer = Answer::to(call).await;
        assert!(
            !answer.text().contains("horse") && !answer.text().contains("4711471147"),
            "{}",
            answer.text()
        );
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
        assert!([400, 422].contains(&problem.status), "{problem}");
        problem
    };
    let value = |value: serde_json::Value| json!({ "value": value }).to_string();
    let problem = put("TOKEN", value("short".into())).await;
    assert_eq!(problem.faults[0].field, "value");
    assert!(problem.faults[0].message.contains("by chance"), "{problem}");
    for body in [
        value("horse\u{0}horse".into()),
        value("x".repeat(SECRET_VALUE_BYTES_MAX + 1).into()),
        value(json!(47_114_711_471_147_u64)),
        value(json!({ "horse": "battery" })),
        value(json!(["horse"])),
        json!("horse battery staple").to_string(),
        json!({ "secret": "horse battery" }).to_string(),
        json!({ "value": VALUE, "horse battery": 1 }).to_string(),
        "horse battery staple".into(),
        "{\"value\": \"horse battery".into(),
    ] {
        put("TOKEN", body).await;
    }
    for name in ["1A", "A-B", "%C3%A4", "A%20B", &"A".repeat(65)] {
        assert_eq!(put(name, value(VALUE.into())).await.faults[0].field, "name", "{name}");
    }
    for n in 0..SECRETS_PER_PROJECT_MAX {
        client.set_secret(project, &format!("N{n}"), VALUE).await.unwrap();
    }
    let problem = refused(client.set_secret(project, "ONE_MORE", VALUE).await, ProblemKind::WrongState);
    assert!(problem.detail.contains("100"), "{problem}");
    client.set_secret(project, "N0", "another value").await.unwrap();
}

#[tokio::test]
async fn an_execution_asks_for_what_there_is() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    client.set_secret(project, "TOKEN", VALUE).await.unwrap();
    let elsewhere = tenant.project().await.id;
    client.set_secret(elsewhere, "ELSEWHERE", VALUE).await.unwrap();
    let mut both = wanting(&["TOKEN"]);
    both.environment.insert("TOKEN".into(), "x".into());
    for (input, field, said) in [
        (wanting(&["TOKEN", "MISSING"]), "secrets[1].name", "no secret `MISSING`"),
        (wanting(&["ELSEWHERE"]), "secrets[0].name", "no secret `ELSEWHERE`"),
        (wanting(&["TOKEN", "TOKEN"]), "secrets[1].name", "asked for twice"),
        (wanting(&["1A"]), "secrets[0].name", "not a secret's name"),
        (both, "secrets[0].name", "`environment` sets too"),
    ] {
        let problem = refused(execute(&tenant, project, &input).await, ProblemKind::Invalid);
        let fault = &problem.faults[0];
        assert!(fault.field == field && fault.message.contains(said), "{problem}");
    }
    for name in ["LARGE_1", "LARGE_2"] {
        client.set_secret(project, name, &"abcdefgh".repeat(SECRET_VALUE_BYTES_MAX / 8)).await.unwrap();
    }
    execute(&tenant, project, &wanting(&["LARGE_1", "LARGE_2"])).await.unwrap();
    let all = wanting(&["LARGE_1", "LARGE_2", "TOKEN"]);
    let problem = refused(execute(&tenant, project, &all).await, ProblemKind::Invalid);
    assert_eq!(problem.faults[0].field, "secrets", "{problem}");
}

#[tokio::test]
async fn the_values_go_to_the_lease_and_nowhere_else() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    for value in ["a value of before", VALUE] {
        client.set_secret(project, "TOKEN", value).await.unwrap();
    }
    client.set_secret(project, "CERT", "-----BEGIN\nhorse ü\n").await.unwrap();
    client.set_secret(project, "UNASKED", VALUE).await.unwrap();
    let (mut agent, _) = strong_machine(&tenant).await;
    let mut input = wanting(&["TOKEN"]);
    input.secrets.push(SecretUse { name: "CERT".into(), form: SecretForm::File });
    let execution = execute(&tenant, project, &input).await.unwrap();
    assert_eq!(execution.spec.secrets, input.secrets);
    // An offer names an execution and nothing else.
    let leased = agent.takes_work().await;
    let secret =
        |name: &str, form, value: &str| LeasedSecret { name: name.into(), form, value: value.into() };
    assert_eq!(
        leased.secrets,
        [
            secret("TOKEN", SecretForm::Environment, VALUE),
            secret("CERT", SecretForm::File, "-----BEGIN\nhorse ü\n")
        ]
    );
    let id = execution.id;
    for path in [format!("/api/sandbox/executions/{id}"), format!("/api/sandbox/executions/{id}/logs")] {
        let answer = Answer::to(client.call(Method::GET, path)).await;
        assert!(answer.status == 200 && !answer.text().contains("horse"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_secret_that_is_gone_ends_the_execution_rather_than_being_left_out() {
    let tenant = Tenant::new();
    let (client, project) = (&tenant.client, tenant.project().await.id);
    client.set_secret(project, "TOKEN", VALUE).await.unwrap();
    // It has one place.
    let mut agent = ScriptedAgent::connect(&tenant, &unique("machine"), 1).await;
    let execution = execute(&tenant, project, &wanting(&["TOKEN"])).await.unwrap();
    let execution_id = agent.is_offered().await;
    client.delete_secret(project, "TOKEN").await.unwrap();
    agent.say(&FromContainerAgent::Accept { execution_id }).await;
    assert_eq!(agent.hears().await, Said::Message(ToContainerAgent::Withdrawn { execution_id }));
    let ended = client.poll_until_ended(execution.id, SOON).await.unwrap();
    assert_eq!(ended.state, ExecutionState::Failed);
    let reason = ended.reason.unwrap();
    assert!(reason.contains("`TOKEN`") && reason.contains("deleted"), "{reason}");
    let task = client.get_task(project, execution.task_id).await.unwrap();
    assert_eq!(
        (task.active_execution_id, task.error),
        (None, Some(reason)),
        "and the task can be tried again"
    );
    // The machine has its one place back.
    let next = execute(&tenant, project, &command(&["true"])).await.unwrap();
    assert_eq!(agent.is_offered().await, next.id);
}
