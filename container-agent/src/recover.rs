//! After a crash: logs that a dead agent did not get rid of are flushed, then their executions are given back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::lease::{Held, Stopping};
use crate::output::sender::{SendEnd, Sender};
use crate::output::spool::Spool;
use crate::record::Record;
use crate::run::Agent;
use crate::sandbox::sweep::remove_tree;

/// Finds them and starts a task for each. Their leases are in the table before the first hello.
pub fn start(agent: &Arc<Agent>) {
    let Ok(entries) = std::fs::read_dir(&agent.executions) else { return };
    for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        match open(&directory) {
            Ok((record, spool)) => {
                let held = Held::new(record.lease, agent.leases.free_slot(), record.execution_token);
                agent.leases.insert(&held);
                tokio::spawn(flush(Arc::clone(agent), held, Arc::new(spool), directory));
            }
            Err(error) => {
                tracing::info!(directory = %directory.display(), %error, "removed an execution that never began");
                let _ = remove_tree(&directory);
            }
        }
    }
}

fn open(directory: &Path) -> std::io::Result<(Record, Spool)> {
    let record = Record::load(directory)?;
    let spool = Spool::recover(directory, record.lease.generation, record.next_sequence)?;
    Ok((record, spool))
}

async fn flush(agent: Arc<Agent>, held: Arc<Held>, spool: Arc<Spool>, directory: PathBuf) {
    let lease = held.lease;
    tracing::info!(execution = %lease.execution_id, generation = lease.generation, "flushing the log of a run that was cut off");
    let mut stop = held.stop.subscribe();
    let sender = Sender { plane: Arc::clone(&agent.plane), held: Arc::clone(&held), spool, flush_only: true };
    let end = tokio::select! {
        end = sender.run() => end,
        _ = stop.wait_for(|stop| matches!(stop, Stopping::Abandon(_))) => SendEnd::Flushed,
    };
    tracing::info!(execution = %lease.execution_id, ?end, "closed a run that was cut off");
    let _ = tokio::task::spawn_blocking(move || remove_tree(&directory)).await;
    match end {
        SendEnd::Flushed => agent.abandon(lease, "its container agent was restarted"),
        _ => agent.leases.remove(lease),
    }
}
