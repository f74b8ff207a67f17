//! Secrets as they lie in D1, with a hand behind the doors: planes of their own, which the tests stop and start again.

use std::path::Path;

use acceptance::agents::{SOON, ScriptedAgent, Tenant, unique};
use acceptance::refused;
use shared_contracts::executions::ExecutionState;
use shared_contracts::ids::ProjectId;
use shared_contracts::problem::ProblemKind;
use shared_contracts::secrets::LeasedSecret;
use xtask::plane::{Plane, PlaneOptions};

use crate::execute;
use crate::secrets::{VALUE, wanting};

/// Two keys, as `openssl rand -base64 32` prints them.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

/// The same state under other keys.
async fn plane(name: &str, is_fresh: bool, vars: &[(&str, &str)]) -> Plane {
    let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let kept = PlaneOptions::kept(&format!("acceptance-{name}"));
    let options = PlaneOptions { is_fresh, vars, log_level: "log", ..kept };
    Plane::start(options).await.unwrap_or_else(|error| panic!("the plane does not start: {error:#}"))
}

/// What a lease brings, or why there was none.
async fn brought(tenant: &Tenant, project: ProjectId, name: &str) -> Result<Vec<LeasedSecret>, String> {
    let mut agent = ScriptedAgent::connect(tenant, &unique("machine"), 1).await;
    let execution = execute(tenant, project, &wanting(&[name])).await.unwrap();
    let offered = agent.is_offered().await;
    use acceptance::agents::Said::Message;
    use shared_contracts::dispatch::FromContainerAgent::Accept;
    use shared_contracts::dispatch::ToContainerAgent::{Leased, Offer, Withdrawn};
    agent.say(&Accept { execution_id: offered }).await;
    loop {
        match agent.hears().await {
            Message(Leased(leased)) => return Ok(leased.secrets),
            Message(Withdrawn { .. }) => {
                let ended = tenant.client.poll_until_ended(execution.id, SOON).await.unwrap();
                assert_eq!(ended.state, ExecutionState::Failed);
                return Err(ended.reason.unwrap());
            }
            // The acceptance took longer than an offer stands: it is made again.
            Message(Offer { execution_id }) => agent.say(&Accept { execution_id }).await,
            other => panic!("{other:?}"),
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_lies_nowhere_and_a_moved_row_does_not_open() {
    let mut plane = plane("sealed", true, &[]).await;
    let tenant = Tenant::of(&plane, 0);
    let (client, project, other) = (&tenant.client, tenant.project().await.id, tenant.project().await.id);
    let keyed = client.with_idempotency_key("the-same-key");
    keyed.set_secret(project, "TOKEN", VALUE).await.unwrap();
    keyed.set_secret(project, "TOKEN", VALUE).await.unwrap();
    client.set_secret(other, "OWN", VALUE).await.unwrap();
    let task =
        client.create_task(project, &serde_json::from_str(r#"{"title": "t"}"#).unwrap()).await.unwrap();
    let execution = keyed.create_execution(project, task.id, &wanting(&["TOKEN"])).await.unwrap();
    client.stop_execution(execution.id).await.unwrap();
    let moved = format!(
        "INSERT INTO project_secrets SELECT '{other}', name, key_id, sealed, size_bytes, created_at_ms, updated_at_ms
           FROM project_secrets WHERE project_id = '{project}';
         INSERT INTO project_secrets SELECT project_id, 'RENAMED', key_id, sealed, size_bytes, 1, 1
           FROM project_secrets WHERE project_id = '{project}' AND name = 'TOKEN'"
    );
    plane.sql(&moved).unwrap();
    assert_eq!(brought(&tenant, other, "OWN").await.unwrap()[0].value, VALUE);
    assert_eq!(brought(&tenant, project, "TOKEN").await.unwrap()[0].value, VALUE);
    for (project, name) in [(other, "TOKEN"), (project, "RENAMED")] {
        let reason = brought(&tenant, project, name).await.unwrap_err();
        assert!(reason.contains(&format!("`{name}`")) && reason.contains("not what was set"), "{reason}");
    }
    plane.stop_worker().await.unwrap();
    let mut read = 0;
    for file in files(plane.state_folder()) {
        let content = std::fs::read(&file).unwrap();
        read += content.len();
        let found = content.windows(VALUE.len()).any(|window| window == VALUE.as_bytes());
        assert!(!found, "the value stands in {}", file.display());
    }
    assert!(read > 100_000, "D1, the objects and the log were looked through: {read} bytes");
    plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_changed_by_way_of_the_old_one_and_without_one_nothing_is_kept() {
    let name = "secrets-keys";
    let first = plane(name, true, &[("SECRETS_KEY", KEY)]).await;
    let tenant = Tenant::of(&first, 0);
    let project = tenant.project().await.id;
    tenant.client.set_secret(project, "BEFORE", VALUE).await.unwrap();
    first.stop().await.unwrap();

    let changed = plane(name, false, &[("SECRETS_KEY", OTHER), ("SECRETS_KEY_OLD", KEY)]).await;
    let tenant = Tenant::of(&changed, 0);
    assert_eq!(brought(&tenant, project, "BEFORE").await.unwrap()[0].value, VALUE);
    tenant.client.set_secret(project, "AFTER", VALUE).await.unwrap();
    // What the old key sealed is sealed anew by the reconciler, and the old key can go; what cannot be opened stays.
    changed
        .sql(&format!(
            "INSERT INTO project_secrets SELECT project_id, 'MOVED', key_id, sealed, size_bytes, 1, 1
           FROM project_secrets WHERE project_id = '{project}' AND name = 'BEFORE'"
        ))
        .unwrap();
    changed.run_reconciler().await.unwrap();
    changed.stop().await.unwrap();

    let done = plane(name, false, &[("SECRETS_KEY", OTHER)]).await;
    let tenant = Tenant::of(&done, 0);
    assert_eq!(brought(&tenant, project, "AFTER").await.unwrap()[0].value, VALUE);
    assert_eq!(brought(&tenant, project, "BEFORE").await.unwrap()[0].value, VALUE);
    let reason = brought(&tenant, project, "MOVED").await.unwrap_err();
    assert!(reason.contains("`MOVED`") && reason.contains("SECRETS_KEY_OLD"), "{reason}");
    done.stop().await.unwrap();

    for broken in ["", "AAEC"] {
        let none = plane(name, false, &[("SECRETS_KEY", broken)]).await;
        let tenant = Tenant::of(&none, 0);
        let problem =
            refused(tenant.client.set_secret(project, "NEW", VALUE).await, ProblemKind::NotConfigured);
        assert!(
            problem.detail.contains("SECRETS_KEY") && problem.detail.contains("openssl rand"),
            "{problem}"
        );
        let reason = brought(&tenant, project, "AFTER").await.unwrap_err();
        assert!(reason.contains("SECRETS_KEY"), "{reason}");
        none.stop().await.unwrap();
    }
}
