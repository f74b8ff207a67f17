//! A tree comes in parts: a manifest, then only the blobs that are missing, then the commit.

use std::fs;
use std::path::Path;

use acceptance::{Answer, Project, refused};
use reqwest::Method;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ImportId;
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::{FileMode, ManifestEntry};
use xtask::client::Pack;
use xtask::client::tree::LocalTree;

fn entry(path: &str, content: &[u8], mode: FileMode) -> ManifestEntry {
    let path = path.parse().unwrap();
    ManifestEntry { path, sha256: Sha256::of(content), size_bytes: content.len() as u64, mode }
}

fn file(path: &str, content: &[u8]) -> ManifestEntry {
    entry(path, content, FileMode::Regular)
}

fn pack(contents: &[&[u8]]) -> Vec<u8> {
    let mut pack = Pack::new();
    for content in contents {
        pack.add(Sha256::of(content), content).unwrap();
    }
    pack.finish().unwrap()
}

fn write_tree(root: &Path, files: usize) {
    for number in 0..files {
        let folder = root.join(format!("dir {}", number % 17));
        fs::create_dir_all(&folder).unwrap();
        let line = format!("line of file {number}\n");
        fs::write(folder.join(format!("file {number}")), line.repeat(20 + number % 50)).unwrap();
    }
    std::os::unix::fs::symlink("dir 1/file 1", root.join("link")).unwrap();
    fs::write(root.join("large"), vec![3; 3 * 1024 * 1024]).unwrap();
}

