//! What holds for every tree and every batch: there and back, all or nothing, once and not twice.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;
use shared_contracts::patches::{Hunk, OperationOutcome, PatchBatch, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::{File, FileChange, Plan, Snapshot, diff, paths_needed, plan, split, unified_diff};

const CASES: u32 = 2_000;

type Files = BTreeMap<WorkspacePath, File>;

fn a_text() -> impl Strategy<Value = Vec<u8>> {
    let line = select(vec!["a\n", "b\n", "c\r\n", "}\n", "\n", "long line\n", "d", "ü\n"]);
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.concat().into_bytes())
}

fn a_file() -> impl Strategy<Value = File> {
    let regular = (a_text(), select(vec![FileMode::Regular, FileMode::Executable]));
    let binary = prop::collection::vec(any::<u8>(), 0..6).prop_map(|bytes| (bytes, FileMode::Regular));
    let link = select(vec!["a", "x/y"]).prop_map(|target| (target.into(), FileMode::Symlink));
    prop_oneof![6 => regular, 1 => binary, 1 => link].prop_map(|(bytes, mode)| File { bytes, mode })
}

/// Few names, so that files and directories take each other's places.
fn a_tree() -> impl Strategy<Value = Files> {
    let name = select(vec!["a", "b", "a/b", "a/b/c", "x", "x/y", "x/z", "q", "q r", "ä"]);
    prop::collection::vec((name, a_file()), 0..8).prop_map(|files| {
        let mut tree = Files::new();
        for (name, file) in files {
            let path = WorkspacePath::parse(name).unwrap();
            let free = path.ancestors().all(|above| !tree.contains_key(above)) && !tree.is_directory(&path);
            if free {
                tree.insert(path, file);
            }
        }
        tree
    })
}

/// Two trees of which the second often keeps or moves what the first has.
fn two_trees() -> impl Strategy<Value = (Files, Files)> {
    let mixed = (a_tree(), a_tree(), prop::collection::vec(any::<prop::sample::Index>(), 0..4));
    let mixed = mixed.prop_map(|(before, mut after, kept)| {
        let names: Vec<WorkspacePath> = after.keys().cloned().collect();
        for (name, index) in names.iter().zip(kept) {
            if !before.is_empty() {
                let moved = before.values().nth(index.index(before.len())).unwrap().clone();
                after.insert(name.clone(), moved);
            }
        }
        (before, after)
    });
    let edited = (a_tree(), prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..4));
    let edited = edited.prop_map(|(before, edits)| {
        let mut after = before.clone();
        for ((_, file), (at, insert)) in after.iter_mut().zip(edits) {
            if file.mode != FileMode::Symlink && !file.bytes.is_empty() {
                let at = at.index(file.bytes.len());
                if insert { file.bytes.insert(at, b'\n') } else { file.bytes[at] = b'x' }
            }
        }
        (before, after)
    });
    prop_oneof![mixed, edited]
}

fn a_line() -> impl Strategy<Value = &'static str> {
    select(vec!["a\n", "b\n", "c\n"])
}

fn lines(at_least: usize) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(a_line(), at_least..at_least + 6)
}

fn changes(before: &Files, after: &Files) -> Vec<FileChange> {
    let paths: BTreeSet<&WorkspacePath> = before.keys().chain(after.keys()).collect();
    let change = |path: &WorkspacePath| FileChange {
        path: path.clone(),
        before: before.get(path).cloned(),
        after: after.get(path).cloned(),
    };
    paths.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn after(tree: &Files, plan: &Plan) -> Files {
    crate::apply::tests::after(tree, plan)
}

/// Answers only what the engine announced.
struct Announced<'tree> {
    tree: &'tree Files,
    needed: BTreeSet<WorkspacePath>,
    unannounced: RefCell<Vec<String>>,
}

impl Announced<'_> {
    fn note(&self, path: &WorkspacePath) {
        if !self.needed.contains(path) {
            self.unannounced.borrow_mut().push(path.to_string());
        }
    }
}

