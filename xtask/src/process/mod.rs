//! Child processes: each in a process group of its own, none outliving this process.
//!
//! [`Group`] is a long-lived child (wrangler, a container agent); [`run`] waits for a command and shows that it
//! is alive; [`guardian`] ends what is left when this process dies, in whatever way.

mod group;
mod guardian;
mod run;
mod stop;

pub use group::Group;
pub use run::{Output, capture_quietly, run, run_loudly, text_of};
pub use stop::stop_signal;
