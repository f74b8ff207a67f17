//! What an execution may reach over the network: how it is written, and what a list of it covers. The control plane
//! refuses a list that the container agent's proxy would not read, by the same rules.

mod host;
mod policy;

pub use host::{Host, HostFault, Target};
pub use policy::{EntryFault, Policy, PolicyError, egress_entry};
