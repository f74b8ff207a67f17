//! Patches that made other tools write elsewhere, through both doors: each is refused, and nothing is written.

use acceptance::{Answer, Archive, Project, refused};
use futures_util::StreamExt;
use futures_util::stream::iter;
use patch_engine::attacks::{Attack, TREE, attacks};
use reqwest::Method;
use serde_json::json;
use shared_contracts::patches::{PatchFormat, PatchRequest};
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::FileMode;

use super::text;

const AT_ONCE: usize = 16;

/// A link that leads out of the tree does not even come in; here its name leads to a file.
async fn project() -> Project {
    let project = Project::new().await;
    let mut archive = Archive::default();
    for (path, content, mode) in TREE {
        let leads_out = content.starts_with("..") || content.starts_with('/');
        archive = match mode {
            FileMode::Symlink if leads_out => {
                let out = Archive::default().link(path, content);
                refused(project.import(out).await, ProblemKind::Invalid);
                archive.link(path, "a.txt")
            }
            FileMode::Symlink => archive.link(path, content),
            _ => archive.file(path, content.as_bytes()),
        };
    }
    project.import(archive).await.unwrap();
    project
}

/// Every outcome that is not a success, from both doors.
async fn send(project: &Project, attack: &Attack) {
    let request = PatchRequest { format: Some(attack.format), ..text(project, &attack.text) };
    let checked = project.client.check_patches(&request).await.map(drop);
    let applied = project.client.apply_patch(&request).await.map(drop);
    for (door, answer) in [("check", checked), ("apply", applied)] {
        let error = answer.expect_err(&format!("{door} refuses {attack:?}"));
        let problem = error.problem().unwrap_or_else(|| panic!("{door} {attack:?}: {error}"));
        assert_eq!(problem.kind, ProblemKind::PatchRefused, "{door} {attack:?}: {problem:?}");
        assert!(
            problem.outcomes.iter().any(|operation| !operation.outcome.is_success()),
            "{door} {attack:?}: {problem:?}"
        );
    }
}

/// As a batch's own operations such a name is no path: the request itself is invalid.
async fn send_as_batch(project: &Project, attack: &Attack) {
    let batch: serde_json::Value = serde_json::from_str(&attack.text).unwrap();
    for door in ["/api/patches/check", "/api/patches/apply"] {
        let body = json!({"project_id": project.id, "title": "t", "batch": batch});
        let answer = Answer::to(project.client.call(Method::POST, door).json(&body)).await;
        assert!((400..500).contains(&answer.status), "{door} {attack:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_whatever_a_patch_names() {
    let project = project().await;
    let before = project.client.export_workspace(project.id, None).await.unwrap();
    let attacks = attacks();
    assert!(attacks.len() >= 200);
    let project_ref = &project;
    iter(&attacks)
        .for_each_concurrent(AT_ONCE, async |attack| {
            send(project_ref, attack).await;
            if attack.format == PatchFormat::Json {
                send_as_batch(project_ref, attack).await;
            }
        })
        .await;
    assert_eq!(project.head().await, 1);
    assert!(project.client.export_workspace(project.id, None).await.unwrap() == before);
    assert_eq!(project.paths().await, {
        let mut paths = TREE.map(|(path, ..)| path);
        paths.sort_unstable();
        paths
    });
}
