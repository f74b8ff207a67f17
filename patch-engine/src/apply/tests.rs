//! Each outcome of each operation, through `plan`: the door that callers use.

use std::collections::BTreeMap;

use shared_contracts::patches::PatchBatch;

use super::*;
use crate::{Plan, Refusal, plan};

type Files = BTreeMap<WorkspacePath, File>;

pub(crate) fn path(text: &str) -> WorkspacePath {
    WorkspacePath::parse(text).unwrap()
}

pub(crate) fn file(text: &str) -> File {
    File { bytes: text.into(), mode: FileMode::Regular }
}

fn link(target: &str) -> File {
    File { bytes: target.into(), mode: FileMode::Symlink }
}

pub(crate) fn files<const N: usize>(files: [(&str, File); N]) -> Files {
    files.into_iter().map(|(name, file)| (path(name), file)).collect()
}

fn create(name: &str, content: &str, mode: FileMode) -> PatchOperation {
    PatchOperation::Create { path: path(name), content: Content::Text(content.into()), mode }
}

pub(crate) fn edit(name: &str, old: &str, new: &str) -> PatchOperation {
    let hunks = vec![Hunk { start_line: Some(1), old: old.into(), new: new.into(), ..Hunk::default() }];
    PatchOperation::Edit { path: path(name), base_sha256: None, hunks }
}

pub(crate) fn replace(name: &str, base: Option<&str>, content: &str) -> PatchOperation {
    let base_sha256 = base.map(|base| Sha256::of(base.as_bytes()));
    PatchOperation::Replace { path: path(name), base_sha256, content: Content::Text(content.into()) }
}

pub(crate) fn delete(name: &str, base: Option<&str>) -> PatchOperation {
    PatchOperation::Delete { path: path(name), base_sha256: base.map(|base| Sha256::of(base.as_bytes())) }
}

pub(crate) fn rename(from: &str, to: &str, base: Option<&str>) -> PatchOperation {
    let base_sha256 = base.map(|base| Sha256::of(base.as_bytes()));
    PatchOperation::Rename { from: path(from), to: path(to), base_sha256 }
}

pub(crate) fn set_mode(name: &str, mode: FileMode) -> PatchOperation {
    PatchOperation::SetMode { path: path(name), mode }
}

pub(crate) fn run(tree: &Files, operations: &[PatchOperation]) -> Result<Plan, Refusal> {
    plan(&PatchBatch { operations: operations.to_vec() }, tree)
}

pub(crate) fn after(tree: &Files, plan: &Plan) -> Files {
    let mut tree = tree.clone();
    for change in &plan.changes {
        assert_eq!(tree.get(&change.path), change.before.as_ref());
        match &change.after {
            Some(file) => drop(tree.insert(change.path.clone(), file.clone())),
            None => drop(tree.remove(&change.path)),
        }
    }
    tree
}

fn refused(tree: &Files, operation: PatchOperation) -> OperationOutcome {
    run(tree, &[operation]).expect_err("refused").operations[0].outcome.clone()
}

fn becomes(tree: &Files, operations: &[PatchOperation], expected: &Files) {
    let plan = run(tree, operations).unwrap();
    assert_eq!(&after(tree, &plan), expected);
}

fn already(tree: &Files, operation: PatchOperation) {
    let plan = run(tree, &[operation]).unwrap();
    assert_eq!(plan.operations[0].outcome, OperationOutcome::AlreadyApplied);
    assert!(plan.changes.is_empty() && plan.inverse().operations.is_empty());
}

#[test]
fn creates() {
    let tree = files([("a", file("1")), ("d/x", file(""))]);
    let mut expected = tree.clone();
    expected.insert(path("d/new"), File { bytes: b"n".into(), mode: FileMode::Executable });
    becomes(&tree, &[create("d/new", "n", FileMode::Executable)], &expected);
    already(&tree, create("a", "1", FileMode::Regular));
    for operation in [
        create("a", "2", FileMode::Regular),
        create("a", "1", FileMode::Executable),
        create("d", "1", FileMode::Regular),
    ] {
        assert!(matches!(refused(&tree, operation), OperationOutcome::FileExists { .. }));
    }
    let content = Content::Base64("not base64!".into());
    let bad = PatchOperation::Create { path: path("n"), content, mode: FileMode::Regular };
    assert!(matches!(refused(&tree, bad), OperationOutcome::Malformed { .. }));
}

