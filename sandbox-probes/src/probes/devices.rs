//! Devices and terminals. A device is opened without waiting and closed; watchdogs are left alone, because opening one
//! starts it.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use super::{in_scratch, new_terminal, opens};
use crate::call::{self, address, c_path, call, int, open_path, text};
use crate::probe::{Probe, Verdict, probe};

macro_rules! device {
    ($id:literal, $means:literal, $path:literal) => {
        probe($id, $means, &[$path], |_| opens($path, false))
    };
}

pub const PROBES: &[Probe] = &[
    device!("device-kmsg", "the kernel's log can be read and written", "/dev/kmsg"),
    device!("device-mem", "the machine's memory can be read", "/dev/mem"),
    device!("device-port", "the machine's devices can be driven", "/dev/port"),
    device!("device-fuse", "file systems of the payload's own", "/dev/fuse"),
    device!("device-kvm", "virtual machines", "/dev/kvm"),
    device!("device-tun", "networks of the payload's own", "/dev/net/tun"),
    device!("device-loop-control", "disks can be made of files", "/dev/loop-control"),
    device!("device-console", "the machine's console (CVE-2025-52565)", "/dev/console"),
    device!("device-virtual-terminal", "the machine's keyboard and screen", "/dev/tty0"),
    device!("device-userfaultfd", "the kernel can be held up in the middle of a copy", "/dev/userfaultfd"),
    device!("device-vsock", "the machine below this one can be reached", "/dev/vsock"),
    device!("device-vhost-net", "code of the kernel that has been broken before", "/dev/vhost-net"),
    device!("device-vfio", "the machine's devices can be driven", "/dev/vfio/vfio"),
    device!("device-mapper", "disks can be made", "/dev/mapper/control"),
    device!("device-btrfs", "disks can be scanned", "/dev/btrfs-control"),
    device!("device-msr", "the processor's settings can be read", "/dev/cpu/0/msr"),
    device!("device-input", "keystrokes can be read", "/dev/input/event0"),
    device!("device-uinput", "keystrokes can be made", "/dev/uinput"),
    device!("device-graphics", "code of the kernel that has been broken before", "/dev/dri/card0"),
    device!("device-random-source", "the machine's own source of random numbers", "/dev/hwrng"),
    device!("device-latency", "the processor's sleep can be forbidden", "/dev/cpu_dma_latency"),
    probe("device-disk", "the machine's disks can be read", &["/proc/partitions"], |_| {
        let table = crate::runner::head("/proc/partitions").unwrap_or_default();
        let names = table.lines().skip(2).filter_map(|line| line.split_whitespace().nth(3));
        Verdict::any(names.chain(["loop0"]).map(|name| opens(Path::new("/dev").join(name), false)))
    }),
    probe("mknod-block", "a node for the machine's disk can be made", &["CAP_MKNOD"], |_| {
        makes_node(libc::S_IFBLK, libc::makedev(8, 0))
    }),
    probe("mknod-character", "a node for the machine's memory can be made", &["CAP_MKNOD"], |_| {
        makes_node(libc::S_IFCHR, libc::makedev(1, 1))
    }),
    probe("mknod-workspace", "a node can be left for whoever reads the workspace", &["CAP_MKNOD"], |_| {
        let path = Path::new("/workspace").join(format!(".probe-{}", std::process::id()));
        if Path::new("/workspace").is_dir() {
            makes_node_at(&path, libc::S_IFCHR, libc::makedev(1, 7))
        } else {
            makes_node(libc::S_IFCHR, libc::makedev(1, 7))
        }
    }),
    probe("host-terminal", "a terminal of the host can be opened", &[], |outside| {
        opens(&outside.terminal, true)
    }),
    probe(
        "terminal-inject",
        "keystrokes can be put into a terminal (TIOCSTI)",
        &["CONFIG_LEGACY_TIOCSTI"],
        |_| {
            with_terminal(|terminal| {
                call(libc::SYS_ioctl, &[terminal, libc::TIOCSCTTY as usize, 0])?;
                call(libc::SYS_ioctl, &[terminal, libc::TIOCSTI as usize, text(c"x")])
            })
        },
    ),
    probe(
        "terminal-inject-64",
        "the same, with bits above that the kernel ignores",
        &["CONFIG_LEGACY_TIOCSTI"],
        |_| {
            with_terminal(|terminal| {
                call(libc::SYS_ioctl, &[terminal, libc::TIOCSCTTY as usize, 0])?;
                call(libc::SYS_ioctl, &[terminal, (1 << 32) | libc::TIOCSTI as usize, text(c"x")])
            })
        },
    ),
    probe("terminal-paste", "text can be put into a terminal (TIOCLINUX)", &["/dev/tty0"], |_| {
        // The state of the shift key: nothing is pasted. On other terminals only a filter says EPERM.
        let state = [6_u8; 8];
        let ask = |terminal| call(libc::SYS_ioctl, &[terminal, 0x541c, address(&state)]);
        let console = open_path(c"/dev/tty0", libc::O_RDONLY | libc::O_NOCTTY);
        match console {
            Ok(console) => ask(int(console.as_raw_fd())).into(),
            Err(_) => with_terminal(ask),
        }
    }),
    probe(
        "terminal-steal",
        "a terminal can be taken from another session (TIOCSCTTY)",
        &["CAP_SYS_ADMIN"],
        |_| {
            with_terminal(|terminal| {
                call(libc::SYS_ioctl, &[terminal, libc::TIOCSCTTY as usize, 0])?;
                let thief = call::child(|| {
                    let stolen = call(libc::SYS_setsid, &[])
                        .and_then(|_| call(libc::SYS_ioctl, &[terminal, libc::TIOCSCTTY as usize, 1]));
                    call::exit(if stolen.is_ok() { 7 } else { 0 });
                })?;
                if thief.wait()?.code() == Some(7) { Ok(0) } else { Err(std::io::Error::other("refused")) }
            })
        },
    ),
];

fn makes_node(kind: u32, device: u64) -> Verdict {
    in_scratch(|scratch| Ok(makes_node_at(&scratch.0.join("node"), kind, device)))
}

fn makes_node_at(path: &Path, kind: u32, device: u64) -> Verdict {
    let made = call(
        libc::SYS_mknodat,
        &[int(libc::AT_FDCWD), text(&c_path(path)), (kind | 0o600) as usize, device as usize],
    );
    let _ = fs::remove_file(path);
    made.into()
}

/// On the other side of a pseudo-terminal of the probe's own.
fn with_terminal(attempt: impl FnOnce(usize) -> std::io::Result<libc::c_long>) -> Verdict {
    let tried = new_terminal().and_then(|(_master, path)| {
        let terminal = open_path(&c_path(&path), libc::O_RDWR | libc::O_NOCTTY)?;
        attempt(int(terminal.as_raw_fd()))
    });
    tried.into()
}
