//! The parts of the container agent that can be used, and tested, without a plane and without a sandbox.

pub mod backoff;
pub mod beneath;
pub mod clock;
pub mod egress;
pub mod images;
