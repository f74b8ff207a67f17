//! What no capability owns: the database, the clock, ids, calls between objects, and how things fail.

pub mod body;
pub mod clock;
pub mod d1;
pub mod failure;
pub mod ids;
pub mod json_path;
pub mod object;
pub mod paging;
pub mod prefix;
pub mod sql;
