//! A tree comes in as one archive: whole and exact, or not at all.

use acceptance::{Answer, Archive, Project, gzip, unpacked};
use reqwest::Method;
use shared_contracts::hash::Sha256;
use shared_contracts::problem::ProblemKind;
use tar::EntryType;

const MIB: usize = 1024 * 1024;

/// Bytes that do not compress and differ everywhere.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Everything that a tree may hold.
fn everything() -> Archive {
    let long = format!("{}/{}", "directory/".repeat(40).trim_end_matches('/'), "n".repeat(200));
    let archive = Archive::of(&[
        ("README.md", "hello\n"),
        ("empty", ""),
        ("Größe/日本語/💡.txt", "ü\n"),
        ("a b/c'd\"e%2f.txt", "odd name\n"),
        (".gitignore", "target\n"),
        (".github/workflows/ci.yml", "on: push\n"),
        ("no newline", "x"),
        ("crlf", "a\r\nb\r\n"),
        (&long, "deep\n"),
    ]);
    archive
        .folder("a folder/")
        .executable("bin/run", b"#!/bin/sh\n")
        .link("bin/link", "../README.md")
        .link("to a folder", "bin")
        .link("to nowhere", "absent/file")
        .file("binary", &noise(1, 70_000))
        .file("exactly 512", &noise(2, 512))
        .file("just below 1 MiB", &noise(3, MIB - 1))
        .file("exactly 1 MiB", &noise(4, MIB))
        .file("large", &noise(5, MIB + MIB / 2))
        .file("exactly one part", &noise(6, 5 * MIB))
        .file("several parts", &noise(7, 6 * MIB + 1))
        .file("exactly two parts", &noise(8, 10 * MIB))
}

async fn assert_holds(project: &Project, archive: &[u8]) {
    let wanted = unpacked(archive);
    let exported = project.client.export_workspace(project.id, None).await.unwrap();
    let found = unpacked(&exported);
    let folders: Vec<_> = wanted.keys().filter(|path| path.ends_with('/')).cloned().collect();
    let paths = |tree: &std::collections::BTreeMap<String, _>| -> Vec<String> {
        tree.keys().filter(|path| !folders.contains(path)).cloned().collect()
    };
    assert_eq!(paths(&found), paths(&wanted));
    for (path, held) in &found {
        assert!(held == &wanted[path], "{path} came out different");
    }
    let manifest = project.client.get_manifest(project.id, None).await.unwrap();
    assert!(manifest.is_sorted_by(|one, next| one.path < next.path));
    assert_eq!(manifest.len(), found.len());
    for entry in &manifest {
        let (_, content) = &found[entry.path.as_str()];
        assert_eq!(
            (entry.sha256, entry.size_bytes),
            (Sha256::of(content), content.len() as u64),
            "{}",
            entry.path
        );
    }
    let revision = project.client.get_workspace(project.id, None).await.unwrap();
    let bytes: u64 = manifest.iter().map(|entry| entry.size_bytes).sum();
    assert_eq!((revision.file_count, revision.total_bytes), (manifest.len() as u64, bytes));
}

#[tokio::test]
async fn what_is_exported_is_what_was_imported() {
    let project = Project::new().await;
    let archive = everything().finished();
    let receipt = project.client.import_workspace(project.id, archive.clone()).await.unwrap();
    assert_eq!((receipt.revision.revision, receipt.files_changed, receipt.files_removed), (1, 0, 0));
    assert_eq!(receipt.files_added, receipt.revision.file_count);
    assert_eq!(receipt.new_blob_bytes, receipt.revision.total_bytes, "no two contents are the same");
    assert_holds(&project, &archive).await;
    // Every content by its hash, large ones too.
    for entry in project.client.get_manifest(project.id, None).await.unwrap() {
        let blob = project.client.get_blob(project.id, entry.sha256).await.unwrap();
        assert!(Sha256::of(&blob) == entry.sha256 && blob.len() as u64 == entry.size_bytes, "{}", entry.path);
    }
}

#[tokio::test]
async fn a_compressed_archive_is_the_same() {
    let project = Project::new().await;
    let archive = everything().finished();
    project.client.import_workspace(project.id, gzip(&archive)).await.unwrap();
    assert_holds(&project, &archive).await;
    // Members of one gzip stream, as `pigz` writes them.
    let again = Project::new().await;
    let (front, back) = archive.split_at(archive.len() / 2);
    let members = [gzip(front), gzip(back)].concat();
    again.client.import_workspace(again.id, members).await.unwrap();
    assert_holds(&again, &archive).await;
}

