//! Edits against files that drifted, with the right answer to each, and how well the patch engine and its peers answer.
//!
//! The way of a case: `source` (a file in one of the languages of `grammar`) → `generate` (an edit of it) → `drift`
//! (what happened to the file meanwhile; every line keeps its origin, see `text`) → `truth` (the right answer, by
//! origin) → `engine` or `peers` (their answers) → `judge` → `table`. Beside it `real`: edits from published crates; and `round_trip`: of `pairs` of
//! contents, and of the crates' files, that their difference leads there and its inverse back.

pub mod case;
pub mod drift;
pub mod edit;
pub mod engine;
pub mod format;
pub mod generate;
pub mod grammar;
pub mod judge;
pub mod kind;
pub mod pairs;
pub mod peers;
pub mod readme;
pub mod real;
pub mod report;
pub mod rng;
pub mod round_trip;
pub mod source;
pub mod table;
pub mod text;
pub mod truth;