#[test]
fn edits_refuse_what_is_no_text() {
    let binary = File { bytes: vec![b'a', 0, b'\n'], mode: FileMode::Regular };
    let latin = File { bytes: vec![0xe4, b'\n'], mode: FileMode::Regular };
    let large = file(&"a\n".repeat(TEXT_BYTES_MAX / 2 + 1));
    let tree = files([
        ("binary", binary),
        ("latin", latin),
        ("link", link("t")),
        ("large", large),
        ("d/x", file("")),
    ]);
    for name in ["binary", "latin", "link"] {
        assert!(
            matches!(refused(&tree, edit(name, "a\n", "b\n")), OperationOutcome::NotText { .. }),
            "{name}"
        );
    }
    assert!(matches!(refused(&tree, edit("large", "a\n", "b\n")), OperationOutcome::TooLarge { .. }));
    assert!(matches!(refused(&tree, edit("none", "a\n", "b\n")), OperationOutcome::MissingFile { .. }));
    assert!(matches!(refused(&tree, edit("d", "a\n", "b\n")), OperationOutcome::DeniedPath { .. }));
    let none = PatchOperation::Edit { path: path("binary"), base_sha256: None, hunks: vec![] };
    assert!(matches!(refused(&tree, none), OperationOutcome::Malformed { .. }));
}

#[test]
fn edits_know_their_own_result_by_the_base() {
    // By text alone each of these would be ambiguous or refused.
    let hunks = vec![
        Hunk { start_line: Some(1), old: "}\n".into(), new: "}\n}\n".into(), ..Hunk::default() },
        Hunk { start_line: Some(3), old: String::new(), new: "new\n".into(), ..Hunk::default() },
    ];
    let edit = PatchOperation::Edit { path: path("a"), base_sha256: Some(Sha256::of(b"}\n}\n}\n")), hunks };
    let before = files([("a", file("}\n}\n}\n"))]);
    let plan = run(&before, std::slice::from_ref(&edit)).unwrap();
    let landed = after(&before, &plan);
    assert_eq!(landed[&path("a")], file("}\n}\n}\nnew\n}\n"));
    already(&landed, edit.clone());
    let drifted = files([("a", file("drift\n}\n}\n}\nnew\n}\n"))]);
    assert!(matches!(refused(&drifted, edit), OperationOutcome::Ambiguous { .. }));
}

#[test]
fn replaces_and_deletes() {
    let tree = files([("a", file("1")), ("b", file("2"))]);
    becomes(&tree, &[replace("a", Some("1"), "3")], &files([("a", file("3")), ("b", file("2"))]));
    becomes(&tree, &[delete("a", None)], &files([("b", file("2"))]));
    already(&tree, replace("a", Some("older"), "1"));
    already(&tree, delete("gone", Some("1")));
    for operation in [replace("a", Some("older"), "3"), delete("a", Some("older"))] {
        let outcome = refused(&tree, operation);
        assert!(matches!(outcome, OperationOutcome::StaleBase { found, .. } if found == Sha256::of(b"1")));
    }
    assert!(matches!(refused(&tree, replace("gone", None, "3")), OperationOutcome::MissingFile { .. }));
    let path = path("a");
    let bad = PatchOperation::Replace { path, base_sha256: None, content: Content::Base64("=".into()) };
    assert!(matches!(refused(&tree, bad), OperationOutcome::Malformed { .. }));
    let large = replace("a", None, &"x".repeat(FILE_BYTES_MAX as usize + 1));
    assert!(matches!(refused(&tree, large), OperationOutcome::TooLarge { .. }));
}

#[test]
fn renames() {
    let tree = files([("a", file("1")), ("b", file("2")), ("d/x", file("3"))]);
    let expected = files([("n/a", file("1")), ("b", file("2")), ("d/x", file("3"))]);
    becomes(&tree, &[rename("a", "n/a", Some("1"))], &expected);
    already(&tree, rename("gone", "b", Some("2")));
    already(&tree, rename("gone", "b", None));
    assert!(matches!(refused(&tree, rename("gone", "b", Some("1"))), OperationOutcome::MissingFile { .. }));
    assert!(matches!(refused(&tree, rename("gone", "n", None)), OperationOutcome::MissingFile { .. }));
    assert!(matches!(refused(&tree, rename("a", "b", None)), OperationOutcome::FileExists { .. }));
    assert!(matches!(refused(&tree, rename("a", "d", None)), OperationOutcome::FileExists { .. }));
    assert!(matches!(refused(&tree, rename("a", "b/c", None)), OperationOutcome::DeniedPath { .. }));
    assert!(matches!(refused(&tree, rename("a", "a", None)), OperationOutcome::Malformed { .. }));
    assert!(matches!(refused(&tree, rename("a", "n", Some("2"))), OperationOutcome::StaleBase { .. }));
    // Into its own place, both ways.
    becomes(&files([("a", file("1"))]), &[rename("a", "a/b", None)], &files([("a/b", file("1"))]));
    becomes(&files([("a/b", file("1"))]), &[rename("a/b", "a", None)], &files([("a", file("1"))]));
}

