//! Dispatch: which container agent runs which execution, and for how long it may.
//!
//! ```text
//!   queue ── offered ──▶ accepted: lease, generation + 1 ── heartbeats ──▶ ended by the hub's terminal event
//!     ▲                                     │ none for 30 s, or abandoned
//!     └──────── lost, at most twice ────────┘   (the third time: failed)
//! ```
//! One [`object::Dispatcher`] owns the queue and the leases. [`queue`] holds the rule of who is next, [`ledger`]
//! what is so and its guarded moves ([`statements`] their SQL), [`lease`] and [`loss`] the two moves that reach beyond it,
//! [`questions`] what is asked of container agents about their containers.

pub mod commands;
pub mod connection;
pub mod conversation;
pub mod lease;
pub mod ledger;
pub mod loss;
pub mod object;
pub mod questions;
pub mod queue;
pub mod statements;
