//! An accepted offer becomes a lease.

use shared_contracts::dispatch::{Lease, LeasedExecution};
use worker::Env;

use super::connection::Agent;
use crate::accounts::execution_token::{self, Claims};
use crate::bindings::Bindings;
use crate::executions::commands::{HubCommand, Identity};
use crate::executions::store;
use crate::platform::clock::now_ms;
use crate::platform::failure::Outcome;
use crate::platform::object;
use crate::secrets;

/// What became of an accepted offer.
pub enum Grant {
    Leased(Box<LeasedExecution>),
    /// D1 refused it: it was stopped, or has ended.
    Refused,
    /// It cannot run any more, on any machine: why.
    Impossible(String),
}

/// 1. D1 agrees, guarded by generation and state: what was stopped or has ended is not leased.
/// 2. The secrets are opened. One that is gone, or does not open, is the execution's end: it is not run without.
/// 3. The hub fences older leases and says which sequence is next.
/// 4. The token for all that follows.
pub async fn grant(env: &Env, lease: Lease, agent: &Agent) -> Outcome<Grant> {
    let bindings = Bindings::open(env.clone())?;
    let Some(work) = store::lease(&bindings.db, lease, agent.id, now_ms()).await? else {
        return Ok(Grant::Refused);
    };
    let secrets = match secrets::open(&bindings, work.project_id, &work.spec.secrets).await? {
        Ok(secrets) => secrets,
        Err(reason) => return Ok(Grant::Impossible(reason)),
    };
    let open = HubCommand::OpenGeneration {
        identity: Identity {
            execution_id: lease.execution_id,
            project_id: work.project_id,
            task_id: work.task_id,
        },
        generation: lease.generation,
        machine: agent.name.clone(),
    };
    let next_sequence: u64 = object::call(&bindings.hub(lease.execution_id)?, &open).await?;
    let claims = Claims::new(lease, work.project_id, work.owner_id, agent.id, now_ms());
    Ok(Grant::Leased(Box::new(LeasedExecution {
        lease,
        project_id: work.project_id,
        task_id: work.task_id,
        task_title: work.task_title,
        prompt: work.prompt,
        spec: work.spec,
        denied_paths: work.denied_paths,
        egress: work.egress,
        secrets,
        next_sequence,
        execution_token: execution_token::sign(&bindings.signing_key()?, &claims)?,
    })))
}