#[test]
fn modes_and_links() {
    let tree = files([("a", file("t")), ("out", file("../x")), ("l", link("a")), ("d/up", link("../a"))]);
    let executable = File { bytes: b"t".into(), mode: FileMode::Executable };
    let mut expected = tree.clone();
    expected.insert(path("a"), executable);
    becomes(&tree, &[set_mode("a", FileMode::Executable)], &expected);
    already(&tree, set_mode("a", FileMode::Regular));
    assert!(matches!(
        refused(&tree, set_mode("gone", FileMode::Regular)),
        OperationOutcome::MissingFile { .. }
    ));
    for operation in [
        set_mode("out", FileMode::Symlink),
        create("n", "/etc/passwd", FileMode::Symlink),
        create("n", "d/../../x", FileMode::Symlink),
        // Through `d`, should it become a link, this leads out; `resolve_link` refuses it.
        create("n", "d/../x", FileMode::Symlink),
        create("n", "", FileMode::Symlink),
        create("n", "a\0b", FileMode::Symlink),
        replace("l", None, "../x"),
        // Moved up, its target would lie outside.
        rename("d/up", "up", None),
        create(&("d/".repeat(129) + "x"), "", FileMode::Regular),
        // Never through a link or a file.
        create("l/x", "", FileMode::Regular),
        edit("l/x", "a\n", "b\n"),
        delete("a/x", None),
    ] {
        let outcome = refused(&tree, operation.clone());
        assert!(matches!(outcome, OperationOutcome::DeniedPath { .. }), "{operation:?} {outcome:?}");
    }
    becomes(&tree, &[replace("l", None, "d/up")], &{
        let mut expected = tree.clone();
        expected.insert(path("l"), link("d/up"));
        expected
    });
}

#[test]
fn operations_compose_in_order() {
    let tree = files([("a", file("1\n")), ("b", file("2\n"))]);
    let expected = files([("c", file("3\n")), ("b", file("new\nlines\n")), ("n", file("y\n"))]);
    let operations = [
        rename("a", "c", Some("1\n")),
        edit("c", "1\n", "3\n"),
        delete("b", None),
        create("b", "new\n", FileMode::Regular),
        edit("b", "new\n", "new\nlines\n"),
        create("n", "x\n", FileMode::Regular),
        edit("n", "x\n", "y\n"),
    ];
    becomes(&tree, &operations, &expected);
    becomes(&tree, &[create("n", "x", FileMode::Regular), delete("n", None)], &tree);
    let nothing =
        run(&tree, &[edit("a", "1\n", "2\n"), edit("a", "2\n", "1\n"), replace("b", None, "2\n")]).unwrap();
    assert!(nothing.changes.is_empty() && nothing.inverse().operations.is_empty());
    // A directory gives way to a file, and a file to a directory.
    let deep = files([("d/x", file("1")), ("d/e/y", file("2"))]);
    let flat = [delete("d/x", None), delete("d/e/y", None), create("d", "3", FileMode::Regular)];
    becomes(&deep, &flat, &files([("d", file("3"))]));
    assert!(run(&deep, &flat[1..]).is_err());
    becomes(
        &tree,
        &[delete("a", None), create("a/x", "", FileMode::Regular)],
        &files([("a/x", file("")), ("b", file("2\n"))]),
    );
}

#[test]
fn a_refused_batch_explains_every_operation_and_plans_nothing() {
    let tree = files([("a", file("1\n"))]);
    let operations = [
        edit("a", "1\n", "2\n"),
        rename("gone", "c", None),
        edit("c", "1\n", "2\n"),
        create("a", "other", FileMode::Regular),
        create("n", "x", FileMode::Regular),
    ];
    let refusal = run(&tree, &operations).unwrap_err();
    let outcomes: Vec<&OperationOutcome> =
        refusal.operations.iter().map(|receipt| &receipt.outcome).collect();
    assert!(matches!(outcomes[..], [
        OperationOutcome::Applied { .. },
        OperationOutcome::MissingFile { .. },
        OperationOutcome::MissingFile { hint },
        OperationOutcome::FileExists { .. },
        OperationOutcome::Applied { .. },
    ] if hint.contains("operation 1")));
    assert_eq!(refusal.operations.iter().map(|receipt| receipt.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}
