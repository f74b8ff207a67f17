//! Patch batches, their events, and artifacts: once each.

use shared_contracts::artifacts::Artifact;
use shared_contracts::ids::{ArtifactId, PatchBatchId, PatchEventId};
use shared_contracts::patches::PatchConflict;
use shared_contracts::patches::PatchSummary;

use super::database::{Database, ids, token_sha256};
use crate::{args, artifacts, patches::store::*};

fn summary(database: &Database) -> PatchSummary {
    database.typed(GET, args![ids::patch(), ids::owner()]).unwrap()
}

fn decided(database: &Database) -> (&'static str, Option<u64>) {
    let summary = summary(database);
    (summary.state.as_str(), summary.revision_after)
}

fn applied(database: &Database, revision: u64) -> usize {
    database.change(APPLIED, args![ids::patch(), revision, 10])
}

fn refused(database: &Database) -> usize {
    database.change(REFUSED, args![ids::patch(), "it does not fit", 10, 5])
}

fn rejected(database: &Database) -> usize {
    database.change(REJECT, args![ids::patch(), "no", 10])
}

#[test]
fn a_batch_is_applied_once_and_stays_so() {
    let database = Database::new().filled();
    assert_eq!(applied(&database, 3), 1);
    assert_eq!(applied(&database, 4), 0, "the same again");
    assert_eq!(refused(&database), 0);
    assert_eq!(rejected(&database), 0);
    assert_eq!(decided(&database), ("applied", Some(3)));
}

#[test]
fn a_conflicted_batch_may_be_applied_or_rejected() {
    let database = Database::new().filled();
    assert_eq!(refused(&database), 1);
    assert_eq!(summary(&database).reason.as_deref(), Some("it does not fit"));
    assert_eq!(refused(&database), 1, "it may conflict again");
    assert_eq!(applied(&database, 3), 1);
    assert_eq!(summary(&database).reason, None);
    let database = Database::new().filled();
    refused(&database);
    assert_eq!(rejected(&database), 1);
    assert_eq!(rejected(&database), 0, "the same again");
    assert_eq!(refused(&database), 0, "a rejected one no longer conflicts");
}

fn propose(database: &Database, id: u128) -> (String, usize) {
    let (id, none) = (PatchBatchId::new(2, id).to_string(), None::<String>);
    let args = args![
        id.as_str(),
        ids::project(),
        ids::execution(),
        "another",
        1,
        2,
        3,
        4,
        none.clone(),
        "model",
        none.clone(),
        "codex",
        none.clone(),
        4
    ];
    let changed = database.change(PROPOSE, args);
    (id, changed)
}

/// What its execution's log is to be told.
const UNTOLD_TEXT: &str = "{\"told\":true}";

fn event(database: &Database, patch: &str, id: &str, kind: &str, detail: &str, revision: u64) -> usize {
    let at_ms = 10;
    database
        .change(EVENT, args![id, patch, kind, detail, 1, at_ms, "exact", "applied", revision, UNTOLD_TEXT])
}

#[test]
fn a_refusal_is_told_once_for_each_revision() {
    let database = Database::new().filled();
    let refused = |id: &str, revision: u64| event(&database, &ids::patch(), id, "refused", "[]", revision);
    assert_eq!((refused("pev_first", 3), refused("pev_second", 3), refused("pev_third", 4)), (1, 0, 1));
}

#[test]
fn of_those_who_reject_at_once_the_one_who_did_is_told() {
    let database = Database::new().filled();
    let told = |id: &str| event(&database, &ids::patch(), id, "rejected", "{}", 0);
    assert_eq!(told("pev_early"), 0, "it is not rejected");
    rejected(&database);
    assert_eq!((told("pev_first"), told("pev_second")), (1, 0));
}

#[test]
fn what_a_log_has_yet_to_be_told_is_found_until_it_was() {
    let database = Database::new().filled();
    event(&database, &ids::patch(), "pev_first", "refused", "[]", 3);
    let untold = |before_ms: u64| database.record(UNTOLD, args![before_ms, 10]);
    assert_eq!((untold(10).as_deref(), untold(11)), (Some("[]"), Some(format!("[{UNTOLD_TEXT}]"))));
    assert_eq!(database.change(TOLD, args!["pev_first"]), 1);
    assert_eq!(untold(11).as_deref(), Some("[]"));
}

