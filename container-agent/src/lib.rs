//! The parts of the container agent that can be used, and tested, without a plane and without a sandbox.

pub mod clock;
pub mod egress;
