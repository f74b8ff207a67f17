//! Records as the contracts have them: what the statements write as JSON is what the types read. And projects and
//! tasks, which are little more than records.

use serde::de::DeserializeOwned;
use shared_contracts::accounts::AccessToken;
use shared_contracts::artifacts::Artifact;
use shared_contracts::container_agents::ContainerAgent;
use shared_contracts::executions::Execution;
use shared_contracts::ids::ProjectId;
use shared_contracts::page::Page;
use shared_contracts::patches::PatchSummary;
use shared_contracts::projects::Project;
use shared_contracts::tasks::Task;

use super::database::{Database, ids};
use crate::deletions::store::{Deletion, Leftover};
use crate::executions::store::Settings;
use crate::{accounts, args, artifacts, container_agents, deletions, executions, patches, projects, tasks};

fn page<T: DeserializeOwned>(
    database: &Database,
    sql: &str,
    parent: &str,
    after: &str,
    limit: u32,
) -> Page<T> {
    database.typed(sql, args![parent, after, limit]).unwrap()
}

fn only<T: DeserializeOwned>(database: &Database, sql: &str, parent: String) -> T {
    let mut found = page(database, sql, &parent, "~", 50);
    assert_eq!((found.items.len(), found.next), (1, None), "{sql}");
    assert!(page::<T>(database, sql, "another", "~", 50).items.is_empty(), "{sql}");
    found.items.remove(0)
}

#[test]
fn every_list_gives_what_its_contract_reads_and_of_its_parent_only() {
    let database = Database::new().filled();
    let (owner, project, task, execution) = (ids::owner(), ids::project(), ids::task(), ids::execution());
    assert_eq!(only::<Project>(&database, projects::store::LIST, owner.clone()).name, "P");
    assert_eq!(only::<Task>(&database, tasks::store::LIST, project.clone()).error.as_deref(), Some("why"));
    assert_eq!(only::<Execution>(&database, executions::store::LIST, task).exit_code, Some(1));
    assert_eq!(only::<Artifact>(&database, artifacts::store::LIST, execution).size_bytes, 3);
    assert_eq!(only::<PatchSummary>(&database, patches::store::LIST, project).title, "change");
    assert_eq!(only::<AccessToken>(&database, accounts::store::LIST, owner.clone()).name, "first");
    assert!(only::<ContainerAgent>(&database, container_agents::store::LIST, owner).shared);
}

