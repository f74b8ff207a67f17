//! An import that nobody commits: a day later it is forgotten, and its blobs are nowhere any more.

use std::path::PathBuf;

use acceptance::agents::{Tenant, eventually, own_plane};
use acceptance::{Archive, Project, create, refused};
use rusqlite::Connection;
use shared_contracts::hash::Sha256;
use shared_contracts::ids::ImportId;
use shared_contracts::problem::ProblemKind;
use shared_contracts::workspaces::{FileMode, ManifestEntry};
use xtask::client::Pack;
use xtask::plane::Plane;

use crate::sqlite_files;

const A_DAY_MS: u64 = 24 * 3_600 * 1_000;
const WORKSPACES: &str = "do/patchbay-Workspace";

fn file(path: &str, content: &[u8]) -> ManifestEntry {
    let (path, sha256) = (path.parse().unwrap(), Sha256::of(content));
    ManifestEntry { path, sha256, size_bytes: content.len() as u64, mode: FileMode::Regular }
}

fn state(plane: &Plane, folder: &str) -> PathBuf {
    plane.state_folder().join("worker/v3").join(folder)
}

/// The file of the workspace that this plane has one of; the Worker must be away.
fn workspace(plane: &Plane) -> Connection {
    let files = sqlite_files(&state(plane, WORKSPACES));
    let [file] = files.as_slice() else { panic!("one workspace, not {files:?}") };
    Connection::open(file).unwrap()
}

fn count(connection: &Connection, table: &str) -> u32 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// Objects of the project's in R2.
fn objects(plane: &Plane) -> u32 {
    let files = sqlite_files(&state(plane, "r2/miniflare-R2BucketObject"));
    let count = |file: &PathBuf| {
        let connection = Connection::open(file).unwrap();
        let sql = "SELECT count(*) FROM _mf_objects WHERE key LIKE 'blobs/%'";
        connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    files.iter().map(count).sum()
}

/// As if the import had been started two days ago, and the object's alarm were due.
fn let_two_days_pass(plane: &Plane, import: ImportId) {
    let connection = workspace(plane);
    let old = ImportId::new(import.at_ms() - 2 * A_DAY_MS, 1).to_string();
    for table in ["imports", "staged"] {
        let sql = format!("UPDATE {table} SET import_id = ?1 WHERE import_id = ?2");
        connection.execute(&sql, [&old, &import.to_string()]).unwrap();
    }
    connection.execute("UPDATE _cf_METADATA SET value = 1000000 WHERE key = 1", []).unwrap();
    let alarms = Connection::open(state(plane, WORKSPACES).join("metadata.sqlite")).unwrap();
    assert_eq!(alarms.execute("UPDATE _cf_ALARM SET scheduled_time = 1000000", []).unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn is_forgotten_with_its_blobs() {
    let mut plane = own_plane("abandoned").await;
    let project = Project::of(Tenant::of(&plane, 0).client).await;
    let large = vec![1; 2 * 1024 * 1024];
    let text = |byte: u8| String::from_utf8(vec![byte; 2 * 1024 * 1024]).unwrap();
    project.import(Archive::of(&[("small", "kept\n"), ("large", &text(b'k'))])).await.unwrap();
    // A later revision has neither; the first one still does.
    project.import(Archive::of(&[("other", "kept too\n")])).await.unwrap();
    let manifest =
        [file("a", b"abandoned\n"), file("b", &large), file("c", b"other"), file("kept", b"kept\n")];
    let started = project.client.start_import(project.id, &manifest).await.unwrap();
    let mut pack = Pack::new();
    for content in [&b"abandoned\n"[..], &large] {
        pack.add(Sha256::of(content), content).unwrap();
    }
    project.client.store_blobs(project.id, started.import_id, pack.finish().unwrap()).await.unwrap();
    for content in [&b"abandoned\n"[..], &large] {
        assert_eq!(project.client.get_blob(project.id, Sha256::of(content)).await.unwrap(), content);
    }
    plane.stop_worker().await.unwrap();
    assert_eq!(objects(&plane), 2);
    let_two_days_pass(&plane, started.import_id);
    plane.start_worker().await.unwrap();
    eventually("the blobs are gone", acceptance::agents::SOON, async || {
        let small = project.client.get_blob(project.id, Sha256::of(b"abandoned\n")).await;
        small.is_err().then(|| refused(small, ProblemKind::NotFound))
    })
    .await;
    refused(project.client.get_blob(project.id, Sha256::of(&large)).await, ProblemKind::NotFound);
    refused(project.client.commit_import(project.id, started.import_id).await, ProblemKind::NotFound);
    // Every revision is whole, and the workspace works as before.
    for (path, content) in [("small", "kept\n"), ("large", &text(b'k'))] {
        let read = project.client.read_file(project.id, path, Some(1)).await.unwrap();
        assert!(read == content.as_bytes(), "{path}");
    }
    let patch = project.propose(vec![create("new", "abandoned\n")]).await;
    project.client.apply_patches(patch.id).await.unwrap();
    assert_eq!(project.text("new").await, "abandoned\n");
    plane.stop_worker().await.unwrap();
    let connection = workspace(&plane);
    assert_eq!((count(&connection, "staged"), count(&connection, "loose_objects")), (0, 0));
    assert_eq!(count(&connection, "blobs"), 4, "two of each revision's, and the patch's");
    assert_eq!(objects(&plane), 1);
    plane.stop().await.unwrap();
}
