//! Where a sandbox's root comes from: hostile layers, a real registry with faults in front of it, the store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what is not there is a failed test"
)]

mod archive;
mod canary;
mod front;
mod hostile;
mod killing;
mod logins;
mod properties;
mod pulling;
mod registry;
mod store;
mod unpacking;
mod variables;
mod world;
