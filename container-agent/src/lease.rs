//! The leases this agent holds: who may still run and write. Other parts ask here and are told here to stop.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shared_contracts::dispatch::{Lease, RenewedToken};
use shared_contracts::ids::ExecutionId;
use tokio::sync::{Notify, watch};

use crate::clock;

/// What an execution is told. A later variant overrides an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stopping {
    No,
    /// End it as cancelled.
    Cancel(String),
    /// End nothing: another run takes over. Say so to the plane.
    Abandon(String),
    /// The lease is no longer ours: stop, write nothing more.
    Gone(String),
}

/// One lease.
pub struct Held {
    pub lease: Lease,
    /// Which uid and which place of the capacity.
    pub slot: u32,
    pub stop: watch::Sender<Stopping>,
    token: watch::Sender<String>,
    /// When the plane last said that this lease is alive.
    confirmed: Mutex<Instant>,
}

impl Held {
    pub fn new(lease: Lease, slot: u32, token: String) -> Arc<Self> {
        Arc::new(Self {
            lease,
            slot,
            stop: watch::Sender::new(Stopping::No),
            token: watch::Sender::new(token),
            confirmed: Mutex::new(clock::now()),
        })
    }

    pub fn token(&self) -> String {
        self.token.borrow().clone()
    }

    pub fn tokens(&self) -> watch::Receiver<String> {
        self.token.subscribe()
    }

    pub fn tell(&self, stopping: Stopping) {
        self.stop.send_if_modified(|now| {
            let stronger =
                std::mem::discriminant(now) != std::mem::discriminant(&stopping) && *now < stopping;
            if stronger {
                *now = stopping;
            }
            stronger
        });
    }

    pub fn is_gone(&self) -> bool {
        matches!(*self.stop.borrow(), Stopping::Gone(_))
    }

    fn confirm(&self, at: Instant) {
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmed = at.max(*confirmed);
    }

    fn unconfirmed_for(&self) -> Duration {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

#[derive(Default)]
pub struct Leases {
    held: Mutex<BTreeMap<ExecutionId, Arc<Held>>>,
    /// A lease came or went.
    pub changed: Notify,
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn insert(&self, held: &Arc<Held>) {
        // A newer generation of the same execution: the older one is no longer ours.
        if let Some(older) = self.lock().insert(held.lease.execution_id, Arc::clone(held)) {
            older.tell(Stopping::Gone("a newer lease replaced this one".into()));
        }
        self.changed.notify_waiters();
    }

    pub fn remove(&self, lease: Lease) {
        let mut held = self.lock();
        if held.get(&lease.execution_id).is_some_and(|held| held.lease == lease) {
            held.remove(&lease.execution_id);
        }
        drop(held);
        self.changed.notify_waiters();
    }

    /// The lowest slot that nobody uses.
    pub fn free_slot(&self) -> u32 {
        let held = self.lock();
        (0..).find(|slot| held.values().all(|held| held.slot != *slot)).unwrap_or_default()
    }

    pub fn list(&self) -> Vec<Lease> {
        self.lock().values().map(|held| held.lease).collect()
    }

    pub fn all(&self) -> Vec<Arc<Held>> {
        self.lock().values().cloned().collect()
    }

    pub fn get(&self, lease: Lease) -> Option<Arc<Held>> {
        self.lock().get(&lease.execution_id).filter(|held| held.lease == lease).cloned()
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    pub fn gone(&self, leases: &[Lease], why: &str) {
        for held in leases.iter().filter_map(|lease| self.get(*lease)) {
            tracing::warn!(execution = %held.lease.execution_id, generation = held.lease.generation, why, "lease lost");
            held.tell(Stopping::Gone(why.into()));
        }
    }

    pub fn renew(&self, renewed: Vec<RenewedToken>) {
        for RenewedToken { lease, execution_token } in renewed {
            if let Some(held) = self.get(lease) {
                held.token.send_replace(execution_token);
            }
        }
    }

    /// The plane answered a heartbeat that named these leases and was sent at `at`.
    pub fn confirm(&self, leases: &[Lease], at: Instant) {
        leases.iter().filter_map(|lease| self.get(*lease)).for_each(|held| held.confirm(at));
    }

    /// A lease that the plane has not confirmed for its whole length may already be another's.
    pub fn expire(&self, lease_length: Duration) {
        for held in self.all() {
            let silent = held.unconfirmed_for();
            if silent > lease_length && !held.is_gone() {
                let why = format!("no heartbeat was answered for {} s", silent.as_secs());
                self.gone(&[held.lease], &why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared_contracts::ids::ExecutionId;

    #[test]
    fn the_strongest_word_stays() {
        let lease = Lease { execution_id: ExecutionId::new(1, 1), generation: 1 };
        let held = Held::new(lease, 0, "token".into());
        held.tell(Stopping::Cancel("first".into()));
        held.tell(Stopping::Cancel("second".into()));
        assert_eq!(*held.stop.borrow(), Stopping::Cancel("first".into()));
        held.tell(Stopping::Gone("x".into()));
        held.tell(Stopping::Cancel("late".into()));
        assert!(held.is_gone());
    }

    #[test]
    fn an_unconfirmed_lease_is_not_believed() {
        let leases = Leases::default();
        let lease = Lease { execution_id: ExecutionId::new(1, 1), generation: 1 };
        let held = Held::new(lease, leases.free_slot(), "token".into());
        leases.insert(&held);
        assert_eq!(leases.free_slot(), 1);
        leases.expire(Duration::from_secs(30));
        assert!(!held.is_gone());
        std::thread::sleep(Duration::from_millis(2));
        leases.expire(Duration::from_millis(1));
        assert!(held.is_gone());
        leases.remove(lease);
        assert_eq!(leases.count(), 0);
    }
}
