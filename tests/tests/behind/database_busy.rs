//! D1 is busy: what asks for it is told to come again, what has ended is recorded once it is back.

use std::path::Path;
use std::time::Duration;

use acceptance::agents::{ScriptedAgent, Tenant, Writer, ended, line};
use acceptance::{Answer, Project, command, plane};
use reqwest::Method;
use rusqlite::Connection;
use shared_contracts::append::AppendAnswer;
use shared_contracts::executions::{ExecutionState, Outcome};
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::{CreateTask, TaskState};

use crate::{alone, sqlite_files};

const D1: &str = "d1/miniflare-D1DatabaseObject";

/// The write lock of D1's file, in another program's hand.
struct Lock(Connection);

impl Lock {
    fn take() -> Self {
        let files = sqlite_files(&plane().state_folder().join("worker/v3").join(D1));
        let [file] = files.as_slice() else { panic!("one database, not {files:?}") };
        let connection = Connection::open(Path::new(file)).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        Self(connection)
    }

    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// A task's creation, whatever comes of it.
async fn create_task(project: &Project, title: &str) -> Answer {
    let input = CreateTask { title: title.into(), description: String::new(), priority: 5 };
    let call = project.client.call(Method::POST, format!("/api/projects/{}/tasks", project.id));
    Answer::to(call.json(&input)).await
}

#[tokio::test]
async fn what_cannot_be_written_is_to_be_sent_again() {
    let _alone = alone().await;
    let project = Project::new().await;
    let lock = Lock::take();
    let refused = create_task(&project, "refused").await;
    lock.release();
    refused.problem(ProblemKind::Overloaded);
    let wait: u64 = refused.header("retry-after").expect("it says when").parse().unwrap();
    assert!((1..60).contains(&wait), "{wait} s");
    assert_eq!(create_task(&project, "taken").await.status, 201);
    let tasks = plane().sql(&format!("SELECT title FROM tasks WHERE project_id = '{}'", project.id)).unwrap();
    assert_eq!(tasks, [serde_json::json!({"title": "taken"})], "the refused one left nothing");
}

#[tokio::test]
async fn an_end_is_recorded_once_the_database_is_back() {
    let _alone = alone().await;
    let tenant = Tenant::of(plane(), 1);
    let project = Project::of(tenant.client.clone()).await;
    let mut agent = ScriptedAgent::connect(&tenant, "busy", 1).await;
    let task = project.task().await;
    let execution = project.client.create_execution(project.id, task.id, &command(&["true"])).await.unwrap();
    let leased = agent.takes_work().await;
    assert_eq!(leased.lease.execution_id, execution.id);
    let (mut writer, _) = Writer::open(&tenant.client, execution.id, &leased.execution_token).await;
    let lock = Lock::take();
    let first = leased.next_sequence;
    let answer = writer.send(1, first, &[line("the last words"), ended(Outcome::Succeeded)]).await;
    assert_eq!(answer, AppendAnswer::Acknowledged { through: first + 1 }, "the log has it");
    let before = project.client.get_execution(execution.id).await;
    lock.release();
    assert!(before.is_ok_and(|found| !found.state.is_ended()), "and the record cannot have it yet");
    let found = project.client.poll_until_ended(execution.id, Duration::from_secs(60)).await.unwrap();
    assert_eq!((found.state, found.event_count), (ExecutionState::Succeeded, Some(first + 1)));
    assert_eq!(project.find_task(task.id).await.state, TaskState::AiReview);
    let events = project.client.all_events(execution.id).await.unwrap();
    assert_eq!(events.len() as u64, first + 1, "and it ended once");
}
