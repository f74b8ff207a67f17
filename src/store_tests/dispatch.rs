//! The Dispatcher's ledger on SQLite itself: moves decided on what is no longer so change nothing.

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use serde::de::DeserializeOwned;
use shared_contracts::dispatch::Lease;
use shared_contracts::ids::{ContainerAgentId, ExecutionId, OwnerId, ProjectId, TaskId};
use shared_contracts::sandboxes::{OfferedSandbox, SandboxNeed, SandboxProvider, SandboxTier};
use worker::SqlStorageValue;

use super::database::Database;
use super::statements::{plan, scanned};
use crate::dispatch::commands::Queued;
use crate::dispatch::ledger::Ledger;
use crate::dispatch::queue::{LOOKED_AT_PER_OWNER, Offer};
use crate::dispatch::statements;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::sql::{Engine, Sql};

const SOON_MS: u64 = 1_000;

/// A Durable Object binds every number as a double, and gives rows as objects.
impl Engine for Connection {
    fn run(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<()> {
        if args.is_empty() {
            return self.execute_batch(sql).map_err(failed);
        }
        self.rows::<serde::de::IgnoredAny>(sql, args).map(drop)
    }

    fn rows<T: DeserializeOwned>(&self, sql: &str, args: Vec<SqlStorageValue>) -> Outcome<Vec<T>> {
        let values = args.into_iter().map(|arg| match arg {
            SqlStorageValue::Null => Value::Null,
            SqlStorageValue::Boolean(value) => Value::Real(f64::from(u8::from(value))),
            SqlStorageValue::Integer(value) => Value::Real(value as f64),
            SqlStorageValue::Float(value) => Value::Real(value),
            SqlStorageValue::String(text) => Value::Text(text),
            SqlStorageValue::Blob(bytes) => Value::Blob(bytes),
        });
        let mut statement = self.prepare(sql).map_err(failed)?;
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| {
            let column = |(index, name): (usize, &String)| {
                let value = match row.get_ref(index)? {
                    ValueRef::Integer(number) => number.into(),
                    ValueRef::Real(number) => number.into(),
                    ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
                    ValueRef::Null | ValueRef::Blob(_) => serde_json::Value::Null,
                };
                Ok((name.clone(), value))
            };
            names.iter().enumerate().map(column).collect::<rusqlite::Result<serde_json::Map<_, _>>>()
        };
        let rows = statement.query_map(rusqlite::params_from_iter(values), row).map_err(failed)?;
        rows.map(|row| serde_json::from_value(row.map_err(failed)?.into()).map_err(failed)).collect()
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::internal("SQLite", error)
}

fn ledger() -> Ledger<Connection> {
    Ledger::open(Sql(Connection::open_in_memory().unwrap())).unwrap()
}

fn id(n: u64) -> ExecutionId {
    ExecutionId::new(n, 0)
}

fn machine(n: u128) -> ContainerAgentId {
    ContainerAgentId::new(0, n)
}

fn owner(n: u128) -> OwnerId {
    OwnerId::new(0, n)
}

fn queued(n: u64, of: u128, priority: u8) -> Queued {
    Queued {
        execution_id: id(n),
        project_id: ProjectId::new(1, 1),
        task_id: TaskId::new(n, 1),
        owner_id: owner(of),
        priority,
        sandbox_tier: SandboxTier::Limited,
        sandbox_provider: None,
        image: None,
        memory_mb: 2_048,
        cpu_cores: 0.5,
        generation: 0,
        lost_count: 0,
        owner_concurrency: 5,
    }
}

fn offer(n: u64, to: u128) -> Offer {
    Offer { execution_id: id(n), container_agent_id: machine(to) }
}

/// Offered and accepted, as this generation.
fn leased(ledger: &Ledger<Connection>, n: u64, by: u128, generation: u32) -> Lease {
    assert!(ledger.offer(&offer(n, by), SOON_MS).unwrap());
    let entry = ledger.entry(id(n)).unwrap().unwrap();
    assert_eq!(entry.offer(), Some(offer(n, by)));
    let queued = Queued { generation, ..entry.queued().unwrap() };
    assert!(ledger.lease(&offer(n, by), &queued, SOON_MS).unwrap());
    let lease = Lease { execution_id: id(n), generation };
    assert_eq!(ledger.entry(id(n)).unwrap().unwrap().lease(), Some(lease));
    lease
}

fn order(ledger: &Ledger<Connection>) -> Vec<u64> {
    let owners = ledger.shares().unwrap().into_keys();
    ledger.waiting(owners).unwrap().iter().map(|waiting| waiting.execution_id.at_ms()).collect()
}

#[test]
fn a_second_settlement_of_one_loss_leaves_the_newer_lease_alone() {
    let ledger = ledger();
    ledger.enqueue(&queued(1, 1, 5)).unwrap();
    let lost = leased(&ledger, 1, 1, 1);
    // Two settlements begin; the first ends, and another machine takes the execution; the second ends.
    assert!(ledger.extend(lost, SOON_MS).unwrap() && ledger.extend(lost, SOON_MS).unwrap());
    let again = Queued { generation: 1, lost_count: 1, ..queued(1, 1, 5) };
    assert!(ledger.requeue(lost, &again).unwrap());
    assert!(!ledger.requeue(lost, &again).unwrap(), "it waits already");
    let newer = leased(&ledger, 1, 2, 2);
    assert!(!ledger.requeue(lost, &again).unwrap());
    assert!(!ledger.forget(lost).unwrap());
    assert!(!ledger.forget_ended(lost).unwrap());
    assert!(!ledger.extend(lost, 9_000).unwrap());
    assert!(!ledger.stop_leased(lost, "too late").unwrap());
    assert!(!ledger.stop_unleased(id(1), "it is leased", SOON_MS).unwrap());
    assert!(!ledger.forget_stopped(id(1)).unwrap());
    let entry = ledger.entry(id(1)).unwrap().unwrap();
    assert_eq!(
        (entry.lease(), entry.holder(), entry.stop_reason.clone()),
        (Some(newer), Some(machine(2)), None)
    );
    assert_eq!((entry.queued().unwrap().generation, entry.queued().unwrap().lost_count), (2, 1));
    assert_eq!(ledger.next_expiry_ms().unwrap(), Some(SOON_MS));
    assert!(ledger.forget(newer).unwrap());
    assert!(ledger.entry(id(1)).unwrap().is_none());
}

#[test]
fn an_offer_is_answered_by_whom_it_was_made_to() {
    let ledger = ledger();
    ledger.enqueue(&queued(1, 1, 5)).unwrap();
    assert!(!ledger.lease(&offer(1, 1), &queued(1, 1, 5), SOON_MS).unwrap(), "there is none yet");
    assert!(ledger.offer(&offer(1, 1), SOON_MS).unwrap());
    assert!(!ledger.offer(&offer(1, 2), SOON_MS).unwrap(), "it is on offer");
    assert!(!ledger.withdraw(&offer(1, 2)).unwrap());
    assert!(!ledger.lease(&offer(1, 2), &queued(1, 1, 5), SOON_MS).unwrap());
    assert!(ledger.withdraw(&offer(1, 1)).unwrap());
    assert!(!ledger.withdraw(&offer(1, 1)).unwrap(), "twice is once");
    let waiting = ledger.waiting([owner(1)].into_iter()).unwrap();
    assert_eq!(waiting[0].declined_by, Some(machine(1)));
    assert_eq!(ledger.next_expiry_ms().unwrap(), None);
    assert!(ledger.offer(&offer(1, 2), SOON_MS).unwrap());
    assert!(
        !ledger.lease(&offer(1, 1), &queued(1, 1, 5), SOON_MS).unwrap(),
        "the first one's answer is too late"
    );
    assert_eq!(ledger.entry(id(1)).unwrap().unwrap().offer(), Some(offer(1, 2)));
}

#[test]
fn a_turn_is_taken_by_a_lease_and_by_no_offer() {
    let ledger = ledger();
    for (n, of) in [(1, 1), (2, 2), (3, 2), (4, 1)] {
        ledger.enqueue(&queued(n, of, 5)).unwrap();
    }
    let last_turn = |of| ledger.shares().unwrap()[&owner(of)].last_turn;
    leased(&ledger, 1, 1, 1);
    assert_eq!((last_turn(1), last_turn(2)), (1, 0));
    assert!(ledger.offer(&offer(2, 1), SOON_MS).unwrap());
    assert!(ledger.withdraw(&offer(2, 1)).unwrap());
    assert_eq!(last_turn(2), 0, "it was declined: the next offer is this owner's, too");
    leased(&ledger, 2, 1, 1);
    assert_eq!(last_turn(2), 2);
}

#[test]
fn what_is_to_be_stopped_is_neither_offered_nor_leased() {
    let ledger = ledger();
    ledger.enqueue(&queued(1, 1, 5)).unwrap();
    assert!(!ledger.forget_stopped(id(1)).unwrap(), "nobody stopped it");
    assert!(ledger.offer(&offer(1, 1), SOON_MS).unwrap());
    assert!(ledger.stop_unleased(id(1), "stop", SOON_MS).unwrap());
    assert!(!ledger.lease(&offer(1, 1), &queued(1, 1, 5), SOON_MS).unwrap());
    assert!(!ledger.offer(&offer(1, 1), SOON_MS).unwrap());
    assert_eq!(order(&ledger), [0; 0]);
    assert!(ledger.expired(SOON_MS - 1).unwrap().is_none());
    assert_eq!(ledger.expired(SOON_MS).unwrap().unwrap().stop_reason.as_deref(), Some("stop"));
    assert!(ledger.forget_stopped(id(1)).unwrap());
    // Stopped under a lease that is then lost: due at once.
    ledger.enqueue(&queued(2, 1, 5)).unwrap();
    let lease = leased(&ledger, 2, 1, 1);
    assert!(ledger.stop_leased(lease, "stop").unwrap());
    assert!(ledger.requeue(lease, &queued(2, 1, 5)).unwrap());
    assert_eq!(order(&ledger), [0; 0]);
    assert_eq!(ledger.expired(SOON_MS).unwrap().unwrap().execution_id, id(2));
}

#[test]
fn the_end_is_believed_of_the_lease_that_holds_it_and_of_newer_ones() {
    let ledger = ledger();
    for (n, generation, forgotten) in [(1, 1, false), (2, 2, true), (3, 3, true)] {
        ledger.enqueue(&queued(n, 1, 5)).unwrap();
        leased(&ledger, n, 1, 2);
        assert_eq!(ledger.forget_ended(Lease { execution_id: id(n), generation }).unwrap(), forgotten);
    }
    ledger.enqueue(&queued(4, 1, 5)).unwrap();
    assert!(
        ledger.forget_ended(Lease { execution_id: id(4), generation: 1 }).unwrap(),
        "it waits for nothing"
    );
}

#[test]
fn a_place_counts_only_the_owners_own() {
    let ledger = ledger();
    for n in 1..=3 {
        ledger.enqueue(&queued(n, 2, 9)).unwrap();
    }
    for (n, priority) in [(4, 5), (5, 5), (6, 9), (7, 0)] {
        ledger.enqueue(&queued(n, 1, priority)).unwrap();
    }
    let places = || [4, 5, 6, 7].map(|n| ledger.position(id(n)).unwrap());
    assert_eq!(places(), [Some(2), Some(3), Some(1), Some(4)]);
    assert!(ledger.offer(&offer(7, 1), SOON_MS).unwrap());
    assert_eq!(places(), [Some(2), Some(3), Some(1), Some(1)], "on offer is next");
    ledger.withdraw(&offer(7, 1)).unwrap();
    leased(&ledger, 6, 1, 1);
    assert!(ledger.stop_unleased(id(4), "stop", SOON_MS).unwrap());
    assert_eq!(places(), [Some(1), Some(1), None, Some(2)]);
    assert_eq!(ledger.position(id(99)).unwrap(), None);
}

#[test]
fn a_pass_reads_the_first_of_each_owner_however_much_waits() {
    let ledger = ledger();
    let many = LOOKED_AT_PER_OWNER + 50;
    for n in 1..=many {
        ledger.enqueue(&queued(n, 1, 5)).unwrap();
    }
    ledger.enqueue(&queued(many + 1, 1, 9)).unwrap();
    ledger.enqueue(&queued(many + 2, 2, 5)).unwrap();
    leased(&ledger, 1, 1, 1);
    let shares = ledger.shares().unwrap();
    let share = |of| (shares[&owner(of)].active, shares[&owner(of)].last_turn);
    assert_eq!((shares.len(), share(1), share(2)), (2, (1, 1), (0, 0)));
    let firsts = ledger.waiting([owner(1)].into_iter()).unwrap();
    let arrivals: Vec<u64> = firsts.iter().map(|waiting| waiting.arrival).collect();
    let wanted: Vec<u64> = [many + 1].into_iter().chain(2..=LOOKED_AT_PER_OWNER).collect();
    assert_eq!(arrivals, wanted);
    assert_eq!((firsts[0].memory_mb, firsts[0].cpu_cores, firsts[0].owner_concurrency), (2_048, 0.5, 5));
}

#[test]
fn every_statement_finds_its_rows_through_an_index() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(statements::SCHEMA).unwrap();
    let database = Database(connection);
    let source = include_str!("../dispatch/statements.rs");
    let named =
        source.lines().filter(|line| line.starts_with("pub const ") && line.contains(": &str")).count();
    assert_eq!(statements::ALL.len() + 1, named, "all but the schema are listed");
    let tables = database.tables();
    for (name, sql) in statements::ALL {
        let steps = plan(&database, sql);
        // The first of an index is one step, though SQLite calls it a scan.
        let found = steps.iter().find(|step| {
            scanned(&tables, step).is_some() && !step.contains("INDEX") || step.contains("USE TEMP B-TREE")
        });
        assert_eq!(found, None, "{name}: {steps:#?}");
    }
}

#[test]
fn what_an_execution_needs_and_a_machine_has_come_back_as_they_were_kept() {
    let ledger = ledger();
    let mut needing = queued(1, 1, 5);
    needing.sandbox_provider = Some(SandboxProvider::Oci);
    needing.image = Some("debian".into());
    ledger.enqueue(&needing).unwrap();
    ledger.enqueue(&queued(2, 1, 5)).unwrap();
    let needs: Vec<_> =
        ledger.waiting([owner(1)].into_iter()).unwrap().into_iter().map(|waiting| waiting.sandbox).collect();
    let oci = SandboxNeed {
        tier: SandboxTier::Limited,
        provider: Some(SandboxProvider::Oci),
        image: Some("debian".into()),
    };
    assert_eq!(needs, [oci, SandboxNeed::default()]);

    assert_eq!(ledger.sandboxes(machine(1)).unwrap(), []);
    let mut offered = OfferedSandbox::of_tier(SandboxTier::Strong);
    ledger.keep_machine(machine(1), &[]).unwrap();
    ledger.keep_machine(machine(1), std::slice::from_ref(&offered)).unwrap();
    offered.reason = String::new();
    assert_eq!(ledger.sandboxes(machine(1)).unwrap(), [offered], "what the last hello said");
    ledger.forget_machine(machine(1)).unwrap();
    assert_eq!(ledger.sandboxes(machine(1)).unwrap(), []);
}

/// A row of the version before, which named no provider and no image.
#[test]
fn an_older_row_needs_any_provider_and_image() {
    let mut older = serde_json::to_value(queued(1, 1, 5)).unwrap();
    for added in ["sandbox_provider", "image"] {
        assert!(older.as_object_mut().unwrap().remove(added).is_some());
    }
    let queued: Queued = serde_json::from_value(older).unwrap();
    assert_eq!((queued.sandbox_provider, queued.image), (None, None));
}
