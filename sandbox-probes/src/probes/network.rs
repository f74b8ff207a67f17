//! Whom the payload can talk to. To remote addresses nothing is ever sent: connecting a datagram socket only asks
//! the kernel for a way there.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::outside::Outside;
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

const ROUTE: &[&str] = &["a default route"];

pub const PROBES: &[Probe] = &[
    probe("loopback", "services of the host's loopback can be reached", &[], |outside| {
        connects(outside, "127.0.0.1")
    }),
    probe("loopback-any", "the same, by the address of no address", &[], |outside| {
        connects(outside, "0.0.0.0")
    }),
    probe("loopback-mapped", "the same, by an IPv6 form", &[], |outside| {
        connects(outside, "[::ffff:127.0.0.1]")
    }),
    probe("metadata-address", "the cloud's metadata service can be reached", ROUTE, |_| {
        way_to("169.254.169.254:80".parse())
    }),
    probe("internet", "any address can be reached past the allow-list", ROUTE, |_| {
        way_to("1.1.1.1:443".parse())
    }),
    probe("name-server", "names can be looked up, and secrets sent in them", ROUTE, |_| {
        let file = head("/etc/resolv.conf").unwrap_or_default();
        let server = file.lines().find_map(|line| line.strip_prefix("nameserver ")).unwrap_or("9.9.9.9");
        match server.trim().parse() {
            Ok(address) => way_to(Ok(SocketAddr::new(address, 53))),
            Err(_) => Verdict::closed(format!("no address: {server}")),
        }
    }),
    probe("neighbours", "machines of the same network can be reached", ROUTE, |_| match gateway() {
        Some(address) => way_to(Ok(SocketAddr::new(address, 80))),
        None => Verdict::closed("no gateway"),
    }),
    probe("interfaces", "there is an interface other than loopback", ROUTE, |_| {
        let file = head("/proc/self/net/dev").unwrap_or_default();
        let names = file.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
        let others: Vec<_> = names.filter(|name| *name != "lo").collect();
        Verdict::open_if(!others.is_empty(), format!("{others:?}"))
    }),
    probe("listeners-listed", "others' sockets are listed", &[], |outside| {
        let port = format!(":{:04X} ", outside.port);
        let listed = head("/proc/self/net/tcp").is_ok_and(|file| file.contains(&port));
        Verdict::open_if(listed, "/proc/self/net/tcp")
    }),
    probe("low-port", "a service's port can be taken", &[], |_| {
        // In the sandbox's own network it harms nobody; elsewhere it is for root alone.
        let own = head("/proc/self/net/dev").is_ok_and(|file| file.lines().count() <= 3);
        Verdict::open_if(std::net::TcpListener::bind("127.0.0.1:1").is_ok() && !own, "port 1")
    }),
    probe("abstract-socket", "abstract sockets of the host can be reached", &[], |outside| {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(outside.name());
        address.and_then(|address| UnixStream::connect_addr(&address)).into()
    }),
    probe("path-socket", "sockets in /run, as Docker's, can be reached", &[], |outside| {
        UnixStream::connect(outside.host_socket()).into()
    }),
    probe("run-visible", "the host's /run is in sight", &[], |outside| {
        fs::metadata(outside.host_socket()).into()
    }),
    probe("bound-socket", "a service's socket in a read-only directory can be reached", &[], |outside| {
        UnixStream::connect(outside.bound_socket()).into()
    }),
    probe("sockets-listed", "the host's sockets are listed", &[], |outside| {
        let listed = head("/proc/self/net/unix").is_ok_and(|file| file.contains(&outside.name()));
        Verdict::open_if(listed, "/proc/self/net/unix")
    }),
];

fn connects(outside: &Outside, host: &str) -> Verdict {
    let address: Result<SocketAddr, _> = format!("{host}:{}", outside.port).parse();
    address
        .map_err(io::Error::other)
        .and_then(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)))
        .into()
}

fn way_to(address: Result<SocketAddr, std::net::AddrParseError>) -> Verdict {
    address
        .map_err(io::Error::other)
        .and_then(|address| {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any)?.connect(address)
        })
        .into()
}

/// Of the routing table where there is one, or a usual one.
fn gateway() -> Option<std::net::IpAddr> {
    let table = head("/proc/self/net/route").unwrap_or_default();
    let route = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let address = route
        .filter(|columns| columns.get(1) == Some(&"00000000"))
        .find_map(|columns| u32::from_str_radix(columns.get(2)?, 16).ok());
    Some(address.map_or([192, 168, 1, 1], u32::to_le_bytes).into())
}
