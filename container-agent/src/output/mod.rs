//! From the payload's pipes to the hub:
//!
//! ```text
//!   pipes ─ reader ─▶ lines ─▶ numbered events ─▶ spool (disk) ─ sender ─▶ hub ─ acknowledges ─▶ spool forgets
//! ```
//! The reader is one thread per execution, the sender one task. Between them is only the spool: when the hub is slow
//! the spool fills to its window, the reader stops reading, and the payload's writes block.

mod batch;
mod lines;
pub mod reader;
pub mod segment;
pub mod sender;
pub mod spool;
