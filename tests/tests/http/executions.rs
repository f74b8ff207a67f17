//! Executions up to the moment at which a machine takes them, and their logs. No container agent is connected here.

use std::time::Duration;

use acceptance::{Answer, Project, command, every_page, refused};
use futures_util::StreamExt as _;
use reqwest::Method;
use shared_contracts::events::{Event, EventBody, EventPage, EventQuery, LogLevel, SearchQuery};
use shared_contracts::executions::{Execution, ExecutionState, Outcome, RequestedLimits};
use shared_contracts::ids::ExecutionId;
use shared_contracts::problem::ProblemKind;
use shared_contracts::tasks::TaskState;
use tokio_tungstenite::tungstenite::{self, Message};
use xtask::client::ClientError;
use xtask::client::sse_parser::{SseEvent, SseParser};

/// An execution that was stopped before any machine took it.
async fn stopped() -> (Project, Execution) {
    let project = Project::with(&[("a", "1\n")]).await;
    let (_, execution) = project.queued().await;
    let stopped = project.client.stop_execution(execution.id).await.unwrap();
    (project, stopped)
}

fn ended(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event.body, EventBody::Ended { .. })).count()
}

#[tokio::test]
async fn an_execution_waits_with_its_place_in_the_queue() {
    let project = Project::with(&[("a", "1\n")]).await;
    let client = &project.client;
    let (task, execution) = project.queued().await;
    assert_eq!(
        (execution.state, execution.generation, execution.task_id),
        (ExecutionState::Queued, 0, task.id)
    );
    let spec = &execution.spec;
    assert_eq!((spec.base_revision, spec.limits.memory_mb, spec.limits.wall_seconds), (1, 2_048, 3_600));
    assert_eq!((spec.limits.cpu_cores, spec.command.as_slice()), (2.0, ["true".to_owned()].as_slice()));
    let found = client.get_execution(execution.id).await.unwrap();
    let place = found.queue_position.unwrap();
    assert!(place >= 1);
    assert_eq!(Execution { queue_position: None, ..found }, execution);
    let now = project.find_task(task.id).await;
    assert_eq!((now.state, now.active_execution_id), (TaskState::InProgress, Some(execution.id)));
    let under_task: Execution = client
        .call(
            Method::GET,
            format!("/api/projects/{}/tasks/{}/executions/{}", project.id, task.id, execution.id),
        )
        .typed()
        .await
        .unwrap();
    assert_eq!(under_task.id, execution.id);
    client.stop_execution(execution.id).await.unwrap();
}

#[tokio::test]
async fn priority_goes_first_in_the_queue() {
    let project = Project::new().await;
    let client = &project.client;
    let mut waiting = Vec::new();
    for priority in [0, 9, 5] {
        let input = shared_contracts::executions::CreateExecution { priority, ..command(&["true"]) };
        let task = project.task().await;
        waiting.push(client.create_execution(project.id, task.id, &input).await.unwrap().id);
    }
    let mut places = Vec::new();
    for id in &waiting {
        places.push(client.get_execution(*id).await.unwrap().queue_position.unwrap());
    }
    assert!(places[1] < places[2] && places[2] < places[0], "{places:?}");
    for id in waiting {
        client.stop_execution(id).await.unwrap();
        assert_eq!(client.get_execution(id).await.unwrap().queue_position, None);
    }
}

#[tokio::test]
async fn what_is_asked_for_goes_over_the_defaults() {
    let project = Project::new().await;
    let task = project.task().await;
    let limits = RequestedLimits { memory_mb: Some(64), wall_seconds: Some(5), ..RequestedLimits::default() };
    let input = shared_contracts::executions::CreateExecution {
        limits,
        environment: [("A_B".to_owned(), "value with \"quotes\"\n".to_owned())].into(),
        artifacts: vec!["out/**".into()],
        ..command(&["sh", "-c", "echo ü; exit 3"])
    };
    let made = project.client.create_execution(project.id, task.id, &input).await.unwrap();
    assert_eq!((made.spec.limits.memory_mb, made.spec.limits.wall_seconds), (64, 5));
    assert_eq!(made.spec.limits.processes, 1_024);
    assert_eq!((&made.spec.command, &made.spec.environment), (&input.command, &input.environment));
    assert_eq!((&made.spec.artifacts, made.spec.base_revision), (&input.artifacts, 0));
    let found = project.client.get_execution(made.id).await.unwrap();
    assert_eq!(found.spec, made.spec);
    project.client.stop_execution(made.id).await.unwrap();
}

