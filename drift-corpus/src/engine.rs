//! The patch engine, driven as its users drive it: a text in, a plan or a refusal out.

use std::collections::BTreeMap;

use patch_engine::{File, FileChange, Snapshot, formats, plan_parsed, unified_diff};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{OperationOutcome, PatchOperation};
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

use crate::case::Case;
use crate::judge::Answer;

pub struct Planned {
    pub answer: Answer,
    /// What became of each operation, in the engine's own words.
    pub outcomes: Vec<OperationOutcome>,
}

impl Planned {
    /// Refused because the text stands at several places, which it names.
    pub fn names_candidates(&self) -> bool {
        let named = |outcome: &OperationOutcome| match outcome {
            OperationOutcome::Ambiguous { candidates, .. } => candidates.len() > 1,
            _ => false,
        };
        self.outcomes.iter().any(named)
    }

    pub fn is_already_applied(&self) -> bool {
        self.outcomes.iter().all(|outcome| *outcome == OperationOutcome::AlreadyApplied)
    }
}

/// One file, and the base where it is known.
struct Tree<'case> {
    files: BTreeMap<WorkspacePath, File>,
    base: Option<&'case str>,
}

impl Snapshot for Tree<'_> {
    fn file(&self, path: &WorkspacePath) -> Option<&File> {
        self.files.get(path)
    }

    fn is_directory(&self, path: &WorkspacePath) -> bool {
        self.files.is_directory(path)
    }

    fn base(&self, sha256: Sha256) -> Option<&[u8]> {
        self.base.map(str::as_bytes).filter(|base| Sha256::of(base) == sha256)
    }
}

pub fn answer(case: &Case, has_base: bool) -> Planned {
    let path = WorkspacePath::parse(&case.path).expect("a case's path is one");
    let file = File { bytes: case.current.clone().into_bytes(), mode: FileMode::Regular };
    let base = has_base.then_some(case.base.as_str());
    let tree = Tree { files: BTreeMap::from([(path.clone(), file)]), base };
    let read = match formats::read(&case.patch, Some(case.format.of_patch())) {
        Ok(read) => read,
        Err(malformed) => return refused(case, vec![malformed.into()]),
    };
    let mut operations = read.operations;
    for operation in operations.iter_mut().flatten() {
        if let PatchOperation::Edit { base_sha256, .. } = operation {
            *base_sha256 = base.map(|base| Sha256::of(base.as_bytes()));
        }
    }
    match plan_parsed(&operations, &tree) {
        Ok(plan) => {
            let changed = plan.changes.into_iter().find_map(|change| change.after);
            let content = match changed {
                Some(file) => String::from_utf8(file.bytes).expect("text stays text"),
                None => case.current.clone(),
            };
            let outcomes = plan.operations.into_iter().map(|receipt| receipt.outcome).collect();
            Planned { answer: Answer { is_done: true, content }, outcomes }
        }
        Err(refusal) => {
            refused(case, refusal.operations.into_iter().map(|receipt| receipt.outcome).collect())
        }
    }
}

fn refused(case: &Case, outcomes: Vec<OperationOutcome>) -> Planned {
    Planned { answer: Answer { is_done: false, content: case.current.clone() }, outcomes }
}

/// From one content to another, for a person.
pub fn difference(before: &str, after: &str) -> String {
    let file = |text: &str| Some(File { bytes: text.as_bytes().to_vec(), mode: FileMode::Regular });
    let path = WorkspacePath::parse("file").expect("it is a path");
    unified_diff(&[FileChange { path, before: file(before), after: file(after) }])
}
