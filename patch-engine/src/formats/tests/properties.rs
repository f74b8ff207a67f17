//! What holds for every text and every edit.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{PatchBatch, PatchFormat, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::formats::{read, sniff, write};
use crate::{File, FileChange, diff, plan};

const VALID: [&str; 5] = [
    "diff --git a/x b/y\nold mode 100644\nnew mode 100755\nsimilarity index 9%\nrename from x\nrename to y\n--- a/x\n+++ b/y\n@@ -1,3 +1,3 @@ f\n a\n-b\n+c\n\n\\ No newline at end of file\n--- /dev/null\n+++ b/z\n@@ -0,0 +1 @@\n+a\n",
    "Text\n\n`x.py`\n```python\n<<<<<<< SEARCH\n:start_line:1\n-------\na\n...\nb\n=======\nc\n...\nd\n>>>>>>> REPLACE\n```\n",
    "*** Begin Patch\n*** Add File: n\n+a\n*** Update File: x\n*** Move to: y\n@@ class A\n@@ def f\n a\n\n-b\n+c\n*** End of File\n*** Delete File: d\n*** End Patch\n",
    "x.md\n````md\n```sh\na\n```\n````\n\ny.py\n~~~\nb\n~~~\n",
    "[{\"operation\":\"edit\",\"path\":\"x\",\"base_sha256\":null,\"hunks\":[{\"old\":\"a\\n\",\"new\":\"b\\n\"}]}]\n",
];

type Files = BTreeMap<WorkspacePath, File>;

fn a_text() -> impl Strategy<Value = String> {
    let line = select(vec![
        "a\n",
        "b\n",
        "}\n",
        "\n",
        "  x = 1\n",
        "=======\n",
        "-- y\n",
        "++ z\n",
        "```\n",
        "*** End Patch\n",
        "@@ -1 +1 @@\n",
        "...\n",
        "<<<<<<< SEARCH\n",
        ">>>>>>> REPLACE\n",
        "c\r\n",
        "--- a/x\n",
        "+++ b/x\n",
        "\\ No newline\n",
        "-- \n",
    ]);
    prop::collection::vec(line, 0..30).prop_map(|lines| lines.concat())
}

/// Files before and after: most lines stay, files come, go and move.
fn two_trees() -> impl Strategy<Value = (Files, Files)> {
    let file = (a_text(), a_text(), any::<Index>(), any::<Index>(), 0..9_u8);
    prop::collection::vec(file, 1..4).prop_map(|files| {
        let (mut before, mut after) = (Files::new(), Files::new());
        let regular = |text: String| File { bytes: text.into_bytes(), mode: FileMode::Regular };
        for (name, (text, other, at, length, kind)) in ["x.py", "d/y.md", "p q.c"].into_iter().zip(files) {
            let path = WorkspacePath::parse(name).unwrap();
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let at = at.index(lines.len() + 1);
            let end = (at + length.index(4)).min(lines.len());
            let few: String = other.split_inclusive('\n').take(3).collect();
            let edited = lines[..at].concat() + &few + &lines[end..].concat();
            if kind != 0 {
                before.insert(path.clone(), regular(text.clone()));
            }
            let path = if kind == 2 { WorkspacePath::parse(&format!("moved/{name}")).unwrap() } else { path };
            if kind != 1 {
                after.insert(path, regular(edited));
            }
        }
        (before, after)
    })
}

fn changes(before: &Files, after: &Files) -> Vec<FileChange> {
    let paths: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |path: &WorkspacePath| FileChange {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    };
    paths.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

/// A file of few different lines leaves no place to a hunk without its base; whoever sends a diff knows the base.
fn with_bases(operations: &mut [PatchOperation], files: &Files) {
    let mut seen = BTreeMap::new();
    for operation in operations {
        match operation {
            PatchOperation::Rename { from, to, .. } => {
                seen.insert(to.clone(), files.get(from));
            }
            PatchOperation::Edit { path, base_sha256, .. } => {
                // A second edit has the file that the first one made for its base.
                let file = seen.insert(path.clone(), None).unwrap_or_else(|| files.get(path));
                *base_sha256 = file.map(|file| Sha256::of(&file.bytes));
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Through any two formats: what can be written has the same effect when it is read again.
    #[test]
    fn a_batch_survives_every_pair_of_formats((before, wanted) in two_trees(), first in select(&PatchFormat::ALL[..]), second in select(&PatchFormat::ALL[..])) {
        let differences = changes(&before, &wanted);
        let mut operations = diff(&differences).operations;
        for format in [first, second] {
            let Ok(text) = write(format, &operations, &before) else {
                prop_assert!(!matches!(format, PatchFormat::Json | PatchFormat::UnifiedDiff));
                return Ok(());
            };
            if text.is_empty() {
                prop_assert!(differences.is_empty());
                return Ok(());
            }
            let Ok(read) = read(&text, Some(format)) else {
                prop_assert!(differences.is_empty(), "{}", text);
                return Ok(());
            };
            let understood: Result<Vec<_>, _> = read.operations.into_iter().collect();
            operations = understood.map_err(|refused| TestCaseError::fail(format!("{refused:?}\n{text}")))?;
            with_bases(&mut operations, &before);
            let batch = PatchBatch { operations: operations.clone() };
            let planned = plan(&batch, &before).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}\n{text}")))?;
            prop_assert_eq!(&planned.changes, &differences, "{}", text);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|[ \\-+@<=>`~*\\n\\r\\t{}a-c\"/.,:0-9\\\\]{0,200}") {
        sniff(&text);
        for format in PatchFormat::ALL {
            let _ = read(&text, Some(format));
        }
    }

    #[test]
    fn a_patch_with_lines_changed_is_read_or_refused(
        valid in select(&VALID[..]),
        edits in prop::collection::vec((any::<Index>(), any::<Index>(), any::<char>(), 0..4_u8), 1..6),
    ) {
        let mut lines: Vec<String> = valid.split_inclusive('\n').map(str::to_owned).collect();
        for (at, other, letter, kind) in edits {
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match kind {
                0 => lines.swap(at, other),
                1 => { let copy = lines[other].clone(); lines.insert(at, copy); }
                2 => lines[at].insert(0, letter),
                _ => { let keep = lines[at].chars().count() / 2; lines[at] = lines[at].chars().take(keep).collect(); }
            }
        }
        let text = lines.concat();
        sniff(&text);
        for format in PatchFormat::ALL {
            if let Ok(read) = read(&text, Some(format)) {
                prop_assert!(!read.operations.is_empty());
            }
        }
    }
}
