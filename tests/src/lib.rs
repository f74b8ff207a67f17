//! The language of the acceptance tests: a plane to talk to, projects to work on, archives to send, answers to judge.
//!
//! A test says what happens through the doors people use; what it takes to get there is here. One plane serves all
//! tests of a test program (see [`plane`]), so each test makes a project of its own and touches nothing else.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, wherever it notices")]

pub mod agents;
mod answer;
mod archive;
mod project;
mod stage;

pub use answer::{Answer, refused};
pub use archive::{Archive, gzip, unpacked};
pub use project::{Project, command, create, edit, replace};
pub use stage::{every_page, now_ms, owner, plane, stranger};
