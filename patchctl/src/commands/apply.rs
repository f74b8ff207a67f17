//! `apply`, and `check`, which is the same without writing.

use patch_engine::Rules;
use shared_contracts::patches::{PatchFormat, PatchOrigin, PatchRequest};

use super::{Outcome, writing};
use crate::cli::{Apply, Check};
use crate::disk::Tree;
use crate::failure::Failure;
use crate::local::{self, Job};
use crate::patch::Base;
use crate::report::{self, Mood};
use crate::server::Server;
use crate::state::State;

pub fn apply(arguments: &Apply) -> Outcome {
    let patch = &arguments.patch;
    if let Some(server) = Server::of(&patch.target)? {
        let receipt = server.apply(&request(patch, &server)?)?;
        local::write_receipt(arguments.keep.file.as_deref(), &receipt)?;
        return Ok(report::server_receipt(&receipt, patch.json));
    }
    let job = job(patch)?;
    let (tree, recovered) = Tree::open(&patch.target.root)?;
    report::recovered(recovered);
    let state = State::open(tree.path());
    let receipt = local::run(&tree, job, Some(writing(&arguments.keep, &state)))?;
    Ok(report::receipt(&receipt, Mood::Done, patch.json))
}

pub fn check(patch: &Check) -> Outcome {
    if let Some(server) = Server::of(&patch.target)? {
        return Ok(report::checked(&server.check(&request(patch, &server)?)?, patch.json));
    }
    let job = job(patch)?;
    let (tree, recovered) = Tree::open(&patch.target.root)?;
    report::recovered(recovered);
    let receipt = local::run(&tree, job, None)?;
    Ok(report::receipt(&receipt, Mood::Would, patch.json))
}

fn job(patch: &Check) -> Result<Job, Failure> {
    let bases = patch.base_file.iter().map(|text| Base::read(text)).collect::<Result<Vec<_>, _>>()?;
    let rules = Rules { denied_paths: patch.deny.clone() };
    Ok(Job::new(patch.source.read()?, bases, rules))
}

fn request(patch: &Check, server: &Server) -> Result<PatchRequest, Failure> {
    let origin = &patch.origin;
    Ok(PatchRequest {
        project_id: Some(server.project_id()),
        title: Some(origin.title.clone()),
        format: patch.source.format.map(PatchFormat::from),
        text: Some(patch.source.text()?),
        base_revision: patch.base_revision,
        origin: Some(PatchOrigin {
            execution_id: None,
            coding_agent: origin.coding_agent.clone(),
            model: origin.model.clone(),
            provider: origin.provider.clone(),
        }),
        ..PatchRequest::default()
    })
}
