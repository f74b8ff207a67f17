//! `patchctl --server`: the same commands as on a tree, through the real binary.

use std::process::{Command, Stdio};

use acceptance::{Project, stranger};
use serde_json::Value;
use xtask::build;

use super::POEM;

const DIFF: &str = "--- a/poem\n+++ b/poem\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n";

struct Ran {
    code: Option<i32>,
    said: String,
}

impl Ran {
    fn expect(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.said);
        self.said
    }

    fn json(self, code: i32) -> Value {
        serde_json::from_str(&self.expect(code)).unwrap()
    }
}

/// With the patch as its standard input.
fn patchctl(project: &Project, arguments: &[&str], input: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let (patch, token) = (folder.path().join("patch"), folder.path().join("token"));
    std::fs::write(&patch, input).unwrap();
    std::fs::write(&token, format!("{}\n", project.client.token().unwrap())).unwrap();
    let binary = build::patchctl_path();
    let output = Command::new(&binary)
        .args(arguments)
        .args(["--server", project.client.base_url(), "--project", &project.id.to_string()])
        .arg("--token-file")
        .arg(token)
        .stdin(Stdio::from(std::fs::File::open(patch).unwrap()))
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask build`", binary.display()));
    let said = [output.stdout, output.stderr].concat();
    Ran { code: output.status.code(), said: String::from_utf8(said).unwrap() }
}

#[tokio::test]
async fn check_apply_revert() {
    let project = Project::with(&[("poem", POEM)]).await;
    let said = patchctl(&project, &["check"], DIFF).expect(0);
    assert_eq!(said, "would apply     poem: exact, lines 1-3\nchecked against revision 1\n");
    assert_eq!(project.head().await, 1);

    let applied = patchctl(&project, &["apply", "--json", "--model", "a model"], DIFF).json(0);
    assert_eq!((applied["revision_after"].as_u64(), project.head().await), (Some(2), 2));
    assert_eq!(project.text("poem").await, "one\nzwei\nthree\nfour\n");
    let id = applied["patch_batch_id"].as_str().unwrap();
    let kept = project.client.get_patch(id.parse().unwrap()).await.unwrap();
    assert_eq!(kept.summary.title, "patchctl apply");
    // Sent again it is in place, and no revision is made for it.
    let said = patchctl(&project, &["apply"], DIFF).expect(0);
    assert!(said.starts_with("already applied poem\n") && said.ends_with("revision 2\n"), "{said}");

    let said = patchctl(&project, &["revert", id], "").expect(0);
    assert!(said.ends_with("revision 3\n"), "{said}");
    assert_eq!(project.text("poem").await, POEM);
}

#[tokio::test]
async fn a_base_revision_places_by_provenance() {
    // Since the patch was made, a block that looks the same was put above the one it means.
    let project = Project::with(&[("poem", "first\ntwo\nx\n")]).await;
    let above = "--- a/poem\n+++ b/poem\n@@ -1,2 +1,5 @@\n+top\n+two\n+y\n first\n two\n";
    patchctl(&project, &["apply"], above).expect(0);
    let patch = "--- a/poem\n+++ b/poem\n@@ -2 +2 @@\n-two\n+2\n";
    assert!(patchctl(&project, &["check"], patch).expect(1).contains("ambiguous       poem"));
    let said = patchctl(&project, &["apply", "--base-revision", "1"], patch).expect(0);
    assert!(said.contains("by provenance, line 5"), "{said}");
    assert_eq!(project.text("poem").await, "top\ntwo\ny\nfirst\n2\nx\n");
}

#[tokio::test]
async fn every_way_it_can_fail_has_its_code() {
    let project = Project::with(&[("poem", POEM)]).await;
    let other = DIFF.replace("-two", "-three hundred");
    let said = patchctl(&project, &["apply"], &other).expect(1);
    assert!(said.contains("nothing was changed") && said.contains("no match        poem"), "{said}");
    assert_eq!(patchctl(&project, &["apply", "--json"], &other).json(1)["kind"], "patch_refused");
    patchctl(&project, &["apply"], "no patch at all\n").expect(2);
    patchctl(&project, &["revert", "pat_01m7ybazenrkeh64w9zqm8m9e1"], "").expect(4);
    let theirs = Project { client: stranger(), ..project.clone() };
    patchctl(&theirs, &["apply"], DIFF).expect(4);
    let nowhere = Project { client: project.client.at("http://127.0.0.1:1"), ..project.clone() };
    assert!(patchctl(&nowhere, &["apply"], DIFF).expect(4).contains("http://127.0.0.1:1: "));
    assert_eq!(project.head().await, 1);
}
