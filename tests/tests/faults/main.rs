//! What breaks, breaks here: machines that die, disks that are full, the Worker that dies, leases that nobody renews.
//! Every execution still ends once, with a log without a gap.

#[cfg(test)]
mod full_disks;
#[cfg(test)]
mod lost_machines;
#[cfg(test)]
mod nothing_left;
#[cfg(test)]
mod worker_restarts;