#[tokio::test]
async fn one_changed_file_of_a_hundred_sends_one_blob_of_a_hundred() {
    let folder = tempfile::tempdir().unwrap();
    write_tree(folder.path(), 500);
    let project = Project::new().await;
    let first =
        project.client.import_in_parts(project.id, &LocalTree::scan(folder.path()).unwrap()).await.unwrap();
    assert_eq!((first.receipt.revision.revision, first.receipt.files_added, first.blobs_sent), (1, 502, 502));
    // The same again sends nothing and makes nothing.
    let again =
        project.client.import_in_parts(project.id, &LocalTree::scan(folder.path()).unwrap()).await.unwrap();
    assert_eq!((again.receipt.revision.revision, again.blobs_sent, again.pack_bytes), (1, 0, 0));
    for number in [3, 101, 202, 303, 404] {
        fs::write(
            folder.path().join(format!("dir {}/file {number}", number % 17)),
            format!("changed {number}\n"),
        )
        .unwrap();
    }
    let tree = LocalTree::scan(folder.path()).unwrap();
    let second = project.client.import_in_parts(project.id, &tree).await.unwrap();
    assert_eq!(
        (second.receipt.revision.revision, second.receipt.files_changed, second.blobs_sent),
        (2, 5, 5)
    );
    assert!(second.pack_bytes * 50 < first.pack_bytes, "{} of {}", second.pack_bytes, first.pack_bytes);
    assert_eq!(project.client.get_manifest(project.id, None).await.unwrap(), tree.manifest());
    assert_eq!(project.text("dir 3/file 3").await, "changed 3\n");
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for() {
    let project = Project::with(&[("a", "known\n")]).await;
    let manifest = [file("b", b"known\n"), file("c", b"new\n"), file("d", b"new\n")];
    let started = project.client.start_import(project.id, &manifest).await.unwrap();
    assert_eq!(started.missing, [Sha256::of(b"new\n")], "each content once");
    let stored = project.client.store_blobs(project.id, started.import_id, pack(&[b"new\n"])).await.unwrap();
    assert_eq!((stored.stored, stored.stored_bytes), (1, 4));
    let again = project.client.store_blobs(project.id, started.import_id, pack(&[b"new\n"])).await.unwrap();
    assert_eq!((again.stored, again.stored_bytes), (1, 0), "a pack sent twice is stored once");
    let receipt = project.client.commit_import(project.id, started.import_id).await.unwrap();
    assert_eq!((receipt.revision.revision, receipt.new_blob_bytes), (2, 4));
    assert_eq!((receipt.files_added, receipt.files_changed, receipt.files_removed), (3, 0, 1));
    assert_eq!(project.paths().await, ["b", "c", "d"]);
    // The answer to the commit was lost, say: the same receipt comes again, and nothing else happens.
    assert_eq!(project.client.commit_import(project.id, started.import_id).await.unwrap(), receipt);
    assert_eq!(project.head().await, 2);
}

#[tokio::test]
async fn nothing_is_committed_while_a_blob_is_missing() {
    let project = Project::with(&[("a", "1\n")]).await;
    let manifest = [file("x", b"one\n"), file("y", b"two\n")];
    let started = project.client.start_import(project.id, &manifest).await.unwrap();
    project.client.store_blobs(project.id, started.import_id, pack(&[b"one\n"])).await.unwrap();
    refused(project.client.commit_import(project.id, started.import_id).await, ProblemKind::WrongState);
    assert_eq!((project.head().await, project.paths().await), (1, vec!["a".to_owned()]));
    project.client.store_blobs(project.id, started.import_id, pack(&[b"two\n"])).await.unwrap();
    project.client.commit_import(project.id, started.import_id).await.unwrap();
    assert_eq!(project.paths().await, ["x", "y"]);
}

#[tokio::test]
async fn a_blob_is_what_its_name_says_or_is_refused() {
    let project = Project::new().await;
    let large = vec![9; 6 * 1024 * 1024];
    let manifest = [file("x", b"right\n"), file("large", &large)];
    let started = project.client.start_import(project.id, &manifest).await.unwrap();
    let send = |pack: Vec<u8>| project.client.store_blobs(project.id, started.import_id, pack);
    let mut wrong = Pack::new();
    wrong.add(Sha256::of(b"right\n"), b"wrong\n").unwrap();
    let problem = refused(send(wrong.finish().unwrap()).await, ProblemKind::Invalid);
    assert!(problem.to_string().contains(&Sha256::of(b"right\n").to_string()), "{problem}");
    let mut wrong = Pack::new();
    wrong.add(Sha256::of(&large), &vec![8; large.len()]).unwrap();
    refused(send(wrong.finish().unwrap()).await, ProblemKind::Invalid);
    let named = acceptance::Archive::of(&[("not-a-hash", "right\n")]).finished();
    refused(send(named).await, ProblemKind::Invalid);
    let truncated = pack(&[b"right\n"]);
    refused(send(truncated[..515].to_vec()).await, ProblemKind::Malformed);
    refused(send(b"not a pack".repeat(100)).await, ProblemKind::Malformed);
    refused(project.client.commit_import(project.id, started.import_id).await, ProblemKind::WrongState);
    refused(project.client.get_blob(project.id, Sha256::of(&large)).await, ProblemKind::NotFound);
    send(pack(&[b"right\n", &large])).await.unwrap();
    project.client.commit_import(project.id, started.import_id).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_the_manifest_does_not_name_is_refused() {
    let project = Project::with(&[("kept", "1\n")]).await;
    let started = project.client.start_import(project.id, &[file("x", b"named\n")]).await.unwrap();
    let send = |pack: Vec<u8>| project.client.store_blobs(project.id, started.import_id, pack);
    let large = vec![7; 3 * 1024 * 1024];
    for unnamed in [&b"unnamed\n"[..], b"1\n", &large] {
        let problem = refused(send(pack(&[b"named\n", unnamed])).await, ProblemKind::Invalid);
        let message = &problem.faults[0].message;
        assert!(
            message.contains(&Sha256::of(unnamed).to_string()) && message.contains("leave it out"),
            "{message}"
        );
    }
    for absent in [Sha256::of(b"unnamed\n"), Sha256::of(&large)] {
        refused(project.client.get_blob(project.id, absent).await, ProblemKind::NotFound);
    }
    // What came before it is kept.
    project.client.commit_import(project.id, started.import_id).await.unwrap();
    let problem = refused(send(pack(&[b"named\n"])).await, ProblemKind::WrongState);
    assert!(problem.detail.contains("is committed"), "{problem}");
}

#[tokio::test]
async fn a_size_that_is_not_the_blobs_is_refused() {
    let project = Project::with(&[("kept", "kept\n")]).await;
    let declared =
        |path: &str, content: &[u8], size_bytes: u64| ManifestEntry { size_bytes, ..file(path, content) };
    // 1. Of a blob that is there: with the manifest.
    let manifest = [file("kept", b"kept\n"), declared("other", b"kept\n", 4)];
    let problem = refused(project.client.start_import(project.id, &manifest).await, ProblemKind::Invalid);
    let message = &problem.faults[0].message;
    assert!(message.contains("has 5 bytes") && message.contains("declares 4 for `other`"), "{message}");
    // 2. Of a blob that comes: with its pack, even if another file declares it rightly.
    let manifest = [file("a", b"new\n"), declared("b", b"new\n", 1_000_000), file("c", b"new\n")];
    let started = project.client.start_import(project.id, &manifest).await.unwrap();
    let sent = project.client.store_blobs(project.id, started.import_id, pack(&[b"new\n"])).await;
    let problem = refused(sent, ProblemKind::Invalid);
    let message = &problem.faults[0].message;
    assert!(message.contains("has 4 bytes") && message.contains("declares 1000000 for `b`"), "{message}");
    refused(project.client.get_blob(project.id, Sha256::of(b"new\n")).await, ProblemKind::NotFound);
    // 3. Of a blob that came otherwise meanwhile: with the commit.
    let patch = project.propose(vec![acceptance::create("patched", "new\n")]).await;
    project.client.apply_patches(patch.id).await.unwrap();
    let committed = project.client.commit_import(project.id, started.import_id).await;
    let problem = refused(committed, ProblemKind::Invalid);
    assert!(problem.faults[0].message.contains("for `b`"), "{problem:?}");
    assert_eq!(project.paths().await, ["kept", "patched"]);
}

#[tokio::test]
async fn a_pack_over_its_limit_is_refused() {
    let project = Project::new().await;
    let content = vec![1; 17 * 1024 * 1024];
    let other = vec![2; 17 * 1024 * 1024];
    let started =
        project.client.start_import(project.id, &[file("x", &content), file("y", &other)]).await.unwrap();
    let both = pack(&[&content, &other]);
    refused(project.client.store_blobs(project.id, started.import_id, both).await, ProblemKind::TooLarge);
    for content in [content, other] {
        project.client.store_blobs(project.id, started.import_id, pack(&[&content])).await.unwrap();
    }
    project.client.commit_import(project.id, started.import_id).await.unwrap();
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn an_import_that_is_not_is_absent() {
    let project = Project::new().await;
    let absent = ImportId::new(1, 1);
    refused(project.client.store_blobs(project.id, absent, pack(&[b"x"])).await, ProblemKind::NotFound);
    refused(project.client.commit_import(project.id, absent).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn a_manifest_that_breaks_a_rule_is_refused_with_its_line() {
    let project = Project::with(&[("kept", "1\n")]).await;
    let good = serde_json::to_string(&file("a", b"x")).unwrap();
    let hash = Sha256::of(b"x");
    let line = |path: &str, size: &str, mode: &str| {
        format!(r#"{{"path":"{path}","sha256":"{hash}","size_bytes":{size},"mode":"{mode}"}}"#)
    };
    for (bad, kind) in [
        (line("../x", "1", "regular"), ProblemKind::Invalid),
        (line("/x", "1", "regular"), ProblemKind::Invalid),
        (line("sub/.git/config", "1", "regular"), ProblemKind::Invalid),
        (line("x", "1", "device"), ProblemKind::Invalid),
        (line("x", "-1", "regular"), ProblemKind::Invalid),
        (line("x", "104857601", "regular"), ProblemKind::TooLarge),
        (line("x", "1", "regular").replace("}", r#","more":1}"#), ProblemKind::Invalid),
        (line("x", "1", "regular").replace(&hash.to_string(), "abc"), ProblemKind::Invalid),
        ("not json".into(), ProblemKind::Invalid),
    ] {
        let body = format!("{good}\n\n{bad}\n{good}\n");
        let call =
            project.client.call(Method::POST, format!("/api/projects/{}/workspace/imports", project.id));
        let answer = Answer::to(call.bytes("application/x-ndjson", body)).await;
        assert_eq!(answer.status, kind.status(), "{bad}: {}", answer.text());
        let problem = answer.problem(kind);
        assert!(kind != ProblemKind::Invalid || problem.faults[0].field == "manifest line 3", "{problem:?}");
    }
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn a_manifest_that_makes_no_tree_is_refused_at_its_commit() {
    let project = Project::with(&[("kept", "1\n")]).await;
    let link = |path: &str, target: &[u8]| entry(path, target, FileMode::Symlink);
    for manifest in [
        vec![file("a", b"x"), file("a/b", b"x")],
        vec![link("l", b"x"), file("l/x", b"x")],
        vec![link("l", b"../x")],
        vec![link("l", b"/etc/passwd")],
        vec![link("l", b".git/config")],
        vec![link("l", &[0xff, 0xfe])],
        vec![link("l", &vec![b'a'; 5_000])],
    ] {
        let started = project.client.start_import(project.id, &manifest).await.unwrap();
        let contents: [&[u8]; 6] =
            [b"x", b"../x", b"/etc/passwd", b".git/config", &[0xff, 0xfe], &vec![b'a'; 5_000]];
        let missing = contents.into_iter().filter(|content| started.missing.contains(&Sha256::of(content)));
        let missing = pack(&missing.collect::<Vec<_>>());
        project.client.store_blobs(project.id, started.import_id, missing).await.unwrap();
        refused(project.client.commit_import(project.id, started.import_id).await, ProblemKind::Invalid);
    }
    assert_eq!((project.head().await, project.paths().await), (1, vec!["kept".to_owned()]));
}

#[tokio::test]
async fn a_manifest_in_crumbs_is_the_same() {
    let project = Project::new().await;
    let entries: Vec<_> = (0..40).map(|number| file(&format!("ö/{number}"), b"x")).collect();
    let lines: Vec<_> = entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
    // Without a line feed at its end.
    let body = lines.join("\n").into_bytes();
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        body.chunks(13).map(|piece| Ok(piece.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let call = project.client.call(Method::POST, format!("/api/projects/{}/workspace/imports", project.id));
    let started: shared_contracts::workspaces::StartedImport =
        call.bytes("application/x-ndjson", stream).typed().await.unwrap();
    project.client.store_blobs(project.id, started.import_id, pack(&[b"x"])).await.unwrap();
    let receipt = project.client.commit_import(project.id, started.import_id).await.unwrap();
    assert_eq!(receipt.files_added, 40);
}
