//! `revert`: applies what takes an earlier apply back. It is placed as any patch is, so that what others built around
//! it since stays, and what they built on it refuses.

use std::path::Path;

use shared_contracts::ids::PatchBatchId;
use shared_contracts::patches::TreeReceipt;

use super::{Outcome, writing};
use crate::cli::Revert;
use crate::disk::{Given, Tree};
use crate::failure::Failure;
use crate::local::{self, Job};
use crate::report::{self, Mood};
use crate::server::Server;
use crate::state::{self, State};

pub fn run(arguments: &Revert) -> Outcome {
    if let Some(server) = Server::of(&arguments.target)? {
        let id = arguments.receipt.as_deref().and_then(|id| id.parse::<PatchBatchId>().ok());
        let id = id.ok_or_else(|| Failure::Malformed("say which patch batch to revert: pat_…".into()))?;
        let receipt = server.revert(id)?;
        local::write_receipt(arguments.keep.file.as_deref(), &receipt)?;
        return Ok(report::server_receipt(&receipt, arguments.json));
    }
    let (tree, recovered) = Tree::open(&arguments.target.root)?;
    report::recovered(recovered);
    let state = State::open(tree.path());
    let applied = find(arguments.receipt.as_deref(), local::noted(&state))?;
    let Some(inverse) = applied.inverse else {
        return Err(Failure::Malformed("this receipt does not hold what takes the change back".into()));
    };
    let job = Job {
        format: None,
        notes: Vec::new(),
        operations: inverse.operations.into_iter().map(Ok).collect(),
        given: Given::default(),
        reverts: applied.id,
    };
    let receipt = local::run(&tree, job, Some(writing(&arguments.keep, &state)))?;
    Ok(report::receipt(&receipt, Mood::Done, arguments.json))
}

fn find(named: Option<&str>, state: Option<&State>) -> Result<TreeReceipt, Failure> {
    let refused = |detail: &str| Failure::refused(detail);
    let Some(name) = named else {
        let state = state.ok_or_else(|| refused("no receipts are kept here; name a receipt's file"))?;
        let last = state.last().map_err(Failure::io("cannot read", "the receipts"))?;
        return last
            .ok_or_else(|| refused("nothing was applied to this tree that is not taken back already"));
    };
    match name.parse::<PatchBatchId>() {
        Ok(id) => {
            let state = state.ok_or_else(|| refused("no receipts are kept here; name a receipt's file"))?;
            state.receipt(id).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => {
                    refused(&format!("no receipt {id} is kept for this tree; the oldest are removed"))
                }
                _ => Failure::io("cannot read the receipt", id)(error),
            })
        }
        Err(_) => state::read(Path::new(name)).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                Failure::Malformed(format!("{name} is no receipt: {error}"))
            }
            _ => Failure::io("cannot read the receipt", name)(error),
        }),
    }
}
