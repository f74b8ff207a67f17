//! Families of sockets that namespaces do not hold, or that have broken kernels before. Made, never connected.

use libc::{AF_INET, AF_INET6, AF_NETLINK, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};

use crate::call::{int, open_call};
use crate::probe::{Probe, probe};

/// family, kind, protocol
macro_rules! socket {
    ($id:literal, $means:expr, $needs:expr, $family:expr, $kind:expr, $protocol:expr) => {
        probe($id, $means, $needs, |_| {
            let arguments = [int($family), int($kind | libc::SOCK_CLOEXEC), int($protocol)];
            open_call(libc::SYS_socket, &arguments).into()
        })
    };
}

const MACHINE_BELOW: &str = "the machine below this one can be reached";
const BROKEN_BEFORE: &str = "code of the kernel that has been broken before";

pub const PROBES: &[Probe] = &[
    socket!("socket-vsock", MACHINE_BELOW, &["CONFIG_VSOCKETS"], libc::AF_VSOCK, SOCK_STREAM, 0),
    socket!(
        "socket-vsock-datagram",
        MACHINE_BELOW,
        &["CONFIG_VMWARE_VMCI_VSOCKETS"],
        libc::AF_VSOCK,
        SOCK_DGRAM,
        0
    ),
    socket!("socket-vsock-packets", MACHINE_BELOW, &["CONFIG_VSOCKETS"], libc::AF_VSOCK, SOCK_SEQPACKET, 0),
    socket!(
        "socket-packet",
        "everything on the network can be read",
        &["CONFIG_PACKET"],
        libc::AF_PACKET,
        SOCK_RAW,
        0
    ),
    socket!(
        "socket-packet-datagram",
        "everything on the network can be read",
        &["CONFIG_PACKET"],
        libc::AF_PACKET,
        SOCK_DGRAM,
        0
    ),
    socket!("socket-raw", "packets can be forged", &[], AF_INET, SOCK_RAW, libc::IPPROTO_ICMP),
    socket!("socket-raw-all", "packets can be forged", &[], AF_INET, SOCK_RAW, libc::IPPROTO_RAW),
    socket!(
        "socket-raw-v6",
        "packets can be forged",
        &["CONFIG_IPV6"],
        AF_INET6,
        SOCK_RAW,
        libc::IPPROTO_ICMPV6
    ),
    socket!(
        "netlink-diagnosis",
        "others' sockets are listed",
        &["CONFIG_INET_DIAG"],
        AF_NETLINK,
        SOCK_RAW,
        4
    ),
    socket!("netlink-xfrm", BROKEN_BEFORE, &["CONFIG_XFRM_USER"], AF_NETLINK, SOCK_RAW, 6),
    socket!(
        "netlink-audit",
        "the machine's audit can be changed",
        &["CONFIG_AUDIT"],
        AF_NETLINK,
        SOCK_RAW,
        9
    ),
    socket!(
        "netlink-connector",
        "every process of the machine shows",
        &["CONFIG_CONNECTOR"],
        AF_NETLINK,
        SOCK_RAW,
        11
    ),
    socket!("netlink-netfilter", BROKEN_BEFORE, &["CONFIG_NETFILTER_NETLINK"], AF_NETLINK, SOCK_RAW, 12),
    socket!("netlink-devices", "the machine's devices show as they come", &[], AF_NETLINK, SOCK_RAW, 15),
    socket!("netlink-generic", BROKEN_BEFORE, &[], AF_NETLINK, SOCK_RAW, 16),
    socket!("netlink-crypto", BROKEN_BEFORE, &["CONFIG_CRYPTO_USER"], AF_NETLINK, SOCK_RAW, 21),
    socket!("socket-bluetooth", BROKEN_BEFORE, &["CONFIG_BT"], libc::AF_BLUETOOTH, SOCK_RAW, 1),
    socket!("socket-can", BROKEN_BEFORE, &["CONFIG_CAN"], libc::AF_CAN, SOCK_RAW, 1),
    socket!("socket-crypto", BROKEN_BEFORE, &["CONFIG_CRYPTO_USER_API"], libc::AF_ALG, SOCK_SEQPACKET, 0),
    socket!("socket-xdp", BROKEN_BEFORE, &["CONFIG_XDP_SOCKETS"], libc::AF_XDP, SOCK_RAW, 0),
    socket!("socket-rds", BROKEN_BEFORE, &["CONFIG_RDS"], libc::AF_RDS, SOCK_SEQPACKET, 0),
    socket!("socket-tipc", BROKEN_BEFORE, &["CONFIG_TIPC"], libc::AF_TIPC, SOCK_SEQPACKET, 0),
    socket!("socket-key", BROKEN_BEFORE, &["CONFIG_NET_KEY"], libc::AF_KEY, SOCK_RAW, 2),
    socket!("socket-nfc", BROKEN_BEFORE, &["CONFIG_NFC"], libc::AF_NFC, SOCK_SEQPACKET, 1),
    socket!("socket-smc", BROKEN_BEFORE, &["CONFIG_SMC"], 43, SOCK_STREAM, 0),
    socket!("socket-kcm", BROKEN_BEFORE, &["CONFIG_AF_KCM"], 41, SOCK_SEQPACKET, 0),
    socket!("socket-pppox", BROKEN_BEFORE, &["CONFIG_PPPOE"], libc::AF_PPPOX, SOCK_STREAM, 0),
];
