//! Patch batches: all of it or nothing, once, with a receipt.

mod apply;
mod conflict;
mod propose;

use acceptance::{Project, create, edit, replace};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::{PatchOperation, RejectPatch};
use shared_contracts::workspaces::FileMode;

pub const POEM: &str = "one\ntwo\nthree\nfour\n";

pub fn delete(path: &str, before: &str) -> PatchOperation {
    PatchOperation::Delete { path: path.parse().unwrap(), base_sha256: Some(Sha256::of(before.as_bytes())) }
}

pub fn rename(from: &str, to: &str, before: &str) -> PatchOperation {
    let base_sha256 = Some(Sha256::of(before.as_bytes()));
    PatchOperation::Rename { from: from.parse().unwrap(), to: to.parse().unwrap(), base_sha256 }
}

pub fn no() -> RejectPatch {
    RejectPatch { reason: "not like this".into() }
}

/// Every kind of operation at once.
pub fn all_kinds() -> Vec<PatchOperation> {
    vec![
        edit("poem", POEM, 2, "zwei\n"),
        create("dir/new", "fresh\n"),
        replace("whole", "old\n", "new\n"),
        delete("gone", "bye\n"),
        rename("before", "moved/after", "same\n"),
        PatchOperation::SetMode { path: "run".parse().unwrap(), mode: FileMode::Executable },
    ]
}

pub async fn project() -> Project {
    Project::with(&[
        ("poem", POEM),
        ("whole", "old\n"),
        ("gone", "bye\n"),
        ("before", "same\n"),
        ("run", "#!/bin/sh\n"),
    ])
    .await
}