fn unsettled(database: &Database) -> Vec<(u64, String)> {
    let found: Vec<Unsettled> = database.typed(UNSETTLED, args![1_000, 10]).unwrap();
    found.into_iter().map(|found| (found.since_ms, found.patch.id.to_string())).collect()
}

#[test]
fn an_application_that_began_is_known_until_something_came_of_it() {
    let database = Database::new().filled();
    let begin = |at_ms: u64| database.change(BEGIN, args![ids::patch(), at_ms]);
    assert_eq!((unsettled(&database), begin(5)), (Vec::new(), 1));
    assert_eq!(unsettled(&database), [(5, ids::patch())]);
    refused(&database);
    assert_eq!(unsettled(&database), []);
    begin(6);
    refused(&database);
    assert_eq!(unsettled(&database), [(6, ids::patch())], "another one began before the first was refused");
    let given_up = |since_ms: u64| database.change(GIVEN_UP, args![ids::patch(), since_ms]);
    assert_eq!((given_up(5), given_up(6)), (0, 1));
    begin(7);
    applied(&database, 3);
    assert_eq!((unsettled(&database), begin(8)), (Vec::new(), 0));
    let (another, _) = propose(&database, 8);
    assert_eq!(unsettled(&database), [(4, another)], "recorded to be applied at once");
}

#[test]
fn a_proposal_and_an_event_are_recorded_once() {
    let database = Database::new().filled();
    let (patch, changed) = propose(&database, 5);
    assert_eq!((changed, propose(&database, 5).1), (1, 0));
    let id = PatchEventId::new(5, 5).to_string();
    assert_eq!(database.record(RECEIPT, args![patch.as_str()]), None, "only an application has a receipt");
    let applied = |id: &str, detail: &str| event(&database, &patch, id, "applied", detail, 7);
    assert_eq!((applied(&id, "{\"a\":1}"), applied(&id, "{\"a\":1}")), (1, 0));
    assert_eq!(applied("pev_another", "{\"a\":2}"), 0, "an application is told once, whenever it was");
    assert_eq!(database.record(RECEIPT, args![patch.as_str()]).as_deref(), Some("{\"a\":1}"));
    let told = database.value(&format!(
        "SELECT execution_id || ' ' || coding_agent || ' ' || model || ' ' || format || ' ' || step || ' ' || outcome
         FROM patch_events WHERE id = '{id}'"
    ));
    assert_eq!(told, format!("{} command model codex exact applied", ids::execution()));
    assert_eq!(database.record(EXISTS, args![patch]).as_deref(), Some("1"));
    assert_eq!(database.record(EXISTS, args!["pat_nothing"]), None);
    assert_eq!(database.record(GET, args![ids::patch(), "own_other"]), None);
}

#[test]
fn the_refusal_of_an_unreadable_text_has_no_batch() {
    let database = Database::new().filled();
    let none = None::<String>;
    let id = PatchEventId::new(5, 5).to_string();
    let told = args![
        id,
        ids::project(),
        ids::execution(),
        "[]",
        1,
        5,
        "malformed",
        3,
        none.clone(),
        none.clone(),
        "m",
        none.clone(),
        none
    ];
    assert_eq!((database.change(UNREADABLE, told), database.change(UNREADABLE, told)), (1, 0));
    let found =
        "SELECT kind || ' ' || outcome || ' ' || coding_agent FROM patch_events WHERE patch_batch_id IS NULL";
    assert_eq!(database.value(found), "refused malformed command");
}

#[test]
fn an_applied_batch_is_reverted_once_by_its_inverse() {
    let database = Database::new().filled();
    let (inverse, _) = propose(&database, 9);
    let revert = || database.change(REVERTED, args![inverse.as_str()]);
    applied(&database, 3);
    assert_eq!(revert(), 0, "it takes nothing back");
    database
        .change("UPDATE patch_batches SET reverts = ?1 WHERE id = ?2", args![ids::patch(), inverse.as_str()]);
    assert_eq!((revert(), revert()), (1, 0));
    assert_eq!(decided(&database).0, "reverted");
    assert_eq!(database.record(EXECUTION_OF, args![ids::patch()]), Some(format!("\"{}\"", ids::execution())));
}

