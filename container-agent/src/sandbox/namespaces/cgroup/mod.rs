//! Control groups, v1 and v2, each controller where this machine has it. Owns only directories below
//! `…/patchbay/<instance>/`; never looks at another.
//!
//! ```text
//!   root:      <hierarchy>/patchbay/<instance>/<sandbox>
//!   a user:    <hierarchy>/<this agent's own group, delegated to it>/patchbay/<instance>/<sandbox>
//! ```
//! [`hierarchies`] says where what is, [`group`] is one sandbox's share of it.

mod group;
mod hierarchies;

pub use group::{Cgroup, Entry, Setting};
pub use hierarchies::{Controller, Hierarchies};

/// The directory that every agent's cgroups are below.
const OWN: &str = "patchbay";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

fn write(path: &std::path::Path, value: &str) -> std::io::Result<()> {
    std::fs::write(path, value).map_err(|error| {
        std::io::Error::new(error.kind(), format!("write `{value}` to {}: {error}", path.display()))
    })
}
