//! Tokens as they are kept, and as they end.

use acceptance::agents::{SOON, ScriptedAgent, Tenant, Writer, ended};
use acceptance::{Project, now_ms, owner, plane, refused};
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::artifacts::{ArtifactType, UploadArtifact};
use shared_contracts::dispatch::FromContainerAgent;
use shared_contracts::executions::Outcome;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::{ArtifactId, ExecutionId};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::FetchBlobs;
use xtask::client::{Client, ClientError};

use crate::alone;

fn token(lifetime_seconds: Option<u64>) -> CreateAccessToken {
    CreateAccessToken { name: "of a test".into(), scopes: vec![Scope::Read], lifetime_seconds }
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let _alone = alone().await;
    let made = owner().create_access_token(&token(Some(60))).await.unwrap();
    assert_eq!(made.record.expires_at_ms, Some(made.record.created_at_ms + 60_000));
    let client = owner().with_token(&made.token);
    client.list_projects(&Default::default()).await.unwrap();
    let id = made.record.id;
    plane()
        .sql(&format!("UPDATE access_tokens SET expires_at_ms = created_at_ms WHERE id = '{id}'"))
        .unwrap();
    refused(client.list_projects(&Default::default()).await, ProblemKind::Unauthenticated);
}

#[tokio::test]
async fn a_token_itself_is_kept_nowhere() {
    let _alone = alone().await;
    let made = owner().create_access_token(&token(None)).await.unwrap();
    let rows = serde_json::to_string(&plane().sql("SELECT * FROM access_tokens").unwrap()).unwrap();
    assert!(rows.contains(&made.record.id.to_string()) && !rows.contains(&made.token));
    assert!(rows.contains(&shared_contracts::hash::Sha256::of(made.token.as_bytes()).to_string()));
}

#[tokio::test]
async fn no_token_outlives_the_one_that_made_it() {
    let _alone = alone().await;
    let input = CreateAccessToken {
        name: "of a test".into(),
        scopes: vec![Scope::Read, Scope::Tokens],
        lifetime_seconds: Some(600),
    };
    let maker = owner().create_access_token(&input).await.unwrap();
    let expires_at_ms = maker.record.expires_at_ms.unwrap();
    let client = owner().with_token(&maker.token);
    let inherited = client.create_access_token(&token(None)).await.unwrap();
    assert_eq!(inherited.record.expires_at_ms, Some(expires_at_ms));
    let shorter = client.create_access_token(&token(Some(60))).await.unwrap();
    assert!(shorter.record.expires_at_ms.unwrap() < expires_at_ms);
    let problem = refused(client.create_access_token(&token(Some(700))).await, ProblemKind::Invalid);
    let [fault] = problem.faults.as_slice() else { panic!("{problem}") };
    assert_eq!(fault.field, "lifetime_seconds");
    assert!(fault.message.contains(&expires_at_ms.to_string()), "{problem}");
    assert_eq!(owner().create_access_token(&token(None)).await.unwrap().record.expires_at_ms, None);
}

const CONTENT: &[u8] = b"content\n";

/// What an execution's token opens, one after the other.
async fn use_of(token: &Client, project: &Project, execution: ExecutionId) -> Vec<Result<(), ClientError>> {
    let sha256 = Sha256::of(CONTENT);
    let about = UploadArtifact {
        path: WorkspacePath::parse("out.txt").unwrap(),
        artifact_type: ArtifactType::File,
        size_bytes: CONTENT.len() as u64,
        sha256,
    };
    let artifact = ArtifactId::new(now_ms(), xtask::random::id_bits().unwrap());
    vec![
        token.get_manifest(project.id, None).await.map(drop),
        token.get_blob(project.id, sha256).await.map(drop),
        token.fetch_blobs(project.id, &FetchBlobs { sha256: vec![sha256] }).await.map(drop),
        token.upload_artifact(execution, artifact, &about, CONTENT.to_vec()).await.map(drop),
    ]
}

#[tokio::test]
async fn an_executions_token_opens_nothing_once_its_lease_is_gone() {
    let _alone = alone().await;
    let tenant = Tenant::of(plane(), 1);
    let project = Project::of(tenant.client.clone()).await;
    project.import(acceptance::Archive::of(&[("a", "content\n")])).await.unwrap();
    let mut agent = ScriptedAgent::connect(&tenant, "a machine", 1).await;
    let (_, execution) = project.queued().await;
    let first = agent.takes_work().await;
    let older = tenant.client.with_token(&first.execution_token);
    for opened in use_of(&older, &project, execution.id).await {
        opened.unwrap();
    }
    // Given up, and taken again under another lease.
    agent.say(&FromContainerAgent::Abandon { lease: first.lease, reason: "the test says so".into() }).await;
    let second = agent.takes_work().await;
    assert_eq!(second.lease.generation, first.lease.generation + 1);
    for closed in use_of(&older, &project, execution.id).await {
        refused(closed, ProblemKind::Conflict);
    }
    let newer = tenant.client.with_token(&second.execution_token);
    for opened in use_of(&newer, &project, execution.id).await {
        opened.unwrap();
    }
    let (mut writer, _) = Writer::open(&tenant.client, execution.id, &second.execution_token).await;
    writer.send(second.lease.generation, second.next_sequence, &[ended(Outcome::Succeeded)]).await;
    tenant.client.poll_until_ended(execution.id, SOON).await.unwrap();
    for closed in use_of(&newer, &project, execution.id).await {
        refused(closed, ProblemKind::Conflict);
    }
}
