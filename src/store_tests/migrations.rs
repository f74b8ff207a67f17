//! What the schema promises, however it came about.

use super::database::{Database, ids, migrations};

#[test]
fn all_apply_to_nothing_and_leave_a_sound_database() {
    let database = Database::new().filled();
    assert_eq!(database.value("PRAGMA integrity_check"), "ok");
    assert_eq!(database.texts("SELECT \"table\" FROM pragma_foreign_key_check"), [""; 0]);
}

#[test]
fn the_filling_reaches_every_table() {
    let database = Database::new().filled();
    for table in database.tables() {
        assert_ne!(
            database.value(&format!("SELECT count(*) FROM {table}")),
            "0",
            "{table}: give it a row in `rows`"
        );
    }
}

/// Rows as text, of these columns.
fn contents(database: &Database, table: &str, columns: &[String]) -> Vec<String> {
    let columns =
        columns.iter().map(|column| format!("quote({column})")).collect::<Vec<_>>().join(" || ',' || ");
    database.texts(&format!("SELECT {columns} FROM {table} ORDER BY 1"))
}

fn columns(database: &Database, table: &str) -> Vec<String> {
    database.texts(&format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid"))
}

#[test]
fn the_last_one_keeps_every_row_of_a_filled_database() {
    let migrations = migrations();
    let database = Database::of(migrations.len() - 1).filled();
    let tables: Vec<_> =
        database.tables().into_iter().map(|table| (columns(&database, &table), table)).collect();
    let before: Vec<_> = tables.iter().map(|(columns, table)| contents(&database, table, columns)).collect();
    // As wrangler does: the file as one batch.
    database.0.execute_batch(&migrations.last().unwrap().1).unwrap();
    for ((columns, table), before) in tables.iter().zip(before) {
        assert_eq!(contents(&database, table, columns), before, "{table}");
        assert!(!before.is_empty(), "{table}");
    }
    assert_eq!(database.texts("SELECT \"table\" FROM pragma_foreign_key_check"), [""; 0]);
}

#[test]
fn every_foreign_key_has_an_index_of_its_child() {
    let database = Database::new();
    let mut checked = 0;
    for table in database.tables() {
        for column in database.texts(&format!("SELECT \"from\" FROM pragma_foreign_key_list('{table}')")) {
            // A partial index serves if all it leaves out are nulls, which refer to nothing.
            let indexed = database.value(&format!(
                "SELECT count(*) FROM pragma_index_list('{table}') AS list JOIN pragma_index_info(list.name) AS info
                 WHERE info.seqno = 0 AND info.name = '{column}' AND (list.partial = 0 OR
                   (SELECT sql FROM sqlite_schema WHERE name = list.name) LIKE '%WHERE {column} IS NOT NULL')"
            ));
            assert_ne!(indexed, "0", "{table}.{column}: deleting its parent would scan {table}");
            checked += 1;
        }
    }
    assert!(checked >= 14, "only {checked} foreign keys were found");
}

/// Every column that holds a state or a kind, with all that the contracts write there.
fn states() -> Vec<(&'static str, &'static str, Vec<&'static str>)> {
    use shared_contracts::artifacts::ArtifactType as A;
    use shared_contracts::container_agents::ContainerAgentState as C;
    use shared_contracts::executions::ExecutionState;
    use shared_contracts::patches::PatchEventKind;
    use shared_contracts::patches::PatchState as P;
    use shared_contracts::sandboxes::{SandboxProvider, SandboxTier as S};
    use shared_contracts::tasks::TaskState as T;
    let tiers: Vec<_> = S::ALL.map(S::as_str).into();
    vec![
        (
            "tasks",
            "state",
            [T::Todo, T::InProgress, T::AiReview, T::HumanReview, T::Done].map(T::as_str).into(),
        ),
        ("executions", "state", ExecutionState::ALL.map(ExecutionState::as_str).into()),
        ("executions", "sandbox_tier", tiers.clone()),
        ("container_agents", "sandbox_tier", tiers.clone()),
        ("projects", "sandbox_tier_min", tiers),
        ("container_cleanups", "provider", SandboxProvider::ALL.map(SandboxProvider::as_str).into()),
        ("container_agents", "state", [C::Connected, C::Draining, C::Disconnected].map(C::as_str).into()),
        (
            "patch_batches",
            "state",
            [P::Proposed, P::Applied, P::Rejected, P::Conflicted].map(P::as_str).into(),
        ),
        ("patch_events", "kind", PatchEventKind::ALL.map(PatchEventKind::as_str).into()),
        (
            "execution_artifacts",
            "artifact_type",
            [A::File, A::Screenshot, A::TestReport, A::Coverage, A::Output].map(A::as_str).into(),
        ),
        ("deletions", "kind", vec!["project", "execution"]),
        ("settings", "type", vec!["string", "integer", "number"]),
    ]
}

/// What else a row must say in some of its states.
fn along(table: &str, state: &str) -> &'static str {
    match (table, state) {
        ("tasks", "in_progress") => ", active_execution_id = 'exe_something'",
        ("tasks", _) => ", active_execution_id = NULL",
        ("executions", "succeeded" | "failed" | "cancelled" | "timed_out") => ", ended_at_ms = 4",
        ("executions", "queued" | "leased" | "running") => ", ended_at_ms = NULL",
        ("patch_batches", "applied") => ", revision_after = 1",
        _ => "",
    }
}