#[tokio::test]
async fn a_task_has_one_execution_at_a_time() {
    let project = Project::new().await;
    let client = &project.client;
    let (task, first) = project.queued().await;
    let input = command(&["true"]);
    let problem =
        refused(client.create_execution(project.id, task.id, &input).await, ProblemKind::WrongState);
    assert!(problem.detail.contains("in_progress"), "{problem}");
    client.stop_execution(first.id).await.unwrap();
    // Twelve at once: one gets it.
    let tries =
        futures_util::future::join_all((0..12).map(|_| client.create_execution(project.id, task.id, &input)));
    let (made, lost): (Vec<_>, Vec<_>) = tries.await.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), lost.len()), (1, 11));
    for lost in lost {
        refused(lost, ProblemKind::WrongState);
    }
    let path = format!("/api/projects/{}/tasks/{}/executions", project.id, task.id);
    let listed: Vec<Execution> = every_page(client, &path, 1).await;
    let made = made.into_iter().next().unwrap().unwrap();
    assert_eq!(listed.iter().map(|found| found.id).collect::<Vec<_>>(), [made.id, first.id], "newest first");
    client.stop_execution(made.id).await.unwrap();
}

#[tokio::test]
async fn a_revision_that_is_not_there_is_not_executed() {
    let project = Project::with(&[("a", "1\n")]).await;
    let task = project.task().await;
    let input = shared_contracts::executions::CreateExecution { revision: Some(2), ..command(&["true"]) };
    refused(project.client.create_execution(project.id, task.id, &input).await, ProblemKind::NotFound);
    assert_eq!(project.find_task(task.id).await.state, TaskState::Todo);
}

#[tokio::test]
async fn stopped_while_it_waits_it_is_cancelled_with_one_ended_event() {
    let (project, execution) = stopped().await;
    let client = &project.client;
    assert_eq!((execution.state, execution.stop_requested), (ExecutionState::Cancelled, true));
    assert_eq!(execution.reason.as_deref(), Some("Stopped by its owner"));
    assert!(execution.ended_at_ms.is_some() && execution.started_at_ms.is_none());
    let task = project.find_task(execution.task_id).await;
    assert_eq!((task.state, task.active_execution_id), (TaskState::Todo, None));
    assert_eq!(task.error.as_deref(), Some("Stopped by its owner"));
    let events = client.all_events(execution.id).await.unwrap();
    assert!(events.iter().enumerate().all(|(index, event)| event.sequence == index as u64 + 1));
    assert_eq!(ended(&events), 1);
    assert!(matches!(&events[0].body, EventBody::Status { state: ExecutionState::Queued, .. }));
    let EventBody::Ended { outcome, exit_code, .. } = &events.last().unwrap().body else {
        panic!("{events:?}")
    };
    assert_eq!((*outcome, *exit_code), (Outcome::Cancelled, None));
    assert_eq!(execution.event_count, Some(events.len() as u64));
    let problem = refused(client.stop_execution(execution.id).await, ProblemKind::WrongState);
    assert!(problem.detail.contains("cancelled"), "{problem}");
}

#[tokio::test]
async fn stopped_many_times_at_once_it_ends_once() {
    let project = Project::new().await;
    let client = &project.client;
    let (_, execution) = project.queued().await;
    let stops = futures_util::future::join_all((0..8).map(|_| client.stop_execution(execution.id))).await;
    assert!(stops.iter().any(Result::is_ok));
    for lost in stops.into_iter().filter(Result::is_err) {
        refused(lost, ProblemKind::WrongState);
    }
    assert_eq!(ended(&client.all_events(execution.id).await.unwrap()), 1);
    assert_eq!(client.get_execution(execution.id).await.unwrap().state, ExecutionState::Cancelled);
}

