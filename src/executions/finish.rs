//! What follows from events: the record in D1, and the Dispatcher's lease. Repeatable: each part happens once.

use shared_contracts::dispatch::Lease;

use super::commands::Identity;
use super::store::{self, End};
use crate::bindings::Bindings;
use crate::dispatch::commands::DispatchCommand;
use crate::platform::failure::Outcome;
use crate::platform::object;

/// 1. One transaction in D1: the execution has ended, its task moves.
/// 2. The lease is released.
///
/// What fails is done again by the hub's alarm.
pub async fn record_end(bindings: &Bindings, identity: &Identity, end: &End) -> Outcome<()> {
    store::end(&bindings.db, identity.execution_id, identity.task_id, end).await?;
    let lease = Lease { execution_id: identity.execution_id, generation: end.generation };
    object::call(&bindings.dispatcher()?, &DispatchCommand::Ended { lease }).await
}