#[tokio::test]
async fn an_archive_in_crumbs_is_the_same() {
    let project = Project::new().await;
    let archive = Archive::of(&[("a", "1\n"), ("b/c", "2\n")]).link("l", "a").finished();
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        archive.chunks(7).map(|piece| Ok(piece.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    project.client.import_workspace(project.id, stream).await.unwrap();
    assert_holds(&project, &archive).await;
}

#[tokio::test]
async fn only_a_change_makes_a_revision() {
    let project = Project::new().await;
    let tree = || Archive::of(&[("a", "1\n"), ("b", "2\n"), ("c", "3\n")]);
    assert_eq!(project.import(tree()).await.unwrap().revision.revision, 1);
    let again = project.import(tree()).await.unwrap();
    assert_eq!((again.revision.revision, again.new_blob_bytes), (1, 0));
    assert_eq!((again.files_added, again.files_changed, again.files_removed), (0, 0, 0));
    // One changed, one gone, one new, one made executable.
    let changed = Archive::of(&[("a", "1!\n"), ("d", "4\n")]).executable("c", b"3\n");
    let receipt = project.import(changed).await.unwrap();
    assert_eq!(receipt.revision.revision, 2);
    assert_eq!((receipt.files_added, receipt.files_changed, receipt.files_removed), (1, 2, 1));
    assert_eq!(receipt.new_blob_bytes, 5, "what is there already does not come again");
    assert_eq!(project.paths().await, ["a", "c", "d"]);
    assert_eq!(project.head().await, 2);
}

#[tokio::test]
async fn an_archive_of_here_is_named_without_its_dot() {
    let project = Project::new().await;
    let archive = Archive::default().folder("./").raw(EntryType::Regular, "./a/b", "", b"x").finished();
    project.client.import_workspace(project.id, archive).await.unwrap();
    assert_eq!(project.paths().await, ["a/b"]);
}

#[tokio::test]
async fn the_last_entry_of_a_path_stands() {
    let project = Project::new().await;
    let receipt = project.import(Archive::of(&[("a", "first\n"), ("a", "second\n")])).await.unwrap();
    assert_eq!((project.text("a").await.as_str(), receipt.revision.file_count), ("second\n", 1));
}

#[tokio::test]
async fn an_empty_archive_empties_the_tree() {
    let project = Project::with(&[("a", "1\n")]).await;
    let receipt = project.import(Archive::default()).await.unwrap();
    assert_eq!((receipt.revision.revision, receipt.files_removed, receipt.revision.file_count), (2, 1, 0));
    assert_eq!(project.paths().await, [""; 0]);
    assert_eq!(project.client.read_file(project.id, "a", Some(1)).await.unwrap(), b"1\n");
}

/// Every archive that must be refused, after a harmless first file.
fn bad_archives() -> Vec<(&'static str, Vec<u8>, ProblemKind)> {
    let after = || Archive::of(&[("harmless", "x\n")]);
    let named = |path: &str| after().raw(EntryType::Regular, path, "", b"evil").finished();
    let link = |path: &str, target: &str| after().link(path, target).finished();
    let special = |kind: EntryType| after().raw(kind, "special", "harmless", b"").finished();
    let whole = after().file("f", &noise(9, 5_000)).finished();
    let mut corrupt = whole.clone();
    corrupt[1_024 + 150] ^= 1;
    let packed = gzip(&noise(10, 3_000));
    use ProblemKind::{Invalid, Malformed};
    let mut bad: Vec<(&str, Vec<u8>, ProblemKind)> = vec![
        ("a link to above", link("l", "../x"), Invalid),
        ("a link to above from below", link("a/b/l", "../../../x"), Invalid),
        ("a link to /", link("l", "/etc/passwd"), Invalid),
        ("a link that climbs through a name", link("l", "harmless/../../x"), Invalid),
        ("a link into .git", link("l", ".git/config"), Invalid),
        (
            "a link to itself's folder by nothing",
            after().raw(EntryType::Symlink, "l", "", b"").finished(),
            Invalid,
        ),
        ("a file below a link", after().link("l", "sub").file("l/x", b"x").finished(), Invalid),
        ("a link above a file", after().file("l/x", b"x").link("l", "sub").finished(), Invalid),
        ("a file below a file", after().file("harmless/x", b"x").finished(), Invalid),
        ("a hard link", special(EntryType::Link), Invalid),
        ("a character device", special(EntryType::Char), Invalid),
        ("a block device", special(EntryType::Block), Invalid),
        ("a pipe", special(EntryType::Fifo), Invalid),
        ("a truncated content", whole[..1_024 + 512 + 100].to_vec(), Malformed),
        ("a truncated header", whole[..1_024 + 100].to_vec(), Malformed),
        ("an end between two entries", after().unfinished(), Malformed),
        ("a corrupt header", corrupt, Malformed),
        ("not an archive", noise(11, 2_000), Malformed),
        (
            "text",
            b"hello, this is not an archive at all, and it is longer than one block ".repeat(9),
            Malformed,
        ),
        ("less than a block", b"tar".to_vec(), Malformed),
        ("one byte", b"x".to_vec(), Malformed),
        ("compressed noise", packed, Malformed),
        ("a truncated gzip", after().gzipped()[..40].to_vec(), Malformed),
        ("a page of HTML", b"<html>".to_vec(), Malformed),
    ];
    for path in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/./b",
        "..",
        "a/..",
        "a\\b",
        "..\\x",
        "C:/x",
        "a\u{1}b",
        ".git/config",
        ".GIT/config",
        ".Git/hooks/pre-commit",
        "sub/.git/config",
        "git~1/config",
        "GIT~1/config",
        ".git./config",
        ".git /config",
        ".git::$INDEX_ALLOCATION/config",
        ".g\u{200c}it/config",
        ".git",
        "trailing.",
        "trailing ",
    ] {
        bad.push(("a path", named(path), Invalid));
    }
    bad.push(("a name that is not UTF-8", after().raw(EntryType::Regular, "x", "", b"").finished(), Invalid));
    let last = bad.last_mut().unwrap();
    // The name's byte, and the checksum with it.
    let at = 1_024;
    last.1[at] = 0xff;
    let sum: u32 = last.1[at..at + 512]
        .iter()
        .enumerate()
        .map(|(index, byte)| if (148..156).contains(&index) { 32 } else { u32::from(*byte) })
        .sum();
    last.1[at + 148..at + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bad
}

#[tokio::test]
async fn what_must_not_come_in_is_refused_and_changes_nothing() {
    let project = Project::with(&[("kept", "1\n")]).await;
    for (what, archive, kind) in bad_archives() {
        let call =
            project.client.call(Method::POST, format!("/api/projects/{}/workspace/import", project.id));
        let answer = Answer::to(call.bytes("application/x-tar", archive)).await;
        assert_eq!(answer.status, kind.status(), "{what}: {}", answer.text());
        let problem = answer.problem(kind);
        assert!(kind != ProblemKind::Invalid || problem.faults.len() == 1, "{what}: {problem:?}");
    }
    assert_eq!((project.head().await, project.paths().await), (1, vec!["kept".to_owned()]));
}

#[tokio::test]
async fn an_import_of_nothing_is_malformed() {
    let project = Project::with(&[("a", "1\n")]).await;
    let call = project.client.call(Method::POST, format!("/api/projects/{}/workspace/import", project.id));
    Answer::to(call).await.problem(ProblemKind::Malformed);
    let call = project.client.call(Method::POST, format!("/api/projects/{}/workspace/import", project.id));
    Answer::to(call.bytes("application/x-tar", Vec::new())).await.problem(ProblemKind::Malformed);
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn a_file_over_its_limit_is_refused_before_it_comes() {
    let project = Project::new().await;
    // The header alone says how large it would be.
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(100 * MIB as u64 + 1);
    header.set_mode(0o644);
    header.set_cksum();
    let call = project.client.call(Method::POST, format!("/api/projects/{}/workspace/import", project.id));
    let answer = Answer::to(call.bytes("application/x-tar", header.as_bytes().to_vec())).await;
    answer.problem(ProblemKind::TooLarge);
}

#[tokio::test]
async fn a_compressed_bomb_is_refused() {
    let project = Project::new().await;
    let zeros = Archive::default().file("zeros", &vec![0; 60 * MIB]).finished();
    let packed = gzip(&zeros);
    assert!(packed.len() < MIB, "{}", packed.len());
    // One file of 60 MB is fine, however small it came.
    project.client.import_workspace(project.id, packed).await.unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(120 * MIB as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let bomb = gzip(&[header.as_bytes().as_slice(), &vec![0; 120 * MIB]].concat());
    let call = project.client.call(Method::POST, format!("/api/projects/{}/workspace/import", project.id));
    Answer::to(call.bytes("application/gzip", bomb)).await.problem(ProblemKind::TooLarge);
    assert_eq!(project.head().await, 1);
}

#[tokio::test]
async fn imports_at_once_land_one_after_the_other() {
    let project = Project::new().await;
    let imports = (0..6u64).map(|number| {
        let project = &project;
        async move {
            let archive = Archive::default()
                .file("which", format!("{number}").as_bytes())
                .file("b", &noise(number, 300_000));
            project.import(archive).await.unwrap().revision.revision
        }
    });
    let mut revisions = futures_util::future::join_all(imports).await;
    revisions.sort_unstable();
    assert_eq!(revisions, [1, 2, 3, 4, 5, 6]);
    assert_eq!(project.paths().await, ["b", "which"]);
}
