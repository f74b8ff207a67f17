//! What machines offer and clean up, and whose executions are asked about.

use shared_contracts::containers::ContainerCleanup;
use shared_contracts::ids::{ContainerAgentId, ContainerCleanupId, ExecutionId, OwnerId};
use shared_contracts::page::Page;
use shared_contracts::sandboxes::{Finding, OfferedSandbox, SandboxTier, Verdict};

use super::database::{Database, ids, migrations};
use crate::args;
use crate::container_agents::store as machines;
use crate::executions::store::{OWNED, Owned, UNMOVED, Unmoved};

/// The migration makes a column anew under rows that others refer to.
#[test]
fn tiers_outlive_the_change_of_their_column() {
    let migrations = migrations();
    let sandboxes = migrations.iter().position(|(name, _)| name.starts_with("0008")).unwrap();
    let database = Database::of(sandboxes).filled();
    for (n, tier) in ["none", "limited", "strong"].into_iter().enumerate() {
        let id = ExecutionId::new(50 + n as u64, 1).to_string();
        database.change(
            "INSERT INTO executions (id, project_id, task_id, owner_id, state, priority, spec, sandbox_tier,
               container_agent_id, retry_of, created_at_ms, changed_at_ms)
             SELECT ?1, project_id, task_id, owner_id, 'queued', 5, spec, ?2, container_agent_id, id, 1, 1
               FROM executions WHERE id = ?3",
            args![id, tier, ids::execution()],
        );
    }
    database.0.execute_batch(&migrations[sandboxes].1).unwrap();
    assert_eq!(
        database.texts("SELECT sandbox_tier FROM executions ORDER BY id"),
        ["limited", "none", "limited", "strong"]
    );
    assert_eq!(database.value("SELECT sandbox_tier FROM container_agents"), "strong");
    assert_eq!(database.value("SELECT count(*) FROM execution_artifacts"), "1", "nothing went along");
    assert_eq!(database.value("SELECT count(*) FROM executions WHERE retry_of IS NOT NULL"), "3");
    assert_eq!(database.texts("SELECT \"table\" FROM pragma_foreign_key_check"), [""; 0]);
    database.change("UPDATE executions SET sandbox_tier = 'engine'", &[]);
    database.change("UPDATE container_agents SET sandbox_tier = 'engine'", &[]);
}

fn connect(database: &Database, n: u128, owner: &str, shared: bool, sandboxes: &[OfferedSandbox]) -> String {
    let id = ContainerAgentId::new(2, n).to_string();
    let sandboxes = serde_json::to_string(sandboxes).unwrap();
    let args = args![id.as_str(), owner, format!("m{n}"), "1", 2, "limited", 64, 1.0, shared, 30, sandboxes];
    database.record(machines::CONNECT, args).unwrap();
    id
}

fn usable(database: &Database, owner: &str, limit: u32) -> Vec<String> {
    let machines: Vec<machines::Machine> = database.typed(machines::USABLE, args![owner, limit]).unwrap();
    machines.into_iter().map(|machine| machine.name).collect()
}

#[test]
fn an_owner_may_use_its_own_and_shared_machines_that_take_work() {
    let database = Database::new().filled();
    let (owner, other) = (ids::owner(), OwnerId::new(9, 9).to_string());
    database.change("INSERT INTO owners VALUES (?1, 'Bob', 1)", args![other.as_str()]);
    connect(&database, 1, &owner, false, &[]);
    connect(&database, 2, &other, false, &[]);
    connect(&database, 3, &other, true, &[]);
    let draining = connect(&database, 4, &owner, true, &[]);
    database.change(machines::DRAINING, args![draining]);
    // The filled one is shared, the owner's, and disconnected.
    assert_eq!(usable(&database, &owner, 9), ["m1", "m3"]);
    let others = usable(&database, &other, 9);
    assert_eq!(others.len(), 2, "its own once, though it is shared: {others:?}");
    assert_eq!(usable(&database, &owner, 1), ["m1"], "bounded, its own first");
}

