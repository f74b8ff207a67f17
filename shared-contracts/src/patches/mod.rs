//! Patch batches: operations that apply together or not at all.

mod operations;
mod outcomes;
mod records;
mod requests;

pub use operations::*;
pub use outcomes::*;
pub use records::*;
pub use requests::*;
