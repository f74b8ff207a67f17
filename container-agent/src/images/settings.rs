//! What an operator may set about images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::reference::is_loopback;
use super::unpack::UnpackLimits;

const GIB: u64 = 1 << 30;

#[derive(Debug, Clone)]
pub struct ImageLimits {
    /// Of all unpacked images together. What is in use stays, even beyond it.
    pub store_bytes_max: u64,
    pub unpack: UnpackLimits,
}

impl Default for ImageLimits {
    fn default() -> Self {
        // The largest images of toolchains have 10 GiB and 500,000 files.
        Self {
            store_bytes_max: 40 * GIB,
            unpack: UnpackLimits { unpacked_bytes_max: 20 * GIB, entries_max: 2_000_000 },
        }
    }
}

#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// By the registry's host as references name it.
    pub credentials: BTreeMap<String, Credentials>,
    /// Hosts (with their port) that are asked over plain HTTP. Loopback ones are without being listed.
    pub insecure: BTreeSet<String>,
    pub connect_timeout: Duration,
    /// An answer that does not move for so long is given up and asked for again.
    pub idle_timeout: Duration,
    /// The whole of one image.
    pub pull_timeout: Duration,
    /// Of one request; those after the first wait, longer each time.
    pub tries_max: u32,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            credentials: BTreeMap::new(),
            insecure: BTreeSet::new(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            pull_timeout: Duration::from_secs(30 * 60),
            tries_max: 5,
        }
    }
}

impl RegistrySettings {
    pub fn is_plain(&self, host: &str) -> bool {
        is_loopback(host) || self.insecure.contains(host)
    }
}

#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Credentials({})", self.user)
    }
}