#[test]
fn pages_give_every_item_once_newest_first() {
    let database = Database::new().filled();
    let id = |number: u64| ProjectId::new(number, 0).to_string();
    for number in 2..=7 {
        database.change(projects::store::INSERT, args![id(number), ids::owner(), "n", "", number]);
    }
    for limit in 1..=9 {
        let (mut after, mut found) = (String::from("~"), Vec::new());
        loop {
            let page: Page<Project> = page(&database, projects::store::LIST, &ids::owner(), &after, limit);
            assert!(page.items.len() <= limit as usize && !page.items.is_empty(), "pages of {limit}");
            found.extend(page.items.iter().map(|project| project.created_at_ms));
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert_eq!(found, [7, 6, 5, 4, 3, 2, 1], "pages of {limit}");
    }
}

#[test]
fn a_second_try_with_the_same_id_is_the_same_thing() {
    let database = Database::new().filled();
    assert_eq!(database.change(projects::store::INSERT, args![ids::project(), "own_other", "x", "", 9]), 0);
    let task = args![ids::task(), ids::project(), "x", "", 1, 9];
    assert_eq!(database.change(tasks::store::INSERT, task), 0);
    let found: Task =
        database.typed(tasks::store::GET, args![ids::task(), ids::project(), ids::owner()]).unwrap();
    assert_eq!(found.title, "T");
}

#[test]
fn what_is_absent_of_an_update_stays_and_what_is_anothers_too() {
    let database = Database::new().filled();
    let none = None::<String>;
    let update = |owner: String| {
        database.change(
            projects::store::UPDATE,
            args![ids::project(), owner, "new", none.clone(), none.clone(), none.clone(), none.clone(), 9],
        )
    };
    assert_eq!((update("own_other".into()), update(ids::owner())), (0, 1));
    let found: Project = database.typed(projects::store::GET, args![ids::project(), ids::owner()]).unwrap();
    assert_eq!((found.name.as_str(), found.description.as_str(), found.updated_at_ms), ("new", "d", 9));
    assert_eq!(database.record(projects::store::GET, args![ids::project(), "own_other"]), None);
    assert_eq!(database.record(tasks::store::GET, args![ids::task(), ids::project(), "own_other"]), None);
}

#[test]
fn a_task_moves_only_from_where_it_was_seen() {
    let database = Database::new().filled();
    let none = None::<String>;
    let to = |next: &str, from: &str| {
        let (task, project) = (ids::task(), ids::project());
        let args = args![task, project, none.clone(), none.clone(), none.clone(), next, from, 9];
        database.change(tasks::store::UPDATE, args)
    };
    assert_eq!(to("done", "ai_review"), 0, "it is not there");
    assert_eq!(to("ai_review", "todo"), 1);
    assert_eq!(to("ai_review", "todo"), 0, "the same again");
}

#[test]
fn nothing_is_deleted_under_an_active_execution() {
    let database = Database::new().filled();
    let task = |owner: &str| {
        database.change(tasks::store::LEAVE_EXECUTIONS, args![ids::task(), ids::project(), owner, 9]);
        database.change(tasks::store::DELETE, args![ids::task(), ids::project(), owner])
    };
    let project = |owner: &str| {
        database.change(projects::store::LEAVE, args![ids::project(), owner, 9]);
        database.change(projects::store::LEAVE_EXECUTIONS, args![ids::project(), 9]);
        database.change(projects::store::DELETE, args![ids::project()])
    };
    let left = || database.texts("SELECT id FROM deletions WHERE deleted_at_ms = 9 ORDER BY id");
    database.change("UPDATE executions SET state = 'queued', ended_at_ms = NULL", &[]);
    assert_eq!(project(&ids::owner()), 0);
    database
        .change("UPDATE tasks SET state = 'in_progress', active_execution_id = ?1", args![ids::execution()]);
    assert_eq!(task(&ids::owner()), 0);
    database.change("UPDATE executions SET state = 'failed', ended_at_ms = 5", &[]);
    database.change("UPDATE tasks SET state = 'todo', active_execution_id = NULL", &[]);
    assert_eq!((task("own_other"), project("own_other")), (0, 0), "another's");
    assert_eq!(left(), [""; 0], "what stays leaves nothing");
    assert_eq!(task(&ids::owner()), 1);
    assert_eq!(database.value("SELECT count(*) FROM executions"), "0", "its executions go along");
    assert_eq!(project(&ids::owner()), 1);
    assert_eq!(database.value("SELECT count(*) FROM patch_events"), "0");
    assert_eq!(left(), [ids::execution(), ids::project()]);
    assert_eq!(project(&ids::owner()), 0, "the same again");
}

#[test]
fn a_project_leaves_itself_and_its_executions() {
    let database = Database::new().filled();
    let (project, owner) = (ids::project(), ids::owner());
    assert_eq!(database.change(projects::store::LEAVE, args![project.as_str(), owner, 9]), 1);
    assert_eq!(database.change(projects::store::LEAVE_EXECUTIONS, args![project.as_str(), 9]), 1);
    assert_eq!(database.change(projects::store::DELETE, args![project.as_str()]), 1);
    assert_eq!(database.value("SELECT count(*) FROM executions"), "0");
    let due = |now_ms: u64, limit: u32| -> Vec<Deletion> {
        database.typed(deletions::store::DUE, args![now_ms, limit]).unwrap()
    };
    let found = due(9, 10);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].what, Leftover::Execution { id: ids::deleted_execution().parse().unwrap() });
    assert_eq!(found[0].deleted_at_ms, 5);
    assert!(
        found[1..].contains(&Deletion {
            what: Leftover::Project { id: project.parse().unwrap() },
            deleted_at_ms: 9
        })
    );
    assert_eq!((due(8, 10).len(), due(6, 10).len(), due(9, 2).len()), (1, 0, 2), "oldest first, bounded");
    assert_eq!(database.change(deletions::store::POSTPONE, args![ids::deleted_execution(), 10]), 1);
    assert_eq!(due(9, 10).len(), 2, "others go first");
    assert_eq!(database.change(deletions::store::DONE, args![ids::deleted_execution()]), 1);
    assert_eq!(database.change(deletions::store::DONE, args![ids::deleted_execution()]), 0);
}

#[test]
fn settings_are_numbers_where_they_say_so() {
    let settings: Settings = Database::new().typed(executions::store::SETTINGS, &[]).unwrap();
    assert_eq!(settings.number("sandbox.default_memory_mb"), Some(2_048u32));
    assert_eq!(settings.number("sandbox.default_cpu_cores"), Some(2.0f64));
    assert_eq!(settings.number::<u32>("sandbox.default_image"), None);
    assert_eq!(settings.number::<u32>("nothing"), None);
}
