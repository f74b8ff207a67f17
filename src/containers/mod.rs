//! Containers: the sandboxes that are there now, as the machines that run them see them. Nothing is kept of them here:
//! every question goes to the container agents, over the connections that the Dispatcher has.
//!
//! Operations: `list_containers`, `get_container`, `get_container_stats`, `restart_container`, `stop_container`,
//! `freeze_container`, `thaw_container`, `remove_container`. Whose a container is, D1 says; what a machine claims of it
//! is believed only of the machine itself.

mod judge;

use std::collections::BTreeMap;

use shared_contracts::containers::{
    Container, ContainerAnswer, ContainerCommand, ContainerId, ContainerList, ContainerQuery, ContainerStats,
};
use shared_contracts::executions::Execution;
use shared_contracts::ids::{ExecutionId, OwnerId};
use shared_contracts::problem::ProblemKind;

use crate::bindings::Bindings;
use crate::dispatch::commands::{DispatchCommand, Told};
use crate::executions::{self, Owned};
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;
use crate::projects;

pub async fn list_containers(
    bindings: &Bindings,
    owner_id: OwnerId,
    query: &ContainerQuery,
) -> Outcome<ContainerList> {
    if let Some(id) = query.project_id {
        projects::require(&bindings.db, owner_id, id).await?;
    }
    if let Some(id) = query.execution_id {
        executions::find(&bindings.db, owner_id, id).await?;
    }
    let told = ask(bindings, owner_id, None, ContainerCommand::List).await?;
    let (found, silent) = judge::listed(told);
    let mut ids: Vec<ExecutionId> = found.iter().map(|container| container.facts.id.execution_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let owned = executions::owned(&bindings.db, owner_id, &ids).await?;
    let owned: BTreeMap<ExecutionId, Owned> = owned.into_iter().map(|owned| (owned.id, owned)).collect();
    let mut items: Vec<Container> = found
        .into_iter()
        .filter_map(|mut container| {
            let owned = owned.get(&container.facts.id.execution_id)?;
            container.facts.project_id = owned.project_id;
            container.facts.task_id = owned.task_id;
            Some(container)
        })
        .filter(|container| query.project_id.is_none_or(|id| id == container.facts.project_id))
        .filter(|container| query.execution_id.is_none_or(|id| id == container.facts.id.execution_id))
        .collect();
    // Newest first, as every list.
    items.sort_by_key(|container| std::cmp::Reverse(container.facts.id));
    Ok(ContainerList { items, silent })
}

pub async fn get_container(bindings: &Bindings, owner_id: OwnerId, id: ContainerId) -> Outcome<Container> {
    steer(bindings, owner_id, id, ContainerCommand::Get { id }).await
}

pub async fn get_container_stats(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: ContainerId,
) -> Outcome<ContainerStats> {
    require(bindings, owner_id, id).await?;
    let command = ContainerCommand::Stats { id };
    match judge::of_one(id, ask(bindings, owner_id, Some(id), command).await?)? {
        (_, ContainerAnswer::Stats { stats }) => Ok(stats),
        (machine, _) => Err(judge::not_an_answer(&machine.name)),
    }
}

pub async fn remove_container(bindings: &Bindings, owner_id: OwnerId, id: ContainerId) -> Outcome<()> {
    require(bindings, owner_id, id).await?;
    let command = ContainerCommand::Remove { id };
    match judge::of_one(id, ask(bindings, owner_id, Some(id), command).await?)? {
        (_, ContainerAnswer::Removed) => Ok(()),
        (machine, _) => Err(judge::not_an_answer(&machine.name)),
    }
}

/// A command that is answered with the container as it is then.
pub async fn steer(
    bindings: &Bindings,
    owner_id: OwnerId,
    id: ContainerId,
    command: ContainerCommand,
) -> Outcome<Container> {
    let execution = require(bindings, owner_id, id).await?;
    match judge::of_one(id, ask(bindings, owner_id, Some(id), command).await?)? {
        (machine, ContainerAnswer::Container { container: mut facts }) if facts.id == id => {
            facts.project_id = execution.project_id;
            facts.task_id = execution.task_id;
            let judge::Machine { id: container_agent_id, name: container_agent } = machine;
            Ok(Container { container_agent_id, container_agent, facts })
        }
        (machine, _) => Err(judge::not_an_answer(&machine.name)),
    }
}

/// Its execution is the owner's, and had this lease.
async fn require(bindings: &Bindings, owner_id: OwnerId, id: ContainerId) -> Outcome<Execution> {
    let absent = || Failure::not_found("container", id);
    let execution = match executions::find(&bindings.db, owner_id, id.execution_id).await {
        Err(Failure::Problem(problem)) if problem.kind == ProblemKind::NotFound => return Err(absent()),
        found => found?,
    };
    let had_it = (1..=execution.generation).contains(&id.generation);
    if had_it { Ok(execution) } else { Err(absent()) }
}

async fn ask(
    bindings: &Bindings,
    owner_id: OwnerId,
    of: Option<ContainerId>,
    command: ContainerCommand,
) -> Outcome<Vec<Told>> {
    object::call(&bindings.dispatcher()?, &DispatchCommand::AskContainers { owner_id, of, command }).await
}
