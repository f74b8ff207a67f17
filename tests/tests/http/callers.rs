//! Who may come in: every door of the list, with every kind of key.

use acceptance::{Answer, every_page, owner, plane, refused, stranger};
use reqwest::Method;
use shared_contracts::accounts::{AccessToken, CreateAccessToken, CreatedAccessToken, Scope};
use shared_contracts::problem::ProblemKind;
use shared_contracts::routes::{Access, ROUTES, Route};
use xtask::client::{Call, Client};

/// Of the form that the route wants, and nobody's.
fn path(route: &Route) -> String {
    let id = |prefix: &str| format!("{prefix}_01arz3ndektsv4rrffq69g5fav");
    let prefixes = [
        ("{token_id}", "tok"),
        ("{project_id}", "prj"),
        ("{task_id}", "tsk"),
        ("{execution_id}", "exe"),
        ("{artifact_id}", "art"),
        ("{patch_batch_id}", "pat"),
        ("{container_agent_id}", "cag"),
        ("{import_id}", "imp"),
    ];
    let path =
        prefixes.iter().fold(route.path.to_owned(), |path, (name, prefix)| path.replace(name, &id(prefix)));
    let container = format!("{}.1", id("exe"));
    let path = path.replace("{container_id}", &container).replace("{name}", "A_NAME");
    path.replace("{*path}", "a/b").replace("{sha256}", &"0".repeat(64))
}

fn call(client: &Client, route: &Route) -> Call {
    client.call(Method::from_bytes(route.method.as_bytes()).unwrap(), path(route))
}

fn token(name: &str, scopes: &[Scope]) -> CreateAccessToken {
    CreateAccessToken { name: name.into(), scopes: scopes.to_vec(), lifetime_seconds: None }
}

async fn token_of(scopes: &[Scope]) -> CreatedAccessToken {
    owner().create_access_token(&token("of a test", scopes)).await.unwrap()
}

#[tokio::test]
async fn only_two_doors_open_without_a_caller() {
    let nobody = owner().without_token();
    for route in ROUTES {
        let answer = Answer::to(call(&nobody, route)).await;
        if route.access == Access::Public {
            assert_eq!(answer.status, 200, "{}", route.path);
        } else {
            answer.problem(ProblemKind::Unauthenticated);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", route.path);
        }
    }
}

#[tokio::test]
async fn what_is_no_key_opens_nothing() {
    let nobody = owner().without_token();
    let real = owner().token().unwrap().to_owned();
    for header in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Basic {real}"),
        real.clone(),
        format!("Bearer {real}x"),
        format!("Bearer {}", &real[..real.len() - 1]),
        format!("Bearer {}", real.to_uppercase()),
        format!("Bearer {}", "x".repeat(10_000)),
        "Bearer pbx_e30.e30".into(),
        "Bearer pbx_".into(),
        "Bearer pby_' OR 1=1 --".into(),
    ] {
        let answer =
            Answer::to(nobody.call(Method::GET, "/api/projects").header("authorization", &header)).await;
        answer.problem(ProblemKind::Unauthenticated);
    }
    let lower = nobody.call(Method::GET, "/api/projects").header("authorization", &format!("bearer {real}"));
    assert_eq!(Answer::to(lower).await.status, 200, "the scheme's case does not matter (RFC 9110 §11.1)");
}

/// Whether a token with only this scope may use a route.
fn opens(scope: Scope, access: Access) -> bool {
    match access {
        Access::Public => true,
        Access::Token(Scope::ContainerAgent) => {
            matches!(scope, Scope::ContainerAgent | Scope::SharedContainerAgent)
        }
        Access::Token(wanted) => scope == wanted,
        Access::Execution => false,
        Access::ReadOrExecution => scope == Scope::Read,
    }
}

