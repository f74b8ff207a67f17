//! Another Worker, over a service binding: the same operations, for whoever has a token.

use std::path::Path;

use acceptance::{Answer, Project, create, edit, owner, plane};
use reqwest::Method;
use serde_json::{Value, json};
use shared_contracts::accounts::{CreateAccessToken, Scope};
use shared_contracts::limits::PATCH_BODY_BYTES_MAX;
use shared_contracts::patches::PatchOperation;

const POEM: &str = "one\ntwo\nthree\n";

#[tokio::test]
async fn another_worker_checks_and_applies_with_its_callers_token() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("caller-worker/wrangler.toml");
    let caller = plane().beside(&config).await.unwrap();
    let client = owner().at(&caller.url()).without_token();
    let ask = async |method: &str, argument: Value| -> Value {
        let call = client.call(Method::POST, "/").json(&json!({"method": method, "argument": argument}));
        let answer = Answer::to(call).await;
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    };
    let project = Project::with(&[("poem", POEM)]).await;
    let token = owner().token().unwrap().to_owned();
    let asked = |operations: Vec<PatchOperation>| {
        let batch = json!({"operations": operations});
        json!({"token": token, "project_id": project.id, "title": "t", "batch": batch})
    };
    let fits = asked(vec![edit("poem", POEM, 2, "zwei\n")]);
    let checked = ask("checkPatches", fits.clone()).await;
    assert!(checked["answer"]["diff"].as_str().is_some_and(|diff| diff.contains("+zwei")), "{checked}");
    assert_eq!(project.head().await, 1, "a check writes nothing");
    let applied = ask("applyPatches", fits.clone()).await;
    assert_eq!(applied["answer"]["revision_after"], 2, "{applied}");
    assert_eq!(project.text("poem").await, "one\nzwei\nthree\n");
    // A refusal is an answer, every operation explained.
    let refused = ask("applyPatches", asked(vec![create("new", "n\n"), create("poem", "x\n")])).await;
    assert_eq!(refused["problem"]["kind"], "patch_refused", "{refused}");
    assert_eq!(refused["problem"]["outcomes"][1]["outcome"], "file_exists", "{refused}");
    // The binding is nobody; a token that may read may check and not apply.
    for token in [json!(null), json!("pby_nobody")] {
        let mut nobody = fits.clone();
        nobody["token"] = token;
        assert_eq!(ask("applyPatches", nobody).await["problem"]["kind"], "unauthenticated");
    }
    let input = CreateAccessToken { name: "reads".into(), scopes: vec![Scope::Read], lifetime_seconds: None };
    let mut reading = asked(vec![create("new", "n\n")]);
    reading["token"] = json!(owner().create_access_token(&input).await.unwrap().token);
    assert!(ask("checkPatches", reading.clone()).await["answer"].is_object());
    assert_eq!(ask("applyPatches", reading).await["problem"]["kind"], "forbidden");
    assert_eq!(ask("applyPatches", json!({"token": token})).await["problem"]["kind"], "invalid");
    let mut large = asked(Vec::new());
    large["title"] = json!("x".repeat(PATCH_BODY_BYTES_MAX as usize));
    assert_eq!(ask("checkPatches", large).await["problem"]["kind"], "too_large");
    // With a key it happens once.
    let mut keyed = asked(vec![create("keyed", "k\n")]);
    keyed["idempotency_key"] = json!(xtask::random::secret().unwrap());
    let first = ask("applyPatches", keyed.clone()).await;
    assert_eq!(first["answer"]["revision_after"], 3, "{first}");
    assert_eq!(ask("applyPatches", keyed).await, first);
    // The entrypoint lists its methods: nothing else is there.
    assert!(ask("proposePatch", json!({})).await["thrown"].is_string());
    assert_eq!(project.head().await, 3);
}
