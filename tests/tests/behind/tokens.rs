//! Tokens as they are kept, and as they end.

use acceptance::{owner, plane, refused};
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::problem::ProblemKind;

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
