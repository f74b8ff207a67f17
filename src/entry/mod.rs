//! How calls come in: translation only. [`http`] has every route, [`rpc`] every method for other Workers, [`cron`]
//! every schedule.

pub mod call;
pub mod caller;
pub mod cron;
pub mod http;
pub mod idempotency;
pub mod operations;
pub mod rpc;
