use super::*;
use crate::apply::tests::{file, path};
use crate::unified_diff;

fn change(name: &str, before: Option<File>, after: Option<File>) -> FileChange {
    FileChange { path: path(name), before, after }
}

fn with_mode(text: &str, mode: FileMode) -> File {
    File { bytes: text.into(), mode }
}

fn numbers(changed: usize) -> String {
    (1..=9).map(|n| if n == changed { "changed\n".to_owned() } else { format!("{n}\n") }).collect()
}

fn kinds(changes: &[FileChange]) -> Vec<String> {
    let name = |operation: &PatchOperation| {
        let json = serde_json::to_value(operation).unwrap();
        format!("{} {}", json["operation"].as_str().unwrap(), operation.path())
    };
    diff(changes).operations.iter().map(name).collect()
}

#[test]
fn text_is_sent_as_hunks_with_three_lines_around() {
    let changes = [change("a", Some(file(&numbers(0))), Some(file(&numbers(5))))];
    let [PatchOperation::Edit { base_sha256, hunks, .. }] = &diff(&changes).operations[..] else { panic!() };
    assert_eq!(*base_sha256, Some(Sha256::of(numbers(0).as_bytes())));
    let hunk = Hunk {
        start_line: Some(2),
        old: "2\n3\n4\n5\n6\n7\n8\n".into(),
        new: "2\n3\n4\nchanged\n6\n7\n8\n".into(),
        ..Hunk::default()
    };
    assert_eq!(hunks, &[hunk]);
}

#[test]
fn every_kind_of_change_in_a_fixed_order() {
    let binary = |last: u8| File { bytes: vec![0xff, 0, last], mode: FileMode::Regular };
    let changes = [
        change("z-created", None, Some(file("new\n"))),
        change("binary", Some(binary(1)), Some(binary(2))),
        change("rewritten", Some(file("a\n")), Some(file("b\n"))),
        change("mode", Some(file("x")), Some(with_mode("x", FileMode::Executable))),
        change("to-link", Some(file("x")), Some(with_mode("mode", FileMode::Symlink))),
        change("from-link", Some(with_mode("mode", FileMode::Symlink)), Some(file("x"))),
        change("same", Some(file("x")), Some(file("x"))),
        change("moved/old", Some(file(&numbers(0))), None),
        change("moved/new", None, Some(file(&numbers(3)))),
        change("exact-old", Some(file("e\n")), None),
        change("exact-new", None, Some(with_mode("e\n", FileMode::Executable))),
        change("deleted", Some(file("gone\n")), None),
    ];
    let expected = [
        "delete deleted",
        "rename exact-old",
        "rename moved/old",
        "replace binary",
        "set_mode exact-new",
        "set_mode from-link",
        "replace from-link",
        "set_mode mode",
        "edit moved/new",
        "replace rewritten",
        "replace to-link",
        "set_mode to-link",
        "create z-created",
    ];
    assert_eq!(kinds(&changes), expected);
    let mut turned = changes.to_vec();
    turned.reverse();
    assert_eq!(diff(&turned), diff(&changes));
}

#[test]
fn files_of_one_name_move_to_each_other() {
    let changes = [
        change("a/one", Some(file("same\n")), None),
        change("a/two", Some(file("same\n")), None),
        change("b/one", None, Some(file("same\n"))),
        change("b/two", None, Some(file("same\n"))),
        change("b/three", None, Some(file("same\n"))),
        change("empty", Some(file("")), None),
        change("other", None, Some(file(""))),
    ];
    assert_eq!(
        kinds(&changes),
        ["delete empty", "rename a/one", "rename a/two", "create b/three", "create other"]
    );
    let renames = diff(&changes).operations;
    assert!(matches!(&renames[1], PatchOperation::Rename { to, .. } if to.as_str() == "b/one"));
    assert!(matches!(&renames[2], PatchOperation::Rename { to, .. } if to.as_str() == "b/two"));
}

#[test]
fn moves_into_each_others_places_are_not_renames() {
    let changes = [
        change("a", Some(file("1\n")), None),
        change("b/c", Some(file("2\n")), None),
        change("b", None, Some(file("1\n"))),
        change("a/d", None, Some(file("2\n"))),
    ];
    assert_eq!(kinds(&changes), ["delete a", "delete b/c", "create a/d", "create b"]);
}

#[test]
fn ten_thousand_moved_files_take_bounded_work() {
    let text = |n: usize, extra: &str| {
        let line = |k: usize| format!("{n} {k} common\n");
        file(&((0..20).map(line).collect::<String>() + extra))
    };
    let mut changes = Vec::new();
    for n in 0..5_000 {
        changes.push(change(&format!("old/{n}"), Some(text(n, "")), None));
        changes.push(change(&format!("new/{n}x"), None, Some(text(n, "more\n"))));
    }
    assert!(diff(&changes).operations.len() >= 5_000);
}

#[test]
fn people_read_what_git_would_write() {
    let changes = [
        change("changed", Some(file("1\n2\n3\n4\n5\n6")), Some(file("1\n2\n3\n4\n5\nsix"))),
        change("created file", None, Some(with_mode("x\n", FileMode::Executable))),
        change("deleted", Some(file("gone\r\n")), None),
        change("mode", Some(file("x")), Some(with_mode("x", FileMode::Executable))),
        change("moved", Some(file(&numbers(0))), None),
        change("new/place", None, Some(file(&numbers(9)))),
        change("picture", Some(File { bytes: vec![0xff], mode: FileMode::Regular }), None),
        change("quo\"te", None, Some(file(""))),
        change("type", Some(file("x\n")), Some(with_mode("changed", FileMode::Symlink))),
    ];
    let expected = "\
diff --git a/changed b/changed
--- a/changed
+++ b/changed
@@ -3,4 +3,4 @@
 3
 4
 5
-6
\\ No newline at end of file
+six
\\ No newline at end of file
diff --git a/created file b/created file
new file mode 100755
--- /dev/null
+++ b/created file\t
@@ -0,0 +1 @@
+x
diff --git a/deleted b/deleted
deleted file mode 100644
--- a/deleted
+++ /dev/null
@@ -1 +0,0 @@
-gone\r
diff --git a/mode b/mode
old mode 100644
new mode 100755
diff --git a/moved b/new/place
similarity index 66%
rename from moved
rename to new/place
--- a/moved
+++ b/new/place
@@ -6,4 +6,4 @@
 6
 7
 8
-9
+changed
diff --git a/picture b/picture
deleted file mode 100644
Binary files a/picture and /dev/null differ
diff --git \"a/quo\\\"te\" \"b/quo\\\"te\"
new file mode 100644
diff --git a/type b/type
deleted file mode 100644
--- a/type
+++ /dev/null
@@ -1 +0,0 @@
-x
diff --git a/type b/type
new file mode 120000
--- /dev/null
+++ b/type
@@ -0,0 +1 @@
+changed
\\ No newline at end of file
";
    assert_eq!(unified_diff(&changes), expected);
}
