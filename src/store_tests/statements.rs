//! Every statement that a store has: it fits the schema, and finds its rows through an index.

use super::database::{Database, SMALL_TABLES};
use crate::{
    accounts, artifacts, container_agents, deletions, entry, executions, patches, projects, secrets, tasks,
};

type Statements = &'static [(&'static str, &'static str)];

/// Each store's list, and the file that it is in.
const STORES: &[(&str, Statements)] = &[
    ("accounts/store.rs", accounts::store::STATEMENTS),
    ("artifacts/store.rs", artifacts::store::STATEMENTS),
    ("container_agents/store.rs", container_agents::store::STATEMENTS),
    ("deletions/store.rs", deletions::store::STATEMENTS),
    ("entry/idempotency.rs", entry::idempotency::STATEMENTS),
    ("executions/store.rs", executions::store::STATEMENTS),
    ("patches/store.rs", patches::store::STATEMENTS),
    ("projects/store.rs", projects::store::STATEMENTS),
    ("secrets/store.rs", secrets::store::STATEMENTS),
    ("tasks/store.rs", tasks::store::STATEMENTS),
];

fn each(mut test: impl FnMut(&str, &'static str)) {
    for (file, statements) in STORES {
        for (name, sql) in *statements {
            test(&format!("{file} {name}"), sql);
        }
    }
}

/// A statement that is not in its store's list would be tested by nobody.
#[test]
fn every_statement_is_listed_under_its_name() {
    for (file, statements) in STORES {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file);
        let source = std::fs::read_to_string(path).unwrap();
        let named: Vec<_> = source
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str"))
            .map(|(name, _)| name)
            .collect();
        let mut listed: Vec<_> = statements.iter().map(|(name, _)| *name).collect();
        listed.sort_unstable();
        let mut wanted = named.clone();
        wanted.sort_unstable();
        assert_eq!(listed, wanted, "{file}");
    }
}

#[test]
fn every_store_is_tested() {
    fn stores(folder: &std::path::Path, found: &mut Vec<String>) {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                stores(&path, found);
            } else if std::fs::read_to_string(&path).unwrap().contains("\npub const STATEMENTS") {
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    stores(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    for path in &found {
        assert!(STORES.iter().any(|(file, _)| path.ends_with(file)), "{path}");
    }
    assert_eq!(found.len(), STORES.len());
}

#[test]
fn every_statement_fits_the_schema() {
    let database = Database::new();
    each(|name, sql| {
        let prepared = database.0.prepare(sql);
        assert!(prepared.is_ok(), "{name}: {:?}", prepared.err());
    });
}

/// The steps of SQLite's plan.
pub fn plan(database: &Database, sql: &str) -> Vec<String> {
    let mut statement = database.0.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // What a parameter is does not change the plan: there are no statistics.
    let parameters = vec![rusqlite::types::Value::Null; statement.parameter_count()];
    let steps = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get("detail")).unwrap();
    steps.map(Result::unwrap).collect()
}

/// The table that a step reads from its beginning to its end, if it does that to one that grows.
pub fn scanned<'a>(tables: &[String], step: &'a str) -> Option<&'a str> {
    let table = step.strip_prefix("SCAN ")?.split(' ').next()?;
    (tables.iter().any(|known| known == table) && !SMALL_TABLES.contains(&table)).then_some(table)
}

#[test]
fn no_statement_scans_a_table_that_grows() {
    let database = Database::new();
    let tables = database.tables();
    each(|name, sql| {
        let steps = plan(&database, sql);
        let found: Vec<_> = steps.iter().filter_map(|step| scanned(&tables, step)).collect();
        assert!(found.is_empty(), "{name} reads all of {found:?}: {steps:#?}");
        // A sort of what an index found would grow with what it found.
        let sorts = steps.iter().any(|step| step.contains("USE TEMP B-TREE"));
        assert!(!sorts || sql.contains("FROM page ORDER BY"), "{name} sorts: {steps:#?}");
    });
}

#[test]
fn a_scan_would_be_noticed() {
    let database = Database::new();
    let tables = database.tables();
    for (sql, table) in [
        ("SELECT * FROM executions WHERE reason = ?1", Some("executions")),
        ("SELECT id FROM tasks ORDER BY id", Some("tasks")),
        ("DELETE FROM patch_events WHERE created_at_ms < ?1", Some("patch_events")),
        ("SELECT * FROM settings", None),
        ("SELECT value FROM json_each(?1)", None),
    ] {
        let steps = plan(&database, sql);
        assert_eq!(steps.iter().find_map(|step| scanned(&tables, step)), table, "{sql}: {steps:?}");
    }
}
