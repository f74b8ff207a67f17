//! As large as it may get in daily use: 50,000 files and 500 MB, in one stream and then 1 % of it again, while the
//! memory of the Worker's process is watched.
#![cfg(test)]

mod import;
mod memory;
