//! Projects: made, listed, changed, deleted with all they own.

use acceptance::{Answer, Project, create, every_page, owner, refused, stranger};
use reqwest::Method;
use shared_contracts::page::{Page, PageQuery};
use shared_contracts::problem::ProblemKind;
use shared_contracts::projects::{CreateProject, Project as Record, UpdateProject};
use shared_contracts::tasks::{CreateTask, Task};

#[tokio::test]
async fn a_project_is_what_was_said_and_changes_only_where_told() {
    let client = owner();
    let input = CreateProject { name: "Größe 💡".into(), description: "line\n\tand tab".into() };
    let made = client.create_project(&input).await.unwrap();
    assert_eq!((&made.name, &made.description), (&input.name, &input.description));
    assert_eq!(client.get_project(made.id).await.unwrap(), made);
    let change = UpdateProject { name: Some("other".into()), ..UpdateProject::default() };
    let changed = client.update_project(made.id, &change).await.unwrap();
    assert_eq!((changed.name.as_str(), &changed.description), ("other", &input.description));
    assert!(changed.updated_at_ms >= made.updated_at_ms);
    assert_eq!(changed.created_at_ms, made.created_at_ms);
    assert_eq!(client.get_project(made.id).await.unwrap(), changed);
    let nothing = client.update_project(made.id, &UpdateProject::default()).await.unwrap();
    assert_eq!(nothing.name, "other");
    refused(stranger().update_project(made.id, &change).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn lists_go_newest_first_and_give_every_item_once() {
    let project = Project::new().await;
    let mut made = Vec::new();
    for number in 0..103 {
        let input = CreateTask { title: format!("task {number}"), description: String::new(), priority: 5 };
        made.push(project.client.create_task(project.id, &input).await.unwrap());
    }
    made.sort_by_key(|task| std::cmp::Reverse(task.id));
    let path = format!("/api/projects/{}/tasks", project.id);
    for limit in [1, 7, 100] {
        let listed: Vec<Task> = every_page(&project.client, &path, limit).await;
        assert_eq!(listed, made, "pages of {limit}");
    }
    assert!(made.is_sorted_by_key(|task| std::cmp::Reverse(task.created_at_ms)));
    let page: Page<Task> = project.client.call(Method::GET, path).typed().await.unwrap();
    assert_eq!(page.items.len(), 50, "unless said otherwise");
}

#[tokio::test]
async fn a_list_that_grows_meanwhile_repeats_and_loses_nothing() {
    let project = Project::new().await;
    let client = &project.client;
    let (first, second) = (project.task().await, project.task().await);
    let one = PageQuery { after: None, limit: Some(1) };
    let page = client.list_tasks(project.id, &one).await.unwrap();
    let newer = project.task().await;
    let rest =
        client.list_tasks(project.id, &PageQuery { after: page.next, limit: Some(100) }).await.unwrap();
    let seen: Vec<_> = page.items.iter().chain(&rest.items).map(|task| task.id).collect();
    let mut wanted = [first.id, second.id];
    wanted.sort_by_key(|id| std::cmp::Reverse(*id));
    assert_eq!(seen, wanted);
    assert!(!seen.contains(&newer.id));
}

#[tokio::test]
async fn every_owner_lists_their_projects() {
    let project = Project::new().await;
    let listed: Vec<Record> = every_page(&project.client, "/api/projects", 100).await;
    assert!(listed.iter().any(|found| found.id == project.id));
}

#[tokio::test]
async fn a_deleted_project_takes_everything_along() {
    let project = Project::with(&[("a", "1\n")]).await;
    let client = &project.client;
    let task = project.task().await;
    let patch = project.propose(vec![create("b", "2\n")]).await;
    refused(stranger().delete_project(project.id).await, ProblemKind::NotFound);
    client.delete_project(project.id).await.unwrap();
    refused(client.get_project(project.id).await, ProblemKind::NotFound);
    refused(client.get_task(project.id, task.id).await, ProblemKind::NotFound);
    refused(client.get_patch(patch.id).await, ProblemKind::NotFound);
    refused(client.get_workspace(project.id, None).await, ProblemKind::NotFound);
    refused(client.delete_project(project.id).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn nothing_is_deleted_under_an_active_execution() {
    let project = Project::with(&[("a", "1\n")]).await;
    let client = &project.client;
    let (task, execution) = project.queued().await;
    let problem = refused(client.delete_project(project.id).await, ProblemKind::WrongState);
    assert!(problem.detail.contains(&project.id.to_string()), "{problem}");
    refused(client.delete_task(project.id, task.id).await, ProblemKind::WrongState);
    assert_eq!(project.text("a").await, "1\n", "the files are still there");
    client.stop_execution(execution.id).await.unwrap();
    client.delete_task(project.id, task.id).await.unwrap();
    refused(client.get_execution(execution.id).await, ProblemKind::NotFound);
    client.delete_project(project.id).await.unwrap();
}

#[tokio::test]
async fn a_deletion_answers_with_nothing() {
    let project = Project::new().await;
    let answer =
        Answer::to(project.client.call(Method::DELETE, format!("/api/projects/{}", project.id))).await;
    assert_eq!((answer.status, answer.body.as_slice()), (204, b"".as_slice()));
}