#[test]
fn only_who_has_not_come_back_is_recorded_as_gone() {
    let database = Database::new().filled();
    let id = connect(&database, 1, &ids::owner(), false, &[]);
    let connected = |before_ms: u64| database.typed::<Vec<String>>(machines::CONNECTED, args![before_ms, 9]);
    assert_eq!((connected(30), connected(31)), (Some(Vec::new()), Some(vec![id.clone()])));
    let gone = |before_ms: u64| database.change(machines::NOT_CONNECTED, args![id.as_str(), 99, before_ms]);
    assert_eq!((gone(30), gone(31)), (0, 1));
    assert_eq!(connected(31), Some(Vec::new()));
}

#[test]
fn what_a_machine_may_do_is_read_without_all_that_was_found() {
    let database = Database::new().filled();
    let finding = Finding {
        what: "cgroup".into(),
        verdict: Verdict::Limited,
        found: "v1".into(),
        meaning: "m".into(),
        fix: "f".into(),
    };
    let offered = OfferedSandbox { findings: vec![finding], ..OfferedSandbox::of_tier(SandboxTier::Limited) };
    let id = connect(&database, 1, &ids::owner(), false, std::slice::from_ref(&offered));
    let machines: Vec<machines::Machine> = database.typed(machines::USABLE, args![ids::owner(), 9]).unwrap();
    assert_eq!(machines[0].sandboxes, [OfferedSandbox { findings: Vec::new(), ..offered.clone() }]);
    let shown: shared_contracts::container_agents::ContainerAgent =
        database.typed(machines::GET, args![id, ids::owner()]).unwrap();
    assert_eq!(shown.sandboxes, [offered]);
}

#[test]
fn the_newest_cleanups_are_kept_each_once() {
    let database = Database::new().filled();
    let report = |numbers: std::ops::RangeInclusive<u64>| {
        let rows: Vec<_> = numbers
            .map(|n| {
                serde_json::json!({
                    "id": ContainerCleanupId::new(100 + n, 1),
                    "container_id": format!("{}.{n}", ids::execution()),
                    "provider": "namespaces",
                    "reason": "its container agent had died",
                    "at_ms": 100 + n,
                })
            })
            .collect();
        let rows = serde_json::to_string(&rows).unwrap();
        database.change(machines::CLEANED_UP, args![rows, ids::machine()])
    };
    assert_eq!((report(1..=3), report(2..=4)), (3, 1), "told again it is the same");
    let listed = || -> Vec<u64> {
        let args = args![ids::machine(), "~", 50];
        let page: Page<ContainerCleanup> = database.typed(machines::LIST_CLEANUPS, args).unwrap();
        page.items.into_iter().map(|cleanup| cleanup.at_ms).collect()
    };
    // With the filled one.
    assert_eq!(listed(), [104, 103, 102, 101, 3]);
    assert_eq!(database.change(machines::FORGET_CLEANUPS, args![ids::machine(), 5]), 0);
    assert_eq!(database.change(machines::FORGET_CLEANUPS, args![ids::machine(), 3]), 2);
    assert_eq!(listed(), [104, 103, 102]);
    assert_eq!(database.change(machines::FORGET_CLEANUPS, args!["cag_another", 0]), 0);
}

#[test]
fn only_the_owners_executions_are_found_by_their_ids() {
    let database = Database::new().filled();
    let wanted = serde_json::to_string(&[ids::execution(), ids::deleted_execution()]).unwrap();
    let found = |owner: &str| -> Vec<Owned> { database.typed(OWNED, args![wanted.as_str(), owner]).unwrap() };
    let mine = found(&ids::owner());
    assert_eq!(mine.len(), 1);
    assert_eq!((mine[0].id.to_string(), mine[0].project_id.to_string()), (ids::execution(), ids::project()));
    assert!(found("own_other").is_empty());
}

#[test]
fn the_reconciler_reads_what_an_execution_needs() {
    let database = Database::new().filled();
    let waits = "UPDATE executions SET state = 'queued', ended_at_ms = NULL";
    database.change(waits, &[]);
    let unmoved = || database.typed::<Vec<Unmoved>>(UNMOVED, args![9, 1]).unwrap().remove(0);
    assert_eq!((unmoved().sandbox_provider, unmoved().image), (None, None), "a spec of before");
    database.change(
        "UPDATE executions SET spec = json_set(spec, '$.sandbox_provider', 'oci', '$.image', 'debian')",
        &[],
    );
    assert_eq!(unmoved().sandbox_provider, Some(shared_contracts::sandboxes::SandboxProvider::Oci));
    assert_eq!(unmoved().image.as_deref(), Some("debian"));
}
