//! What breaks, breaks here: machines that die, disks that are full, the Worker that dies, leases that nobody renews.
//! Every execution still ends once, with a log without a gap.
#![cfg(test)]

mod full_disks;
mod lost_machines;
mod nothing_left;
mod patches;
mod worker_restarts;
