#![no_main]
//! A file, then a patch: the first NUL parts them.

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use patch_engine::formats::read;
use patch_engine::{File, plan, plan_parsed};
use patch_engine_fuzz::in_time;
use shared_contracts::paths::WorkspacePath;
use shared_contracts::workspaces::FileMode;

fuzz_target!(|text: &str| {
    let Some((content, patch)) = text.split_once('\0') else { return };
    let path = WorkspacePath::parse("x").expect("a path");
    let file = File { bytes: content.into(), mode: FileMode::Regular };
    let mut tree = BTreeMap::from([(path, file)]);
    let planned = in_time(text.len(), || plan_parsed(&read(patch, None).ok()?.operations, &tree).ok());
    let Some(planned) = planned else { return };
    let before = tree.clone();
    for change in &planned.changes {
        match &change.after {
            Some(file) => tree.insert(change.path.clone(), file.clone()),
            None => tree.remove(&change.path),
        };
    }
    if !planned.changes.is_empty() {
        let back = plan(&planned.inverse(), &tree).expect("the inverse of what was just planned");
        for change in back.changes {
            match change.after {
                Some(file) => tree.insert(change.path, file),
                None => tree.remove(&change.path),
            };
        }
    }
    assert!(tree == before, "there and back is another tree");
});
