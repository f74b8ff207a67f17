//! A task with its execution.

use std::time::Duration;

use shared_contracts::events::{Event, EventBody, LogStream};
use shared_contracts::executions::{CreateExecution, Execution, ExecutionState};
use shared_contracts::ids::{ExecutionId, ProjectId, TaskId};
use shared_contracts::page::PageQuery;
use shared_contracts::tasks::Task;
use xtask::client::Client;

use super::{Log, SOON, eventually, soon};
use crate::{Project, command};

/// For executions to their end.
const ENDS_WITHIN: Duration = Duration::from_secs(180);

pub fn shell(script: &str) -> CreateExecution {
    command(&["/bin/sh", "-c", script])
}

#[derive(Debug, Clone)]
pub struct Job {
    pub client: Client,
    pub project: ProjectId,
    pub task: TaskId,
    pub id: ExecutionId,
}

impl Job {
    /// A new task, executed.
    pub async fn submit(project: &Project, input: &CreateExecution) -> Self {
        let task = project.task().await;
        let execution = project.client.create_execution(project.id, task.id, input).await;
        let id = execution.expect("the execution is created").id;
        Self { client: project.client.clone(), project: project.id, task: task.id, id }
    }

    pub async fn script(project: &Project, script: &str) -> Self {
        Self::submit(project, &shell(script)).await
    }

    /// Another execution of the same task.
    pub fn sibling(&self, execution: &Execution) -> Self {
        Self { id: execution.id, ..self.clone() }
    }

    pub async fn record(&self) -> Execution {
        self.client.get_execution(self.id).await.expect("the execution is given")
    }

    pub async fn task(&self) -> Task {
        self.client.get_task(self.project, self.task).await.expect("the task is given")
    }

    /// Waits until its record says so.
    pub async fn reaches(&self, state: ExecutionState) -> Execution {
        eventually(&format!("{} is {state:?}", self.id), SOON, async || {
            let record = self.record().await;
            assert!(
                record.state == state || !record.state.is_ended(),
                "wanted {state:?}, it ended as {record:?}"
            );
            (record.state == state).then_some(record)
        })
        .await
    }

    /// Waits until its record says that it has ended.
    pub async fn ends(&self) -> Execution {
        eventually(&format!("{} ends", self.id), ENDS_WITHIN, async || {
            Some(self.record().await).filter(|record| record.state.is_ended())
        })
        .await
    }

    /// Waits for the first event like this.
    pub async fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.event_after(0, what, wanted).await
    }

    pub async fn event_after(&self, after: u64, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut watcher = self.client.watch(self.id, after);
        soon(&format!("{}: {what}", self.id), SOON, async {
            loop {
                match watcher.next().await.expect("the stream goes on") {
                    Some(event) if wanted(&event) => return event,
                    Some(_) => {}
                    None => panic!("it ended without {what}"),
                }
            }
        })
        .await
    }

    /// Waits until it prints this line.
    pub async fn prints(&self, line: &str) -> Event {
        self.event(&format!("the line `{line}`"), |event| {
            matches!(&event.body, EventBody::Log { stream: LogStream::Stdout, text, .. } if text == line)
        })
        .await
    }

    /// Waits until it ends; the log, which must be whole.
    pub async fn log(&self) -> Log {
        self.ends().await;
        Log::whole(self.client.all_events(self.id).await.expect("the events are given"))
    }

    pub async fn stop(&self) -> Execution {
        self.client.stop_execution(self.id).await.expect("it is stopped")
    }

    /// Executions of its task, newest first.
    pub async fn history(&self) -> Vec<Execution> {
        let page = PageQuery { after: None, limit: None };
        self.client.list_executions(self.project, self.task, &page).await.expect("they are listed").items
    }
}