#[test]
fn waiting_batches_that_change_the_same_lines_are_found() {
    let database = Database::new().filled();
    let (near, far) = (propose(&database, 6).0, propose(&database, 7).0);
    let touch = |id: &str, path: &str, first: u32, last: u32| {
        let touches = format!(r#"[{{"path":"{path}","first":{first},"last":{last},"operations":[1]}}]"#);
        database.change(TOUCH, args![id, ids::project(), touches])
    };
    // The filled batch touches lines 3 to 5 of `a`.
    assert_eq!((touch(&near, "a", 5, 9), touch(&near, "a", 5, 9)), (1, 0));
    touch(&near, "b", 3, 5);
    touch(&far, "a", 6, 6);
    touch("pat_nothing", "a", 1, 9);
    let conflicts = |id: &str| -> Vec<PatchConflict> { database.typed(CONFLICTS, args![id, 10]).unwrap() };
    let found = conflicts(&ids::patch());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].patch_batch_id.to_string(), near);
    assert_eq!((found[0].lines.first, found[0].lines.last), (5, 9));
    assert_eq!((found[0].operations.as_slice(), found[0].their_operations.as_slice()), (&[0][..], &[1][..]));
    assert_eq!(conflicts(&near).len(), 2);
    applied(&database, 3);
    assert_eq!(conflicts(&near).len(), 1, "what is applied waits no more");
    assert_eq!(database.change(SETTLE, args![ids::patch()]), 1);
    assert_eq!(database.change(SETTLE, args![near]), 0, "what waits is kept");
}

#[test]
fn batches_whose_lines_are_an_older_heads_are_found() {
    let database = Database::new().filled();
    let (near, far) = (propose(&database, 6).0, propose(&database, 7).0);
    for (id, path) in [(&near, "a"), (&far, "b")] {
        let touches = format!(r#"[{{"path":"{path}","first":1,"last":1,"operations":[0]}}]"#);
        database.change(TOUCH, args![id.as_str(), ids::project(), touches]);
    }
    let touched = |id: String, revision: u64| database.change(TOUCHED, args![id, revision]);
    touched(near.clone(), 3);
    touched(far, 3);
    touched(ids::patch(), 4);
    let outdated = |head: u64| -> Vec<String> {
        let found: Vec<PatchSummary> = database.typed(OUTDATED, args![ids::patch(), head, 10]).unwrap();
        found.into_iter().map(|patch| patch.id.to_string()).collect()
    };
    assert_eq!((outdated(3).len(), outdated(4)), (0, vec![near.clone()]), "the other is about another file");
    assert_eq!(outdated(5).len(), 2, "itself too");
    assert_eq!(database.change(UNTOUCH, args![near]), 1);
    assert_eq!(outdated(5), [ids::patch()]);
}

fn store_artifact(database: &Database, id: u128, generation: u32, most: u32) -> usize {
    let id = ArtifactId::new(2, id).to_string();
    let (execution, sha256) = (ids::execution(), token_sha256());
    let args = args![id, execution, "file", "out.txt", 3, "text/plain", sha256, 5, generation, most];
    database.change(artifacts::store::INSERT, args)
}

#[test]
fn artifacts_come_under_the_present_lease_and_not_too_many() {
    let database = Database::new().filled();
    assert_eq!(store_artifact(&database, 1, 1, 50), 0, "the execution has ended");
    database.change("UPDATE executions SET state = 'running', ended_at_ms = NULL", &[]);
    assert_eq!(store_artifact(&database, 1, 2, 50), 0, "another lease");
    assert_eq!(store_artifact(&database, 1, 1, 2), 1);
    assert_eq!(store_artifact(&database, 1, 1, 3), 0, "the same again");
    assert_eq!(store_artifact(&database, 2, 1, 2), 0, "the filled one and that are all it may have");
    assert_eq!(store_artifact(&database, 2, 1, 3), 1);
}

#[test]
fn an_artifact_is_its_owners_alone() {
    let database = Database::new().filled();
    let found: Artifact =
        database.typed(artifacts::store::GET, args![ids::artifact(), ids::owner()]).unwrap();
    assert_eq!((found.path.as_str(), found.size_bytes), ("a/b", 3));
    assert_eq!(database.record(artifacts::store::GET, args![ids::artifact(), "own_other"]), None);
    let of_execution = |execution: String| {
        database.record(artifacts::store::OF_EXECUTION, args![ids::artifact(), execution])
    };
    assert!(of_execution(ids::execution()).is_some());
    assert_eq!(of_execution("exe_other".into()), None);
    assert_eq!(database.change(artifacts::store::DELETE, args![ids::artifact()]), 1);
    assert_eq!(database.change(artifacts::store::DELETE, args![ids::artifact()]), 0);
}
