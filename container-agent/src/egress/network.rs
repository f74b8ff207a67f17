//! From a listed target to a connection: resolve once, judge every address, dial one of exactly those. A name is never
//! resolved again for the same request, so what it answers a moment later (rebinding) changes nothing.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use shared_contracts::egress::{Host, Target};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address;
use super::decision::sentence;
use super::refusal::Refusal;

/// More are not tried: the first few say whether the host can be reached.
const ATTEMPTS_MAX: usize = 4;

/// The door to the network that the agent has.
pub trait Network: Send + Sync {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// This machine's network, with the resolver that it is set up with.
pub struct Machine;

impl Network for Machine {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// Dials what may be dialled.
pub struct Dialler {
    network: Arc<dyn Network>,
    vouched: BTreeSet<SocketAddr>,
}

/// Addresses that were judged and may be dialled; only [`Dialler::check`] makes them.
#[derive(Debug)]
pub struct Checked(Vec<SocketAddr>);

impl Checked {
    pub fn first(&self) -> Option<SocketAddr> {
        self.0.first().copied()
    }
}

impl Dialler {
    /// `vouched` is what the machine's operator opens although it is not on the public Internet, such as a registry of
    /// the company's own. It opens the address, to whichever name a project lists for it; it lists nothing.
    pub fn new(network: Arc<dyn Network>, vouched: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { network, vouched: vouched.into_iter().collect() }
    }

    /// All of a name's addresses must be allowed: one that is both public and private is set up wrongly, or for an attack,
    /// and which of them is dialled must not be a matter of luck.
    pub async fn check(&self, target: &Target, wait: Duration) -> Result<Checked, Refusal> {
        let found = match &target.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => self.resolve(target, name, wait).await?,
        };
        let mut checked = Vec::new();
        for address in found.into_iter().map(|address| SocketAddr::new(address, target.port)) {
            if let Some(what) = self.forbidden(address) {
                return Err(Refusal::Forbidden { target: target.clone(), address, what });
            }
            if !checked.contains(&address) {
                checked.push(address);
            }
        }
        Ok(Checked(checked))
    }

    async fn resolve(&self, target: &Target, name: &str, wait: Duration) -> Result<Vec<IpAddr>, Refusal> {
        let not_resolved = |cause: String| Refusal::NotResolved { target: target.clone(), cause };
        match timeout(wait, self.network.resolve(name)).await {
            Ok(Ok(found)) if !found.is_empty() => Ok(found),
            Ok(Ok(_)) => Err(not_resolved("the resolver knows none".into())),
            Ok(Err(error)) => Err(not_resolved(sentence(&error.to_string()))),
            Err(_) => Err(not_resolved(format!("the resolver did not answer within {wait:?}"))),
        }
    }

    fn forbidden(&self, address: SocketAddr) -> Option<&'static str> {
        if self.vouched.contains(&address) {
            return None;
        }
        let own = || address::is_own(address.ip()).then_some("this machine's own");
        address::forbidden(address.ip()).or_else(own)
    }

    /// In the resolver's order, each within `wait`.
    pub async fn dial(
        &self,
        target: &Target,
        checked: &Checked,
        wait: Duration,
    ) -> Result<(TcpStream, SocketAddr), Refusal> {
        let mut cause = String::new();
        for address in checked.0.iter().copied().take(ATTEMPTS_MAX) {
            match timeout(wait, self.network.connect(address)).await {
                Ok(Ok(stream)) => return Ok((stream, address)),
                Ok(Err(error)) => cause = format!("{address}: {error}"),
                Err(_) => cause = format!("{address} did not answer within {wait:?}"),
            }
        }
        Err(Refusal::NotReached { target: target.clone(), cause })
    }
}
