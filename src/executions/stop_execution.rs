//! `stop_execution`: the owner no longer wants it.

use shared_contracts::executions::Execution;
use shared_contracts::ids::{ExecutionId, OwnerId};

use super::{find, store};
use crate::bindings::Bindings;
use crate::dispatch::commands::DispatchCommand;
use crate::platform::failure::{Failure, Outcome};
use crate::platform::object;

/// 1. The wish is recorded, so that no later lease ignores it.
/// 2. The Dispatcher takes it out of the queue, which ends it, or tells the container agent, whose terminal
///    event ends it.
///
/// Stopping twice is stopping once.
pub async fn stop_execution(bindings: &Bindings, owner_id: OwnerId, id: ExecutionId) -> Outcome<Execution> {
    let execution = find(&bindings.db, owner_id, id).await?;
    if !store::request_stop(&bindings.db, owner_id, id).await? {
        let state = execution.state.as_str();
        return Err(Failure::wrong_state(format!("Execution {id} has ended already: it is {state}")));
    }
    let command = DispatchCommand::Stop { execution_id: id, reason: "Stopped by its owner".into() };
    object::call::<()>(&bindings.dispatcher()?, &command).await?;
    find(&bindings.db, owner_id, id).await
}
