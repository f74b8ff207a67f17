//! Addresses that are never dialled, whatever a name says: everything that is not the public Internet, and everything
//! that carries another address inside.
//!
//! After the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890, RFC 8190): what they do not call globally
//! reachable is here, with multicast and with what clouds answer on. Of IPv6, only what is given out as global unicast
//! (2000::/3) can pass at all.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// First address, prefix length, what it is.
const IPV4: &[([u8; 4], u32, &str)] = &[
    ([0, 0, 0, 0], 8, "\"this network\" (RFC 791)"),
    ([10, 0, 0, 0], 8, "private (RFC 1918)"),
    ([100, 64, 0, 0], 10, "shared by a carrier's customers (RFC 6598)"),
    ([127, 0, 0, 0], 8, "loopback (RFC 1122)"),
    ([168, 63, 129, 16], 32, "a cloud's host and metadata service (Azure)"),
    ([169, 254, 0, 0], 16, "link-local, where clouds keep their metadata (RFC 3927)"),
    ([172, 16, 0, 0], 12, "private (RFC 1918)"),
    ([192, 0, 0, 0], 24, "for protocols (RFC 6890)"),
    ([192, 0, 2, 0], 24, "for documentation (RFC 5737)"),
    ([192, 88, 99, 0], 24, "a 6to4 relay (RFC 7526)"),
    ([192, 168, 0, 0], 16, "private (RFC 1918)"),
    ([198, 18, 0, 0], 15, "for benchmarks (RFC 2544)"),
    ([198, 51, 100, 0], 24, "for documentation (RFC 5737)"),
    ([203, 0, 113, 0], 24, "for documentation (RFC 5737)"),
    ([224, 0, 0, 0], 4, "multicast (RFC 5771)"),
    ([240, 0, 0, 0], 4, "reserved or broadcast (RFC 1112, RFC 919)"),
];

/// The same for IPv6; the first that fits names it.
const IPV6: &[([u16; 8], u32, &str)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible (RFC 4291)"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped (RFC 4291)"),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated (RFC 2765)"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a translation prefix of one network (RFC 8215)"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discarded (RFC 6666)"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "a Teredo tunnel (RFC 4380)"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "for protocols (RFC 2928)"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "for documentation (RFC 3849)"),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "a 6to4 tunnel (RFC 3056)"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "for documentation (RFC 9637)"),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "for segment routing (RFC 9602)"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private, where clouds keep their metadata too (RFC 4193)"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local (RFC 4291)"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local (RFC 3879)"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast (RFC 4291)"),
];

/// RFC 6052: how a network without IPv4 reaches a host that has nothing else. Such a host's own address decides.
const TRANSLATED: ([u16; 8], u32) = ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
const GLOBAL_UNICAST: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What `address` is, where it must never be dialled.
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = u32::from(address);
    IPV4.iter()
        .find(|(first, length, _)| (bits ^ u32::from(Ipv4Addr::from(*first))) >> (32 - length) == 0)
        .map(|(.., what)| *what)
}

fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(address);
    let within =
        |first: [u16; 8], length: u32| (bits ^ u128::from(Ipv6Addr::from(first))) >> (128 - length) == 0;
    if within(TRANSLATED.0, TRANSLATED.1) {
        let [.., a, b, c, d] = address.octets();
        return forbidden_v4(Ipv4Addr::new(a, b, c, d));
    }
    if let Some((.., what)) = IPV6.iter().find(|(first, length, _)| within(*first, *length)) {
        return Some(what);
    }
    (!within(GLOBAL_UNICAST.0, GLOBAL_UNICAST.1)).then_some("given out to nobody (RFC 4291)")
}

