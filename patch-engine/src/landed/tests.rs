use shared_contracts::patches::OperationOutcome;

use super::*;
use crate::apply::tests::{after, delete, edit, file, files, path, rename, replace, run, set_mode};

fn create(name: &str, content: &str) -> PatchOperation {
    use shared_contracts::patches::Content;
    PatchOperation::Create {
        path: path(name),
        content: Content::Text(content.into()),
        mode: FileMode::Regular,
    }
}

fn edit_of(base: &str, name: &str, old: &str, new: &str) -> PatchOperation {
    match edit(name, old, new) {
        PatchOperation::Edit { path, hunks, .. } => {
            PatchOperation::Edit { path, base_sha256: Some(Sha256::of(base.as_bytes())), hunks }
        }
        other => other,
    }
}

#[test]
fn a_batch_that_builds_on_itself_is_known_when_it_comes_again() {
    let tree = files([("a", file("1\nx\n")), ("b", file("2\n")), ("d/x", file("3\n"))]);
    for operations in [
        vec![create("n", "1\n"), edit("n", "1\n", "2\n")],
        vec![edit("a", "1\n", "2\n"), edit("a", "2\n", "3\n")],
        vec![rename("a", "c", Some("1\nx\n")), edit_of("1\nx\n", "c", "1\n", "2\n")],
        vec![rename("a", "c", None), edit("c", "1\n", "2\n"), rename("c", "e", None)],
        vec![delete("a", Some("1\nx\n")), create("a", "new\n")],
        vec![delete("d/x", Some("3\n")), create("d", "3\n")],
        vec![delete("a", None), create("a/b", "3\n")],
        vec![
            rename("a", "t", Some("1\nx\n")),
            rename("b", "a", Some("2\n")),
            rename("t", "b", Some("1\nx\n")),
        ],
        vec![replace("a", Some("1\nx\n"), "b"), set_mode("a", FileMode::Symlink)],
        vec![delete("b", Some("2\n")), rename("a", "b", Some("1\nx\n"))],
        vec![edit("a", "1\n", "2\n"), delete("a", None)],
    ] {
        let first = run(&tree, &operations).unwrap();
        let landed = after(&tree, &first);
        assert_ne!(landed, tree);
        let again = run(&landed, &operations).unwrap();
        assert!(again.changes.is_empty());
        for receipt in again.operations {
            assert_eq!(receipt.outcome, OperationOutcome::AlreadyApplied, "{operations:?}");
        }
    }
}

#[test]
fn a_swap_without_proof_is_done_not_believed() {
    let tree = files([("a", file("1\n")), ("b", file("2\n"))]);
    let swap = [rename("a", "t", None), rename("b", "a", None), rename("t", "b", None)];
    let plan = run(&tree, &swap).unwrap();
    assert_eq!(after(&tree, &plan), files([("a", file("2\n")), ("b", file("1\n"))]));
}

#[test]
fn a_group_of_which_something_is_missing_has_not_landed() {
    let tree = files([("n", file("other\n"))]);
    assert!(run(&tree, &[create("n", "1\n"), edit("n", "1\n", "2\n")]).is_err());
    let moved = files([("c", file("other\n"))]);
    assert!(run(&moved, &[rename("a", "c", Some("1\n")), edit_of("1\n", "c", "1\n", "2\n")]).is_err());
    assert!(run(&moved, &[delete("c", Some("1\n")), rename("a", "c", None)]).is_err());
}

#[test]
fn hunks_are_taken_back_only_to_their_base() {
    let hunks = [
        Hunk { start_line: Some(1), old: "a\n".into(), new: "A\nA\n".into(), ..Hunk::default() },
        Hunk { start_line: Some(3), old: "c".into(), new: String::new(), ..Hunk::default() },
    ];
    assert_eq!(without_hunks("A\nA\nb\n", Sha256::of(b"a\nb\nc"), &hunks).as_deref(), Some("a\nb\nc"));
    assert_eq!(without_hunks("A\nA\nB\n", Sha256::of(b"a\nb\nc"), &hunks), None);
    assert_eq!(without_hunks("a\nb\nc", Sha256::of(b"a\nb\nc"), &hunks), None);
}
