//! Reading a workspace: directories page by page, files at any revision, blobs by hash.

use acceptance::{Answer, Archive, Project, create, refused, unpacked};
use reqwest::Method;
use shared_contracts::hash::Sha256;
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::{FetchBlobs, FileMode, RevisionQuery, TreeItem, TreeQuery};

fn at(path: &str) -> TreeQuery {
    TreeQuery { path: Some(path.into()), ..TreeQuery::default() }
}

async fn names(project: &Project, query: TreeQuery) -> Vec<String> {
    let mut query = TreeQuery { limit: Some(query.limit.unwrap_or(100)), ..query };
    let mut names = Vec::new();
    loop {
        let page = project.client.list_tree(project.id, &query).await.unwrap();
        assert!(page.items.len() <= query.limit.unwrap() as usize);
        names.extend(page.items.into_iter().map(|item| match item {
            TreeItem::Directory { name } => format!("{name}/"),
            TreeItem::File { name, .. } => name,
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return names,
        }
    }
}

#[tokio::test]
async fn a_directory_lists_what_stands_in_it() {
    let project = Project::new().await;
    let archive = Archive::of(&[
        ("a", "1\n"),
        ("dir/x", "2\n"),
        ("dir/sub/y", "3\n"),
        ("dir-2", "4\n"),
        ("dir.md", "5\n"),
    ]);
    project.import(archive.executable("run", b"x").link("link", "a")).await.unwrap();
    assert_eq!(names(&project, at("")).await, ["a", "dir/", "dir-2", "dir.md", "link", "run"]);
    assert_eq!(names(&project, at("dir")).await, ["sub/", "x"]);
    assert_eq!(names(&project, at("dir/sub/")).await, ["y"]);
    let page = project.client.list_tree(project.id, &TreeQuery::default()).await.unwrap();
    let run = TreeItem::File {
        name: "run".into(),
        sha256: Sha256::of(b"x"),
        size_bytes: 1,
        mode: FileMode::Executable,
    };
    assert!(page.items.contains(&run));
    for absent in ["nothing", "di", "dir/x", "a"] {
        refused(project.client.list_tree(project.id, &at(absent)).await, ProblemKind::NotFound);
    }
    refused(project.client.list_tree(project.id, &at("../x")).await, ProblemKind::Invalid);
}

#[tokio::test]
async fn a_long_directory_comes_page_by_page() {
    let project = Project::new().await;
    let mut wanted: Vec<String> = (0..130).map(|number| format!("{number}.txt")).collect();
    wanted.push("sub/".into());
    wanted.push("ß".into());
    let archive = wanted.iter().fold(Archive::default(), |archive, name| {
        let path = if name.ends_with('/') { format!("{name}file") } else { name.clone() };
        archive.file(&path, name.as_bytes())
    });
    project.import(archive).await.unwrap();
    wanted.sort();
    for limit in [1, 7, 100] {
        let found = names(&project, TreeQuery { limit: Some(limit), ..TreeQuery::default() }).await;
        assert_eq!(found, wanted, "pages of {limit}");
    }
    for limit in [0, 101] {
        let query = TreeQuery { limit: Some(limit), ..TreeQuery::default() };
        refused(project.client.list_tree(project.id, &query).await, ProblemKind::Invalid);
    }
}

#[tokio::test]
async fn every_revision_stays_as_it_was() {
    let project = Project::with(&[("a", "one\n"), ("gone", "x\n")]).await;
    project.import(Archive::of(&[("a", "two\n"), ("new", "y\n")])).await.unwrap();
    let patch = project.propose(vec![create("patched", "z\n")]).await;
    project.client.apply_patches(patch.id).await.unwrap();
    let client = &project.client;
    for (revision, a, paths) in [
        (1, "one\n", vec!["a", "gone"]),
        (2, "two\n", vec!["a", "new"]),
        (3, "two\n", vec!["a", "new", "patched"]),
    ] {
        let read = client.read_file(project.id, "a", Some(revision)).await.unwrap();
        assert_eq!(read, a.as_bytes(), "{revision}");
        let manifest = client.get_manifest(project.id, Some(revision)).await.unwrap();
        let found: Vec<_> = manifest.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(found, paths, "{revision}");
        assert_eq!(names(&project, TreeQuery { revision: Some(revision), ..at("") }).await, paths);
        let exported = unpacked(&client.export_workspace(project.id, Some(revision)).await.unwrap());
        assert_eq!(exported.keys().map(String::as_str).collect::<Vec<_>>(), paths, "{revision}");
        let record = client.get_workspace(project.id, Some(revision)).await.unwrap();
        assert_eq!((record.revision, record.file_count), (revision, paths.len() as u64));
    }
    refused(client.read_file(project.id, "gone", None).await, ProblemKind::NotFound);
    for absent in [0, 4, u64::from(u32::MAX)] {
        refused(client.get_workspace(project.id, Some(absent)).await, ProblemKind::NotFound);
        refused(client.get_manifest(project.id, Some(absent)).await, ProblemKind::NotFound);
    }
    let head = client.get_workspace(project.id, None).await.unwrap();
    assert_eq!((head.revision, head.patch_batch_id, head.message.as_str()), (3, Some(patch.id), "a change"));
}

#[tokio::test]
async fn an_empty_workspace_is_revision_zero() {
    let project = Project::new().await;
    let client = &project.client;
    for revision in [None, Some(0)] {
        let record = client.get_workspace(project.id, revision).await.unwrap();
        assert_eq!((record.revision, record.file_count, record.total_bytes), (0, 0, 0));
    }
    assert_eq!(client.get_manifest(project.id, None).await.unwrap(), []);
    assert!(unpacked(&client.export_workspace(project.id, None).await.unwrap()).is_empty());
    assert_eq!(names(&project, TreeQuery::default()).await, [""; 0]);
    refused(client.read_file(project.id, "a", None).await, ProblemKind::NotFound);
}

#[tokio::test]
async fn a_file_is_read_by_its_path_and_by_nothing_like_it() {
    let project = Project::with(&[("a b/ö?#%.txt", "x\n"), ("dir/file", "y\n")]).await;
    assert_eq!(project.text("a b/ö?#%.txt").await, "x\n");
    for absent in
        ["dir", "dir/", "dir/file/", "dir/FILE", "/dir/file", "dir//file", "dir/./file", "x/../dir/file"]
    {
        let url = format!("/api/projects/{}/workspace/files/{}", project.id, absent.replace("..", "%2e%2e"));
        let answer = Answer::to(project.client.call(Method::GET, url)).await;
        // `x/..` and `.` are taken away by every client and server (RFC 3986 §5.2.4) before anyone sees them.
        if absent.contains("./") {
            assert!([200, 404].contains(&answer.status), "{absent}");
        } else {
            answer.problem(ProblemKind::NotFound);
        }
    }
    let path = format!("/api/projects/{}/workspace/files/dir/file", project.id);
    let answer = Answer::to(project.client.call(Method::GET, path).query(&RevisionQuery::default())).await;
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", Sha256::of(b"y\n")).as_str()));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    // What a coding agent wrote must never run as a page of this origin.
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test]
async fn many_blobs_come_as_one_archive_in_the_order_asked() {
    let large = vec![7; 2 * 1024 * 1024 + 1];
    let project = Project::new().await;
    project.import(Archive::of(&[("a", "1\n"), ("empty", "")]).file("large", &large)).await.unwrap();
    let wanted = vec![Sha256::of(&large), Sha256::of(b""), Sha256::of(b"1\n")];
    let input = FetchBlobs { sha256: wanted.clone() };
    let archive = project.client.fetch_blobs(project.id, &input).await.unwrap();
    let order: Vec<_> = tar::Archive::new(archive.as_slice())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(order, wanted.iter().map(Sha256::to_string).collect::<Vec<_>>());
    for (name, (_, content)) in unpacked(&archive) {
        assert_eq!(Sha256::of(&content).to_string(), name);
    }
    let absent = FetchBlobs { sha256: vec![wanted[0], Sha256::of(b"absent")] };
    refused(project.client.fetch_blobs(project.id, &absent).await, ProblemKind::NotFound);
    let empty = FetchBlobs { sha256: Vec::new() };
    refused(project.client.fetch_blobs(project.id, &empty).await, ProblemKind::Invalid);
    let many = FetchBlobs { sha256: vec![wanted[1]; 2_001] };
    refused(project.client.fetch_blobs(project.id, &many).await, ProblemKind::Invalid);
}

#[tokio::test]
async fn a_blob_that_is_not_there_is_absent() {
    let project = Project::with(&[("a", "1\n")]).await;
    refused(project.client.get_blob(project.id, Sha256::of(b"absent")).await, ProblemKind::NotFound);
    for bad in ["x", &"A".repeat(64), &"0".repeat(63)] {
        let url = format!("/api/projects/{}/workspace/blobs/{bad}", project.id);
        Answer::to(project.client.call(Method::GET, url)).await.problem(ProblemKind::NotFound);
    }
}
