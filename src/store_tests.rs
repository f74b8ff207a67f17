//! The stores' SQL on the real migrations, in SQLite itself: what the schema promises, that every statement finds
//! what it wants through an index, and that the guarded updates guard.

mod accounts;
mod database;
mod dispatch;
mod executions;
mod migrations;
mod patches;
mod records;
mod sandboxes;
mod secrets;
mod statements;