#[test]
fn states_are_those_of_the_contracts_and_no_other() {
    let database = Database::new().filled();
    for (table, column, known) in states() {
        for state in &known {
            let sql = format!("UPDATE {table} SET {column} = '{state}'{}", along(table, state));
            assert!(database.try_change(&sql, &[]).is_ok(), "{table}.{column} refuses {state}");
        }
        for unknown in ["", "unknown", &known[0].to_uppercase()] {
            let refused = database.try_change(&format!("UPDATE {table} SET {column} = '{unknown}'"), &[]);
            let error = refused.expect_err(&format!("{table}.{column} takes `{unknown}`")).to_string();
            assert!(error.contains("CHECK constraint failed"), "{error}");
        }
        assert!(database.try_change(&format!("UPDATE {table} SET {column} = NULL"), &[]).is_err());
    }
}

#[test]
fn a_column_that_names_states_is_tested_here() {
    let database = Database::new();
    for table in database.tables() {
        let sql = database.value(&format!("SELECT sql FROM sqlite_schema WHERE name = '{table}'"));
        let listed = sql.matches(" IN ('").count();
        // The check that an ended execution says when, and that an artifact has a type, are lists too.
        let tested =
            states().iter().filter(|(of, ..)| *of == table).count() + usize::from(table == "executions");
        assert_eq!(listed, tested, "{table}: {sql}");
    }
}

#[test]
fn a_row_says_what_its_state_means() {
    let database = Database::new().filled();
    let refused = |sql: &str| {
        let error = database.try_change(sql, &[]).expect_err(sql).to_string();
        assert!(error.contains("CHECK constraint failed"), "{sql}: {error}");
    };
    refused("UPDATE tasks SET state = 'in_progress'");
    refused("UPDATE tasks SET active_execution_id = 'exe_something'");
    refused("UPDATE executions SET state = 'running'");
    refused("UPDATE executions SET ended_at_ms = NULL");
    refused("UPDATE patch_batches SET state = 'applied'");
    refused("UPDATE access_tokens SET token_sha256 = 'short'");
    refused("UPDATE tasks SET priority = 10");
}

#[test]
fn deleting_an_owner_leaves_nothing_of_theirs() {
    let database = Database::new().filled();
    database.change("DELETE FROM owners WHERE id = ?1", crate::args![ids::owner()]);
    // What is left to remove outside of D1 outlives its owner.
    for table in database.tables().iter().filter(|table| !["settings", "deletions"].contains(&table.as_str()))
    {
        assert_eq!(database.value(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
    }
}

#[test]
fn the_settings_are_the_required_defaults() {
    let database = Database::new();
    let settings = database.texts(
        "SELECT key || ' = ' || value || ' ' || type FROM settings WHERE is_secret = 0 AND is_user_editable = 1
         AND category = 'sandbox' ORDER BY key",
    );
    assert_eq!(
        settings,
        [
            "sandbox.artifact_retention_days = 30 integer",
            "sandbox.cleanup_interval_minutes = 5 integer",
            "sandbox.cpu_cores_max = 8.0 number",
            "sandbox.default_cpu_cores = 2.0 number",
            "sandbox.default_image = ubuntu:22.04 string",
            "sandbox.default_memory_mb = 2048 integer",
            "sandbox.default_provider = local string",
            "sandbox.default_timeout_seconds = 3600 integer",
            "sandbox.disk_mb_max = 20480 integer",
            "sandbox.log_retention_days = 30 integer",
            "sandbox.max_concurrent = 5 integer",
            "sandbox.memory_mb_max = 16384 integer",
            "sandbox.processes_max = 4096 integer",
            "sandbox.wall_seconds_max = 86400 integer",
        ]
    );
}
