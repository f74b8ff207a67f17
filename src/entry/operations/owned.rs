//! Whose call it is, and whether what its path names is theirs.

use shared_contracts::ids::{ExecutionId, OwnerId, ProjectId, TaskId};
use shared_contracts::problem::ProblemKind;

use crate::accounts::Account;
use crate::accounts::execution_token::Claims;
use crate::bindings::Bindings;
use crate::entry::call::Call;
use crate::entry::caller::Caller;
use crate::platform::failure::{Failure, Outcome};
use crate::tasks::TaskKey;
use crate::{executions, projects};

pub fn account(call: &Call) -> Outcome<&Account> {
    match &call.caller {
        Caller::Account(account) => Ok(account),
        _ => Err(Failure::problem(ProblemKind::Forbidden, "This needs an access token")),
    }
}

/// The claims of the execution that the path names. Whether their lease still stands is the operation's to ask.
pub fn claims(call: &Call) -> Outcome<Claims> {
    let id: ExecutionId = call.parameter("execution_id")?;
    match &call.caller {
        Caller::Execution(claims) if claims.lease.execution_id == id => Ok(claims.clone()),
        _ => Err(Failure::not_found("execution", id)),
    }
}

/// [`claims`], under a lease that still stands.
pub async fn held_claims(call: &Call) -> Outcome<Claims> {
    let claims = claims(call)?;
    executions::require_held(&call.bindings.db, claims.lease).await?;
    Ok(claims)
}

pub fn owner(call: &Call) -> Outcome<OwnerId> {
    account(call).map(|account| account.owner_id)
}

pub fn task_key(call: &Call) -> Outcome<TaskKey> {
    Ok(TaskKey {
        owner_id: owner(call)?,
        project_id: call.parameter("project_id")?,
        id: call.parameter("task_id")?,
    })
}

/// The execution that the path names, the caller's, and of the project and task that the path names too.
pub async fn execution_id(call: &Call) -> Outcome<ExecutionId> {
    let id: ExecutionId = call.parameter("execution_id")?;
    let execution = executions::find(&call.bindings.db, owner(call)?, id).await?;
    let in_project = !call.parameters.contains_key("project_id")
        || call.parameter::<ProjectId>("project_id")? == execution.project_id;
    let in_task =
        !call.parameters.contains_key("task_id") || call.parameter::<TaskId>("task_id")? == execution.task_id;
    if in_project && in_task { Ok(id) } else { Err(Failure::not_found("execution", id)) }
}

/// Whose things the caller may read, and of an execution, for as long as its lease stands, only its project's.
pub async fn reader(bindings: &Bindings, caller: &Caller) -> Outcome<(OwnerId, Option<ProjectId>)> {
    let Caller::Execution(claims) = caller else { return Ok((caller.owner_id()?, None)) };
    executions::require_held(&bindings.db, claims.lease).await?;
    Ok((claims.owner_id, Some(claims.project_id)))
}

/// A project of the caller's, or of the execution whose token it is.
pub async fn readable_project(call: &Call) -> Outcome<ProjectId> {
    let id: ProjectId = call.parameter("project_id")?;
    let (owner_id, within) = reader(&call.bindings, &call.caller).await?;
    match within {
        Some(within) if within == id => Ok(id),
        Some(_) => Err(Failure::not_found("project", id)),
        None => projects::require(&call.bindings.db, owner_id, id).await.map(|()| id),
    }
}
