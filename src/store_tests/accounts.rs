//! Tokens, idempotency keys and container agents: what stands, what has run out, and who was first.

use shared_contracts::container_agents::ContainerAgent;
use shared_contracts::ids::ContainerAgentId;

use super::database::{Database, ids, token_sha256};
use crate::accounts::{Account, store as tokens};
use crate::args;
use crate::container_agents::store as machines;
use crate::entry::idempotency as keys;

fn find(database: &Database, at_ms: u64) -> Option<Account> {
    database.typed(tokens::FIND, args![token_sha256(), at_ms])
}

#[test]
fn a_token_is_good_until_it_expires_or_is_revoked() {
    let database = Database::new().filled();
    let account = find(&database, 999_999).unwrap();
    assert_eq!((account.owner_id.to_string(), account.scopes.len()), (ids::owner(), 2));
    assert_eq!(account.expires_at_ms, Some(1_000_000));
    assert!(find(&database, 1_000_000).is_none(), "expired");
    let revoke =
        |owner: String, at_ms: u64| database.change(tokens::REVOKE, args![ids::token(), owner, at_ms]);
    assert_eq!(revoke("own_other".into(), 10), 0, "another's");
    assert!(find(&database, 10).is_some());
    assert_eq!(revoke(ids::owner(), 10), 1);
    assert_eq!(revoke(ids::owner(), 20), 1, "revoking twice is revoking once");
    assert_eq!(database.value("SELECT revoked_at_ms FROM access_tokens"), "10");
    assert!(find(&database, 11).is_none());
}

#[test]
fn last_use_is_written_once_a_minute() {
    let database = Database::new().filled();
    let touch = |at_ms: u64| database.change(tokens::TOUCH, args![ids::token(), at_ms]);
    assert_eq!((touch(100_000), touch(100_001), touch(160_000)), (1, 0, 0));
    assert_eq!(touch(160_001), 1);
    assert_eq!(find(&database, 0).unwrap().last_used_at_ms, Some(160_001));
}

fn claim(database: &Database, key: &str, request: &str, at_ms: u64, forgotten_ms: u64) -> usize {
    let args = args![ids::owner(), key, "create_project", request, "{}", at_ms, forgotten_ms];
    database.change(keys::CLAIM, args)
}

fn row(database: &Database, key: &str) -> String {
    let args = args![ids::owner(), key];
    let row: serde_json::Value = database.typed(keys::FIND, args).unwrap();
    format!("{} {} {} {}", row["request_sha256"], row["claimed_at_ms"], row["status"], row["response"])
}

#[test]
fn a_key_is_claimed_by_the_first_until_it_is_forgotten() {
    let database = Database::new().filled();
    assert_eq!(claim(&database, "k", "one", 10, 0), 1);
    assert_eq!(claim(&database, "k", "two", 11, 0), 0);
    assert_eq!(claim(&database, "k", "two", 11, 10), 0, "not older than what is forgotten");
    assert_eq!(row(&database, "k"), "\"one\" 10 null null");
    database.change(keys::ANSWER, args![ids::owner(), "k", 201, "{}"]);
    assert_eq!(row(&database, "k"), "\"one\" 10 201 \"{}\"");
    assert_eq!(claim(&database, "k", "two", 99, 11), 1);
    assert_eq!(row(&database, "k"), "\"two\" 99 null null", "nothing of the old answer is left");
}

#[test]
fn an_unanswered_claim_is_taken_over_once_and_an_answered_one_never() {
    let database = Database::new().filled();
    claim(&database, "k", "one", 10, 0);
    let take_over =
        |seen_ms: u64, at_ms: u64| database.change(keys::TAKE_OVER, args![ids::owner(), "k", seen_ms, at_ms]);
    assert_eq!(take_over(9, 80), 0, "someone claimed it since");
    assert_eq!((take_over(10, 80), take_over(10, 80)), (1, 0));
    database.change(keys::ANSWER, args![ids::owner(), "k", 201, "{}"]);
    assert_eq!(take_over(80, 90), 0);
    assert_eq!(refuse(&database, "k"), 0, "an answer is kept");
}

fn refuse(database: &Database, key: &str) -> usize {
    database.change(keys::REFUSED, args![ids::owner(), key, 409])
}

#[test]
fn a_refused_request_is_tried_again_with_its_seed_and_its_key_is_free_for_another() {
    let database = Database::new().filled();
    claim(&database, "k", "one", 10, 0);
    assert_eq!((refuse(&database, "k"), claim(&database, "k", "one", 20, 0)), (1, 0));
    assert_eq!(row(&database, "k"), "\"one\" 10 409 null");
    assert_eq!(database.change(keys::TAKE_OVER, args![ids::owner(), "k", 10, 20]), 1);
    assert_eq!(row(&database, "k"), "\"one\" 20 null null", "it runs again");
    assert_eq!(claim(&database, "k", "two", 30, 0), 0);
    refuse(&database, "k");
    assert_eq!(claim(&database, "k", "two", 30, 0), 1);
    assert_eq!(row(&database, "k"), "\"two\" 30 null null");
}

#[test]
fn old_keys_are_forgotten_and_new_ones_are_not() {
    let database = Database::new().filled();
    claim(&database, "k", "one", 10, 0);
    assert_eq!(database.change(keys::FORGET, args![10]), 1, "the filled one");
    assert_eq!(database.change(keys::FORGET, args![11]), 1);
}

fn connect(database: &Database, id: u128, name: &str) -> ContainerAgentId {
    let id = ContainerAgentId::new(2, id).to_string();
    let args = args![id, ids::owner(), name, "0.2.0", 7, "limited", 2_048, 1.5, false, 30, "[]"];
    database.typed(machines::CONNECT, args).unwrap()
}

fn machine(database: &Database) -> ContainerAgent {
    database.typed(machines::GET, args![ids::machine(), ids::owner()]).unwrap()
}

#[test]
fn a_name_comes_back_as_the_machine_it_was() {
    let database = Database::new().filled();
    assert_eq!(connect(&database, 1, "box").to_string(), ids::machine());
    let found = machine(&database);
    assert_eq!((found.state.as_str(), found.capacity, found.shared), ("connected", 7, false));
    assert_eq!((found.version.as_str(), found.disconnected_at_ms), ("0.2.0", None));
    assert_eq!((found.memory_mb_max, found.cpu_cores_max), (2_048, 1.5));
    assert_ne!(connect(&database, 2, "another").to_string(), ids::machine());
}

#[test]
fn a_machine_drains_only_while_it_is_connected() {
    let database = Database::new().filled();
    let drain = || database.change(machines::DRAINING, args![ids::machine()]);
    assert_eq!(drain(), 0, "it is gone");
    connect(&database, 1, "box");
    assert_eq!((drain(), drain()), (1, 0));
    assert_eq!(database.change(machines::DISCONNECT, args![ids::machine(), 40]), 1);
    assert_eq!(
        (machine(&database).state.as_str(), machine(&database).disconnected_at_ms),
        ("disconnected", Some(40))
    );
    assert_eq!(drain(), 0);
}

#[test]
fn a_machine_counts_what_it_runs() {
    let database = Database::new().filled();
    assert_eq!(machine(&database).running, 0, "the filled execution has ended");
    database.change("UPDATE executions SET state = 'running', ended_at_ms = NULL", &[]);
    assert_eq!(machine(&database).running, 1);
}
