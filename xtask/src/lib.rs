//! Everything around the product that is not the product: installing what it needs, building it, running it for
//! real, talking to it, showing it, testing it.
//!
//! The binary (`cargo xtask …`) is the door people use. As a library it gives the acceptance tests and the bench
//! the real system ([`plane`]) and a typed client for it ([`client`]).

pub mod bench;
pub mod build;
pub mod check;
pub mod client;
pub mod corpus;
pub mod demo;
pub mod dev;
pub mod fuzz;
pub mod guest;
pub mod layout;
pub mod openapi;
pub mod plane;
pub mod process;
pub mod random;
pub mod setup;
pub mod terminal;
pub mod test;
