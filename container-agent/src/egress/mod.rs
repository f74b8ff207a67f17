//! Egress: what a sandbox may reach. A sandbox has no network but a listener on its own loopback, which is handed out to
//! the agent; [`serve`] answers there as an HTTP proxy and opens only what the project lists.
//!
//! ```text
//!  accept ─▶ head ─▶ request ─▶ policy ─▶ network ────────────▶ tunnel | forward ─▶ ended
//!            bytes    one        listed?   resolve once, every    through a meter:
//!            checked  spelling             address judged, dial   bytes, idle, total
//!                     of a host            exactly one of them
//!                 └──────────┴─────────┴── refusal: 4xx, why, and how to allow it
//! ```
//! Every decision goes to a bounded channel as an [`EgressDecision`], when it is made and when its connection ends.
//!
//! Two walls, and each holds alone. The [`Policy`] says which names and ports; `address` says which addresses are never
//! dialled, whatever a name resolves to: the machine's own, its neighbours', a cloud's metadata. Only the machine's
//! operator can open such an address, by vouching for it in the [`Dialler`]; a project cannot, and neither can a name.
//!
//! What this does not do: it does not look into a tunnel, so a listed host that serves other names under one
//! certificate can be asked for those; it cannot know that a public address leads back into a private network by a
//! router's doing (hairpin NAT, a NAT64 prefix of the network's own).

mod address;
mod decision;
mod forward;
mod head;
mod meter;
mod network;
mod proxy;
mod refusal;
mod request;

pub use decision::{EgressDecision, Moment, Reason};
pub use network::{Dialler, Machine, Network};
pub use proxy::{Limits, Proxy, Served, serve};
pub use shared_contracts::egress::{EntryFault, Host, HostFault, Policy, PolicyError, Target};