#[tokio::test]
async fn a_retry_is_a_new_execution_of_the_same_thing() {
    let (project, execution) = stopped().await;
    let client = &project.client;
    project.import(acceptance::Archive::of(&[("a", "2\n")])).await.unwrap();
    let retried = client.retry_execution(execution.id).await.unwrap();
    assert_ne!(retried.id, execution.id);
    assert_eq!((retried.retry_of, retried.state), (Some(execution.id), ExecutionState::Queued));
    assert_eq!(
        (&retried.spec.command, retried.spec.limits.clone()),
        (&execution.spec.command, execution.spec.limits.clone())
    );
    assert_eq!(retried.spec.base_revision, 2, "on the workspace as it is now");
    assert_eq!(project.find_task(execution.task_id).await.error, None);
    refused(client.retry_execution(retried.id).await, ProblemKind::WrongState);
    refused(client.retry_execution(execution.id).await, ProblemKind::WrongState);
    assert_eq!(client.get_execution(execution.id).await.unwrap(), execution, "the old one stays as it was");
    client.stop_execution(retried.id).await.unwrap();
    refused(client.retry_execution(ExecutionId::new(1, 1)).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn events_come_page_by_page() {
    let (project, execution) = stopped().await;
    let client = &project.client;
    let all = client.all_events(execution.id).await.unwrap();
    let head = all.len() as u64;
    let page = async |after: Option<u64>, limit: Option<u32>| -> EventPage {
        client.list_events(execution.id, &EventQuery { after, limit }).await.unwrap()
    };
    let first = page(None, Some(1)).await;
    assert_eq!(
        (first.items.as_slice(), first.next, first.head, first.ended),
        (&all[..1], Some(1), head, true)
    );
    let rest = page(first.next, Some(1_000)).await;
    assert_eq!((rest.items.as_slice(), rest.next), (&all[1..], None));
    let beyond = page(Some(head), None).await;
    assert_eq!((beyond.items.len(), beyond.next, beyond.head), (0, None, head));
    assert_eq!(page(Some(u64::from(u32::MAX)), None).await.items, []);
    for limit in [0, 1_001] {
        let query = EventQuery { after: None, limit: Some(limit) };
        refused(client.list_events(execution.id, &query).await, ProblemKind::Invalid);
    }
    let path = format!(
        "/api/projects/{}/tasks/{}/executions/{}/logs?after=1",
        project.id, execution.task_id, execution.id
    );
    let under_task: EventPage = client.call(Method::GET, path).typed().await.unwrap();
    assert_eq!(under_task.items, all[1..]);
}

#[tokio::test]
async fn a_search_looks_at_log_lines_alone() {
    let (project, execution) = stopped().await;
    let client = &project.client;
    for query in [
        SearchQuery { text: Some("Waiting".into()), ..SearchQuery::default() },
        SearchQuery { level: Some(LogLevel::Debug), ..SearchQuery::default() },
    ] {
        let page = client.search_events(execution.id, &query).await.unwrap();
        assert_eq!((page.items.len(), page.next, page.ended), (0, None, true));
    }
    for query in ["text=", "level=loud", "text=a&limit=0", &format!("text={}", "x".repeat(201)), "regex=a"] {
        let path = format!("/api/sandbox/executions/{}/logs/search?{query}", execution.id);
        Answer::to(client.call(Method::GET, path)).await.problem(ProblemKind::Invalid);
    }
}

/// Reads a stream to its end, which must come.
async fn stream(project: &Project, path: String, last_event_id: Option<&str>) -> (u16, Vec<SseEvent>) {
    let mut call = project.client.call(Method::GET, path);
    if let Some(id) = last_event_id {
        call = call.header("last-event-id", id);
    }
    let mut response = call.raw().await.unwrap();
    let status = response.status().as_u16();
    if status == 200 {
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
    let (mut parser, mut events) = (SseParser::new(), Vec::new());
    let whole = async {
        while let Some(bytes) = response.chunk().await.unwrap() {
            events.extend(parser.push(&bytes));
        }
    };
    tokio::time::timeout(Duration::from_secs(10), whole)
        .await
        .expect("the stream of an ended execution ends");
    (status, events)
}

#[tokio::test]
async fn the_stream_of_an_ended_execution_ends() {
    let (project, execution) = stopped().await;
    let all = project.client.all_events(execution.id).await.unwrap();
    let head = all.len();
    let paths = [
        format!("/api/sandbox/executions/{}/logs/stream", execution.id),
        format!(
            "/api/projects/{}/tasks/{}/executions/{}/logs/stream",
            project.id, execution.task_id, execution.id
        ),
    ];
    for path in &paths {
        let (status, events) = stream(&project, path.clone(), None).await;
        assert_eq!((status, events.len()), (200, head));
        for (event, shown) in all.iter().zip(&events) {
            assert_eq!(shown.id.as_deref(), Some(event.sequence.to_string().as_str()));
            assert_eq!(shown.name, event.body.stream_name());
            assert_eq!(serde_json::from_str::<Event>(&shown.data).unwrap(), *event);
        }
        assert_eq!(events.last().unwrap().name, "complete");
    }
    let path = &paths[0];
    assert_eq!(stream(&project, format!("{path}?after=1"), None).await.1.len(), head - 1);
    assert_eq!(stream(&project, path.clone(), Some("1")).await.1.len(), head - 1);
    // What a reconnecting browser says it has goes before what the page once asked for.
    assert_eq!(stream(&project, format!("{path}?after=0"), Some("1")).await.1.len(), head - 1);
    let (status, events) = stream(&project, path.clone(), Some(&head.to_string())).await;
    assert_eq!((status, events.len()), (204, 0), "a browser must not come again");
    assert_eq!(stream(&project, format!("{path}?after=99"), None).await.0, 204);
    for bad in ["x", "-1", "1.5"] {
        let call = project.client.call(Method::GET, path.clone()).header("last-event-id", bad);
        Answer::to(call).await.problem(ProblemKind::Invalid);
    }
}

#[tokio::test]
async fn a_stream_sees_what_happens_and_ends_with_it() {
    let project = Project::new().await;
    let (_, execution) = project.queued().await;
    let mut watcher = project.client.watch(execution.id, 0);
    let first = watcher.next().await.unwrap().unwrap();
    assert_eq!(first.sequence, 1);
    // The stream is open and has given all there was: what follows comes live.
    project.client.stop_execution(execution.id).await.unwrap();
    let mut events = vec![first];
    events.extend(watcher.collect().await.unwrap());
    assert_eq!(events, project.client.all_events(execution.id).await.unwrap());
    assert_eq!(ended(&events), 1);
}

#[tokio::test]
async fn a_socket_sees_what_happens_and_is_closed_after_the_end() {
    let project = Project::new().await;
    let client = &project.client;
    let (_, execution) = project.queued().await;
    let path = format!("/api/sandbox/executions/{}/logs/socket", execution.id);
    let mut socket = client.open_socket(&path).await.unwrap();
    let mut text = String::new();
    while text.lines().count() < 1 {
        let Message::Text(message) = socket.next().await.unwrap().unwrap() else { panic!("not text") };
        text.push_str(message.as_str());
    }
    client.stop_execution(execution.id).await.unwrap();
    let closed = loop {
        match tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap() {
            Some(Ok(Message::Text(message))) => text.push_str(message.as_str()),
            Some(Ok(Message::Close(frame))) => break frame,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(closed.map(|frame| u16::from(frame.code)), Some(1000));
    let events: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events, client.all_events(execution.id).await.unwrap());
    // The same through the client, of an execution that has ended, and from the middle.
    let again = client.watch_socket(execution.id, 0).collect().await.unwrap();
    assert_eq!(again, events);
    assert_eq!(client.watch_socket(execution.id, 1).collect().await.unwrap(), events[1..]);
}

#[tokio::test]
async fn a_socket_answers_pings_and_closes_on_nonsense() {
    use futures_util::SinkExt as _;
    let project = Project::new().await;
    let (_, execution) = project.queued().await;
    let path = format!("/api/sandbox/executions/{}/logs/socket?after=1", execution.id);
    let mut socket = project.client.open_socket(&path).await.unwrap();
    socket.send(Message::text("ping")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("pong"));
    socket.send(Message::text(r#"{"watch":"acknowledge","through":1}"#)).await.unwrap();
    socket.send(Message::text("nonsense")).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(frame.code), 1008);
    let mut socket = project.client.open_socket(&path).await.unwrap();
    socket.send(Message::binary(vec![1, 2])).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("not closed") };
    assert_eq!(u16::from(frame.code), 1003);
    project.client.stop_execution(execution.id).await.unwrap();
}

#[tokio::test]
async fn a_socket_is_asked_for_by_an_upgrade() {
    let (project, execution) = stopped().await;
    let path = format!("/api/sandbox/executions/{}/logs/socket", execution.id);
    Answer::to(project.client.call(Method::GET, path.clone())).await.problem(ProblemKind::Malformed);
    let stranger = acceptance::stranger().open_socket(&path).await;
    match stranger.unwrap_err() {
        ClientError::Socket { source, .. } => match *source {
            tungstenite::Error::Http(answer) => assert_eq!(answer.status().as_u16(), 404),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_execution_without_artifacts_lists_none() {
    let (project, execution) = stopped().await;
    let found: Vec<shared_contracts::artifacts::Artifact> =
        every_page(&project.client, &format!("/api/sandbox/executions/{}/artifacts", execution.id), 100)
            .await;
    assert_eq!(found, []);
}
