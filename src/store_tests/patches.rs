//! Patch batches, their events, and artifacts: once each.

use shared_contracts::artifacts::Artifact;
use shared_contracts::ids::{ArtifactId, PatchEventId};
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
    database.change(REFUSED, args![ids::patch(), "it does not fit", 10])
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

#[test]
fn a_proposal_and_an_event_are_recorded_once() {
    let database = Database::new().filled();
    let none = None::<String>;
    let propose = args![ids::patch(), ids::project(), none.clone(), "another", 1, 2, 3, 4];
    assert_eq!(database.change(PROPOSE, propose), 0);
    assert_eq!(summary(&database).title, "change");
    let id = PatchEventId::new(5, 5).to_string();
    let event = args![id, ids::patch(), ids::project(), none, "applied", "{\"a\":1}", 1, 5];
    assert_eq!(database.record(RECEIPT, args![ids::patch()]), None, "only an application has a receipt");
    assert_eq!((database.change(EVENT, event), database.change(EVENT, event)), (1, 0));
    assert_eq!(database.record(RECEIPT, args![ids::patch()]).as_deref(), Some("{\"a\":1}"));
    assert_eq!(database.record(EXISTS, args![ids::patch()]).as_deref(), Some("1"));
    assert_eq!(database.record(EXISTS, args!["pat_nothing"]), None);
    assert_eq!(database.record(GET, args![ids::patch(), "own_other"]), None);
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