/// Whether this machine answers for `address`: only then does the kernel let it be bound (or with
/// `net.ipv4.ip_nonlocal_bind`, and then nothing can be told apart and everything is this machine's). It knows secondary
/// addresses and local routes, and what changed a moment ago, as no list of interfaces does.
pub fn is_own(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => false,
        // A machine without IPv6 has no address of it.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => false,
        // Bound, or no way to know.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_forbidden(address: &str) -> bool {
        forbidden(address.parse().unwrap()).is_some()
    }

    /// Both ends of every block, and what lies just outside.
    #[test]
    fn the_blocks_of_the_registries_begin_and_end_where_they_should() {
        for (inside, outside) in [
            (["0.0.0.0", "0.255.255.255"], vec!["1.0.0.0"]),
            (["10.0.0.0", "10.255.255.255"], vec!["9.255.255.255", "11.0.0.0"]),
            (["100.64.0.0", "100.127.255.255"], vec!["100.63.255.255", "100.128.0.0"]),
            (["127.0.0.0", "127.255.255.255"], vec!["126.255.255.255", "128.0.0.0"]),
            (["168.63.129.16", "168.63.129.16"], vec!["168.63.129.15", "168.63.129.17"]),
            (["169.254.0.0", "169.254.255.255"], vec!["169.253.255.255", "169.255.0.0"]),
            (["172.16.0.0", "172.31.255.255"], vec!["172.15.255.255", "172.32.0.0"]),
            (["192.0.0.0", "192.0.0.255"], vec!["191.255.255.255", "192.0.1.0"]),
            (["192.0.2.0", "192.0.2.255"], vec!["192.0.1.255", "192.0.3.0"]),
            (["192.88.99.0", "192.88.99.255"], vec!["192.88.98.255", "192.88.100.0"]),
            (["192.168.0.0", "192.168.255.255"], vec!["192.167.255.255", "192.169.0.0"]),
            (["198.18.0.0", "198.19.255.255"], vec!["198.17.255.255", "198.20.0.0"]),
            (["198.51.100.0", "198.51.100.255"], vec!["198.51.99.255", "198.51.101.0"]),
            (["203.0.113.0", "203.0.113.255"], vec!["203.0.112.255", "203.0.114.0"]),
            (["224.0.0.0", "239.255.255.255"], vec!["223.255.255.255"]),
            (["240.0.0.0", "255.255.255.255"], vec![]),
            (["::", "::ffff:ffff:ffff"], vec![]),
            (["::ffff:0:0:0", "::ffff:0:ffff:ffff"], vec![]),
            (["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"], vec!["64:ff9b::808:808"]),
            (["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"], vec!["64:ff9b::101:101"]),
            (["100::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], vec!["2000::"]),
            (
                ["2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"],
                vec!["2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"],
            ),
            (
                ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"],
                vec!["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
            ),
            (
                ["2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                vec!["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"],
            ),
            (
                ["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"],
                vec!["3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"],
            ),
            (
                ["4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
                vec!["3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            ),
        ] {
            for address in inside {
                assert!(is_forbidden(address), "{address} is open");
            }
            for address in outside {
                assert!(!is_forbidden(address), "{address} is closed");
            }
        }
    }

    #[test]
    fn what_an_address_is_is_said() {
        for (address, what) in [
            ("169.254.169.254", "link-local"),
            ("fd00:ec2::254", "private"),
            ("::ffff:8.8.8.8", "IPv4-mapped"),
            ("::8.8.8.8", "IPv4-compatible"),
            ("::ffff:0:8.8.8.8", "IPv4-translated"),
            ("64:ff9b::10.1.2.3", "private"),
            ("2001:0:53aa:64c::", "Teredo"),
            ("2002:7f00:1::", "6to4"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "broadcast"),
        ] {
            let found = forbidden(address.parse().unwrap()).unwrap();
            assert!(found.contains(what), "{address}: {found}");
        }
    }

    #[test]
    fn the_machine_knows_its_own_addresses() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(is_own("127.8.9.10".parse().unwrap()));
        assert!(!is_own("203.0.113.77".parse().unwrap()));
        assert!(!is_own("2001:db8::77".parse().unwrap()));
    }
}
