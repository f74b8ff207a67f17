//! Which lines of the head a batch changes: by these, batches that wait are compared.

use std::collections::BTreeMap;

use patch_engine::{FileChange, Parsed};
use serde::{Deserialize, Serialize};
use shared_contracts::limits::{PATCH_BASE_BYTES_MAX, PATCH_TOUCHES_MAX};
use shared_contracts::patches::{Hunk, PatchOperation};
use shared_contracts::paths::WorkspacePath;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    pub path: String,
    /// Counted from 1. An insertion touches the line that it stands before.
    pub first: u32,
    pub last: u32,
    /// Those that did it; all of the file's where they cannot be told apart.
    pub operations: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Touched {
    pub revision: u64,
    pub touches: Vec<Touch>,
}

/// Each of so many operations on one file is planned once more, by itself.
const APART_MAX: usize = 20;

/// At most as many as are compared: beyond that, files are compared whole.
pub fn touches(operations: &[Parsed], changes: &[FileChange]) -> Vec<Touch> {
    let by_lines = all(operations, changes, lines);
    let mut touches =
        if by_lines.len() > PATCH_TOUCHES_MAX { all(operations, changes, whole) } else { by_lines };
    touches.truncate(PATCH_TOUCHES_MAX);
    touches
}

fn all(
    operations: &[Parsed],
    changes: &[FileChange],
    ranges: fn(&FileChange) -> Vec<(u32, u32)>,
) -> Vec<Touch> {
    let of = |change: &FileChange| {
        if let Some(touches) = apart(operations, change, ranges) {
            return touches;
        }
        let (path, operations) = (change.path.to_string(), on(operations, &change.path));
        let touch =
            move |(first, last)| Touch { path: path.clone(), first, last, operations: operations.clone() };
        ranges(change).into_iter().map(touch).collect::<Vec<_>>()
    };
    changes.iter().flat_map(of).collect()
}

/// What each operation does to the file as it is; none where one builds on another, or where there is but one.
fn apart(
    operations: &[Parsed],
    change: &FileChange,
    ranges: fn(&FileChange) -> Vec<(u32, u32)>,
) -> Option<Vec<Touch>> {
    let on = on(operations, &change.path);
    let before = change.before.as_ref()?;
    if !(2..=APART_MAX).contains(&on.len()) || before.bytes.len() as u64 > PATCH_BASE_BYTES_MAX {
        return None;
    }
    let file = BTreeMap::from([(change.path.clone(), before.clone())]);
    let mut touches: Vec<Touch> = Vec::new();
    for index in on {
        let alone = operations.get(usize::try_from(index).ok()?)?;
        let plan = patch_engine::plan_parsed(std::slice::from_ref(alone), &file).ok()?;
        let [change] = plan.changes.as_slice() else { return None };
        for (first, last) in ranges(change) {
            if touches.iter().any(|touch| touch.first <= last && touch.last >= first) {
                return None;
            }
            touches.push(Touch { path: change.path.to_string(), first, last, operations: vec![index] });
        }
    }
    Some(touches)
}

fn on(operations: &[Parsed], path: &WorkspacePath) -> Vec<u32> {
    let is_on = |operation: &PatchOperation| {
        operation.path() == path || matches!(operation, PatchOperation::Rename { to, .. } if to == path)
    };
    let numbered = (0..).zip(operations);
    numbered.filter(|(_, parsed)| parsed.as_ref().is_ok_and(is_on)).map(|(index, _)| index).collect()
}

fn whole(_: &FileChange) -> Vec<(u32, u32)> {
    vec![(1, u32::MAX)]
}

/// Of a file that goes, comes, or changes otherwise than by lines, all of it.
fn lines(change: &FileChange) -> Vec<(u32, u32)> {
    match patch_engine::diff(std::slice::from_ref(change)).operations.as_slice() {
        [PatchOperation::Edit { hunks, .. }] => hunks.iter().map(changed).collect(),
        _ => whole(change),
    }
}