#[tokio::test]
async fn every_door_wants_its_scope() {
    let mut keys = Vec::new();
    for scope in [Scope::Read, Scope::Write, Scope::Tokens, Scope::ContainerAgent] {
        keys.push((scope, token_of(&[scope]).await.token));
    }
    keys.push((Scope::SharedContainerAgent, plane().shared_agent_token().to_owned()));
    for (scope, token) in keys {
        let client = owner().with_token(&token);
        for route in ROUTES {
            let answer = Answer::to(call(&client, route)).await;
            let which = format!("{scope:?} at {} {}: {}", route.method, route.path, answer.text());
            if opens(scope, route.access) {
                assert!(![401, 403].contains(&answer.status), "{which}");
            } else {
                assert_eq!(answer.status, 403, "{which}");
                answer.problem(ProblemKind::Forbidden);
            }
        }
    }
}

#[tokio::test]
async fn a_token_is_shown_once() {
    let made = token_of(&[Scope::Read]).await;
    assert!(made.token.starts_with("pby_") && made.token.len() == 47, "256 bits in base64url");
    let answer = Answer::to(owner().call(Method::GET, "/api/access-tokens?limit=100")).await;
    assert!(!answer.text().contains(&made.token) && !answer.text().contains("token_sha256"));
    let listed: Vec<AccessToken> = every_page(&owner(), "/api/access-tokens", 100).await;
    assert_eq!(listed.iter().find(|token| token.id == made.record.id), Some(&made.record));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let made = token_of(&[Scope::Read]).await;
    let client = owner().with_token(&made.token);
    client.list_projects(&Default::default()).await.unwrap();
    refused(stranger().revoke_access_token(made.record.id).await, ProblemKind::NotFound);
    client.list_projects(&Default::default()).await.unwrap();
    owner().revoke_access_token(made.record.id).await.unwrap();
    refused(client.list_projects(&Default::default()).await, ProblemKind::Unauthenticated);
    owner().revoke_access_token(made.record.id).await.unwrap();
    let listed: Vec<AccessToken> = every_page(&owner(), "/api/access-tokens", 100).await;
    let record = listed.iter().find(|token| token.id == made.record.id).unwrap();
    assert!(record.revoked_at_ms.is_some_and(|at_ms| at_ms >= made.record.created_at_ms));
}

#[tokio::test]
async fn a_token_makes_none_that_is_stronger() {
    let weak = token_of(&[Scope::Tokens]).await;
    let client = owner().with_token(&weak.token);
    for scope in [Scope::Read, Scope::Write, Scope::SharedContainerAgent] {
        refused(client.create_access_token(&token("stronger", &[scope])).await, ProblemKind::Forbidden);
    }
    client.create_access_token(&token("as strong", &[Scope::Tokens])).await.unwrap();
    client.create_access_token(&token("a machine's", &[Scope::ContainerAgent])).await.unwrap();
}

#[tokio::test]
async fn a_token_names_its_last_use() {
    let made = token_of(&[Scope::Read, Scope::Tokens]).await;
    let client = owner().with_token(&made.token);
    let used = async || {
        let listed: Vec<AccessToken> = every_page(&client, "/api/access-tokens", 100).await;
        listed.iter().find(|token| token.id == made.record.id).unwrap().last_used_at_ms
    };
    // It is written behind the answer: asked again until it shows, with nothing but the asking in between.
    let deadline = acceptance::now_ms() + 10_000;
    while used().await.is_none() {
        assert!(acceptance::now_ms() < deadline, "the use of a token is never recorded");
    }
    let first = used().await;
    assert!(first.is_some_and(|at_ms| at_ms >= made.record.created_at_ms));
    assert_eq!(used().await, first, "not written at every request");
}

#[tokio::test]
async fn tokens_are_each_owners_own() {
    let made = token_of(&[Scope::Read]).await;
    let theirs: Vec<AccessToken> = every_page(&stranger(), "/api/access-tokens", 100).await;
    assert!(!theirs.is_empty() && theirs.iter().all(|token| token.id != made.record.id));
}
