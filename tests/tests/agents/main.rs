//! With the real container agent against the built Worker: the main path, every way an execution ends, its limits and
//! its sandbox, the queue, the watchers, and the two protocols that a container agent speaks.
#![cfg(test)]

mod appending;
mod back_pressure;
mod cancel;
mod connections;
mod endings;
mod limits;
mod patches;
mod queue;
mod reconciler;
mod remediation;
mod sandbox;
mod watchers;
mod whole_path;