/// Without the context around it.
fn changed(hunk: &Hunk) -> (u32, u32) {
    let (old, new): (Vec<_>, Vec<_>) =
        (hunk.old.split_inclusive('\n').collect(), hunk.new.split_inclusive('\n').collect());
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let line = |at: usize| hunk.start_line.unwrap_or(1).saturating_add(u32::try_from(at).unwrap_or(u32::MAX));
    let first = line(before);
    (first, line((old.len() - after).saturating_sub(1)).max(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use patch_engine::File;
    use shared_contracts::workspaces::FileMode;

    fn file(text: &str) -> Option<File> {
        Some(File { bytes: text.into(), mode: FileMode::Regular })
    }

    fn numbers(text: &str) -> String {
        text.split(' ').map(|line| format!("{line}\n")).collect()
    }

    fn ranges(before: &str, after: &str) -> Vec<(u32, u32)> {
        let path = WorkspacePath::parse("a").unwrap();
        lines(&FileChange { path, before: file(&numbers(before)), after: file(&numbers(after)) })
    }

    #[test]
    fn an_edit_touches_the_lines_that_it_changes() {
        assert_eq!(ranges("1 2 3 4 5", "1 2 x 4 5"), [(3, 3)]);
        assert_eq!(ranges("1 2 3 4 5", "1 x y z 5"), [(2, 4)]);
        assert_eq!(ranges("1 2 3 4 5", "1 2 x 3 4 5"), [(3, 3)], "an insertion");
        assert_eq!(ranges("1 2 3 4 5", "1 2 3 4 5 x"), [(6, 6)], "at the end");
        assert_eq!(ranges("1 2 3 4 5", "1 4 5"), [(2, 3)], "a deletion");
        let far = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
        assert_eq!(ranges(far, &far.replacen("2 ", "x ", 1).replace(" 19", " y")), [(2, 2), (19, 19)]);
    }

    #[test]
    fn each_of_several_edits_of_a_file_touches_its_own_lines() {
        let path = WorkspacePath::parse("a").unwrap();
        let edit = |old: &str, new: &str| {
            let hunk = Hunk { old: numbers(old), new: numbers(new), ..Hunk::default() };
            Ok(PatchOperation::Edit { path: path.clone(), base_sha256: None, hunks: vec![hunk] })
        };
        let found = |operations: &[Parsed], after: &str| -> Vec<_> {
            let (before, after) = (file(&numbers("1 2 3 4 5 6 7 8 9")), file(&numbers(after)));
            let touches = touches(operations, &[FileChange { path: path.clone(), before, after }]);
            touches.into_iter().map(|touch| (touch.first, touch.last, touch.operations)).collect()
        };
        let apart = [edit("2", "b"), edit("8", "h\ni")];
        assert_eq!(found(&apart, "1 b 3 4 5 6 7 h i 9"), [(2, 2, vec![0]), (8, 8, vec![1])]);
        let on_each_other = [edit("2", "b"), edit("b", "B")];
        assert_eq!(found(&on_each_other, "1 B 3 4 5 6 7 8 9"), [(2, 2, vec![0, 1])]);
    }

    #[test]
    fn a_file_that_goes_or_comes_is_touched_whole_by_its_operations() {
        let path = |text: &str| WorkspacePath::parse(text).unwrap();
        let rename = PatchOperation::Rename { from: path("a"), to: path("b"), base_sha256: None };
        let delete = PatchOperation::Delete { path: path("c"), base_sha256: None };
        let changes = [
            FileChange { path: path("a"), before: file("x\n"), after: None },
            FileChange { path: path("b"), before: None, after: file("x\n") },
            FileChange { path: path("c"), before: file("y\n"), after: None },
        ];
        let touches = touches(&[Ok(rename), Ok(delete)], &changes);
        let found: Vec<_> =
            touches.iter().map(|t| (t.path.as_str(), t.first, t.last, &*t.operations)).collect();
        assert_eq!(found, [("a", 1, u32::MAX, &[0][..]), ("b", 1, u32::MAX, &[0]), ("c", 1, u32::MAX, &[1])]);
    }
}
