//! `convert`: the same change, written in another format. The tree it is for says what a format needs beyond what the
//! patch itself says, such as line numbers or the rest of a file.

use patch_engine::formats;
use shared_contracts::patches::OperationReceipt;

use super::Outcome;
use crate::cli::Convert;
use crate::disk::{Given, Tree};
use crate::failure::Failure;
use crate::{local, report};

pub fn run(arguments: &Convert) -> Outcome {
    let read = arguments.source.read()?;
    let mut operations = Vec::with_capacity(read.operations.len());
    for (index, parsed) in read.operations.into_iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let refused = |(path, outcome)| local::refused(vec![OperationReceipt { index, path, outcome }]);
        operations.push(parsed.map_err(refused)?);
    }
    let (tree, recovered) = Tree::open(&arguments.root)?;
    report::recovered(recovered);
    let needed = patch_engine::paths_needed(&operations);
    let snapshot = tree.snapshot(needed, Given::default(), operations.len())?;
    formats::write(arguments.to.into(), &operations, &snapshot).map_err(|unwritable| {
        let formats::Unwritable { operation, path, why } = unwritable;
        Failure::refused(format!("operation {} ({path}) cannot be written so: {why}", operation + 1))
    })
}
