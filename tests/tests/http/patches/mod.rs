//! Patch batches: all of it or nothing, once, with a receipt.

mod apply;
mod attacks;
mod check;
mod conflict;
mod direct;
mod patchctl;
mod propose;
mod radar;
mod revert;

use acceptance::{Project, create, edit, replace};
use shared_contracts::hash::Sha256;
use shared_contracts::patches::PatchRequest;
use shared_contracts::patches::{PatchBatch, PatchOperation, RejectPatch};
use shared_contracts::workspaces::FileMode;

pub const POEM: &str = "one\ntwo\nthree\nfour\n";

pub fn delete(path: &str, before: &str) -> PatchOperation {
    PatchOperation::Delete { path: path.parse().unwrap(), base_sha256: Some(Sha256::of(before.as_bytes())) }
}

pub fn rename(from: &str, to: &str, before: &str) -> PatchOperation {
    let base_sha256 = Some(Sha256::of(before.as_bytes()));
    PatchOperation::Rename { from: from.parse().unwrap(), to: to.parse().unwrap(), base_sha256 }
}

/// Sent along as text.
pub fn text(project: &Project, text: &str) -> PatchRequest {
    PatchRequest { text: Some(text.into()), ..request(project) }
}

/// Sent along as operations.
pub fn whole(project: &Project, operations: Vec<PatchOperation>) -> PatchRequest {
    PatchRequest { batch: Some(PatchBatch { operations }), ..request(project) }
}

fn request(project: &Project) -> PatchRequest {
    PatchRequest { project_id: Some(project.id), title: Some("a change".into()), ..PatchRequest::default() }
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