impl Snapshot for Announced<'_> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.note(path);
        self.tree.get(path)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        self.note(path);
        self.tree.is_directory(path)
    }

    fn files_below(&self, path: &WorkspacePath) -> u64 {
        self.note(path);
        self.tree.files_below(path)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_difference_leads_exactly_there_and_its_inverse_back((before, wanted) in two_trees()) {
        let differences = changes(&before, &wanted);
        let batch = diff(&differences);
        let planned = plan(&batch, &before).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
        prop_assert_eq!(after(&before, &planned), wanted.clone());
        prop_assert_eq!(&planned.changes, &differences);
        let placed = |outcome: &OperationOutcome| matches!(outcome, OperationOutcome::Applied { .. });
        prop_assert!(planned.operations.iter().all(|receipt| placed(&receipt.outcome)));
        let back = plan(&planned.inverse(), &wanted).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
        prop_assert_eq!(after(&wanted, &back), before);
    }

    #[test]
    fn a_batch_that_has_landed_is_known((before, wanted) in two_trees()) {
        let batch = diff(&changes(&before, &wanted));
        let again = plan(&batch, &wanted).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
        prop_assert!(again.changes.is_empty());
        prop_assert!(again.operations.iter().all(|receipt| receipt.outcome == OperationOutcome::AlreadyApplied));
    }

    #[test]
    fn a_batch_refused_at_its_end_plans_nothing((before, wanted) in two_trees()) {
        let mut batch = diff(&changes(&before, &wanted));
        let path = WorkspacePath::parse("never").unwrap();
        batch.operations.push(PatchOperation::SetMode { path, mode: FileMode::Regular });
        let refusal = plan(&batch, &before).unwrap_err();
        prop_assert_eq!(refusal.operations.len(), batch.operations.len());
        let (last, others) = refusal.operations.split_last().unwrap();
        prop_assert!(others.iter().all(|receipt| receipt.outcome.is_success()));
        let is_missing = matches!(last.outcome, OperationOutcome::MissingFile { .. });
        prop_assert!(is_missing, "{:?}", last);
    }

    #[test]
    fn parts_lead_there_one_after_the_other((before, wanted) in two_trees(), bytes in 1_usize..600) {
        let mut tree = before.clone();
        for batch in split(diff(&changes(&before, &wanted)), bytes) {
            let planned = plan(&batch, &tree).map_err(|refusal| TestCaseError::fail(format!("{refusal:?}")))?;
            tree = after(&tree, &planned);
        }
        prop_assert_eq!(tree, wanted);
    }

    /// Without bases and on another tree: whatever happens, nothing panics, nothing is half done, hunks are never
    /// put in twice, and only announced paths are asked for.
    #[test]
    fn on_a_drifted_tree_it_applies_or_refuses((before, wanted) in two_trees(), drifted in a_tree()) {
        let mut operations = diff(&changes(&before, &wanted)).operations;
        for operation in &mut operations {
            match operation {
                PatchOperation::Edit { base_sha256, .. }
                | PatchOperation::Replace { base_sha256, .. }
                | PatchOperation::Delete { base_sha256, .. }
                | PatchOperation::Rename { base_sha256, .. } => *base_sha256 = None,
                _ => {}
            }
        }
        let batch = PatchBatch { operations };
        let tree = Announced { tree: &drifted, needed: paths_needed(&batch.operations), unannounced: RefCell::default() };
        let planned = plan(&batch, &tree);
        prop_assert_eq!(tree.unannounced.into_inner(), Vec::<String>::new());
        if let Ok(planned) = planned {
            let back = plan(&planned.inverse(), &after(&drifted, &planned)).unwrap();
            prop_assert_eq!(after(&after(&drifted, &planned), &back), drifted);
        }
    }

    /// Lines repeat and stand twice, the file has moved under the edit, and there is no base: the edit goes where it
    /// was meant or nowhere, and one that has landed is never put in again at a place that looks alike.
    #[test]
    fn a_drifted_file_is_never_edited_in_the_wrong_place(
        above in lines(0), below in lines(0), head in lines(3), tail in lines(3),
        old in prop::collection::vec(a_line(), 0..3), new in prop::collection::vec(a_line(), 0..3),
    ) {
        if old == new {
            return Ok(());
        }
        let name = WorkspacePath::parse("a").unwrap();
        let tree = |lines: [&[&str]; 5]| Files::from([(
            name.clone(),
            File { bytes: lines.concat().concat().into_bytes(), mode: FileMode::Regular },
        )]);
        let context = (&head[head.len() - 3..], &tail[..3]);
        let (hunk_old, hunk_new) = ([context.0, &old, context.1].concat(), [context.0, &new, context.1].concat());
        let hunk = Hunk { old: hunk_old.concat(), new: hunk_new.concat(), ..Hunk::default() };
        let batch = PatchBatch {
            operations: vec![PatchOperation::Edit { path: name.clone(), base_sha256: None, hunks: vec![hunk] }],
        };
        let pending = tree([&above, &head, &old, &tail, &below]);
        let landed = tree([&above, &head, &new, &tail, &below]);
        if let Ok(planned) = plan(&batch, &pending) {
            let result = after(&pending, &planned);
            prop_assert!(result == landed || result == pending);
        }
        // One line less of many equal ones, up to the hunk's edge: what it leaves behind looks like what it wants.
        let shrinks_a_run = hunk_old.windows(hunk_new.len()).any(|window| window == hunk_new);
        if let (Ok(planned), false) = (plan(&batch, &landed), shrinks_a_run) {
            prop_assert_eq!(after(&landed, &planned), landed);
        }
    }

    #[test]
    fn every_difference_can_be_shown((before, wanted) in two_trees()) {
        let differences = changes(&before, &wanted);
        let shown = unified_diff(&differences);
        prop_assert_eq!(shown.is_empty(), differences.is_empty());
    }
}
