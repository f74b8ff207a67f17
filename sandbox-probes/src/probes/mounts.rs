//! Mounts, roots and control groups.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::{in_scratch, opens};
use crate::call::{address, c_path, call, int, open_call, text};
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

/// What is mounted: source and kind.
macro_rules! mounts {
    ($id:literal, $means:literal, $needs:expr, $kind:literal, $options:literal) => {
        probe($id, $means, $needs, |_| {
            in_scratch(|scratch| {
                let target = c_path(&scratch.0);
                let mounted =
                    call(libc::SYS_mount, &[text(c"none"), text(&target), text($kind), 0, text($options)]);
                let _ = call(libc::SYS_umount2, &[text(&target), int(libc::MNT_DETACH)]);
                Ok(mounted.into())
            })
        })
    };
}

pub const PROBES: &[Probe] = &[
    mounts!("mount-tmpfs", "anything can be covered", &[], c"tmpfs", c""),
    mounts!("mount-proc", "a /proc without its masks", &[], c"proc", c""),
    mounts!("mount-sysfs", "the machine's devices and settings", &["/sys/kernel"], c"sysfs", c""),
    mounts!(
        "mount-cgroup",
        "limits can be raised, and a release agent set",
        &["cgroup v1"],
        c"cgroup",
        c"none,name=patchbay"
    ),
    mounts!("mount-cgroup2", "limits can be raised", &["CONFIG_CGROUPS"], c"cgroup2", c""),
    mounts!(
        "mount-overlay",
        "code of the kernel that has been broken before",
        &["CONFIG_OVERLAY_FS"],
        c"overlay",
        c"lowerdir=/usr:/etc"
    ),
    mounts!("mount-debugfs", "the kernel's inside", &["CONFIG_DEBUG_FS"], c"debugfs", c""),
    mounts!("mount-devpts", "terminals of the host", &[], c"devpts", c"newinstance"),
    probe("mount-bind", "anything can be shown anywhere", &[], |_| {
        in_scratch(|scratch| {
            let target = c_path(&scratch.0);
            let bound = call(libc::SYS_mount, &[text(c"/usr"), text(&target), 0, libc::MS_BIND as usize, 0]);
            let _ = call(libc::SYS_umount2, &[text(&target), int(libc::MNT_DETACH)]);
            Ok(bound.into())
        })
    }),
    probe("remount-writable", "what is read-only can be made writable", &[], |outside| {
        let flags = (libc::MS_REMOUNT | libc::MS_BIND) as usize;
        let targets =
            ["/", "/usr", "/proc/sys"].map(PathBuf::from).into_iter().chain([outside.directory.clone()]);
        Verdict::any(
            targets.map(|target| call(libc::SYS_mount, &[0, text(&c_path(&target)), 0, flags, 0]).into()),
        )
    }),
    probe("mount-attributes", "what is read-only can be made writable", &[], |outside| {
        // attr_set, attr_clr (read-only), propagation, user namespace.
        let change = [0_u64, 1, 0, 0];
        let targets =
            ["/", "/usr", "/proc/sys"].map(PathBuf::from).into_iter().chain([outside.directory.clone()]);
        Verdict::any(targets.map(|target| {
            let path = c_path(&target);
            let arguments = [int(libc::AT_FDCWD), text(&path), 0, address(&change), size_of_val(&change)];
            call(libc::SYS_mount_setattr, &arguments).into()
        }))
    }),
    probe("unmount-masks", "covered parts of /proc can be uncovered (CVE-2025-31133)", &[], |_| {
        let table = head("/proc/self/mountinfo").unwrap_or_default();
        let points =
            table.lines().filter_map(|line| line.split(' ').nth(4)).filter(|path| path.starts_with("/proc/"));
        Verdict::any(points.map(|point| {
            let path = c_path(Path::new(point));
            call(libc::SYS_umount2, &[text(&path), int(libc::MNT_DETACH)]).into()
        }))
    }),
    probe("fsopen", "file systems can be made", &[], |_| {
        open_call(libc::SYS_fsopen, &[text(c"tmpfs"), 0]).into()
    }),
    probe("fspick", "mounted file systems can be set", &[], |_| {
        open_call(libc::SYS_fspick, &[int(libc::AT_FDCWD), text(c"/"), 0]).into()
    }),
    probe("open-tree", "mounts can be copied", &[], |_| copied_mount().into()),
    probe("move-mount", "mounts can be moved", &[], |_| {
        in_scratch(|scratch| {
            let target = c_path(&scratch.0);
            let moved = copied_mount().and_then(|tree| {
                let from = [int(tree.as_raw_fd()), text(c""), int(libc::AT_FDCWD), text(&target), 4];
                call(libc::SYS_move_mount, &from)
            });
            let _ = call(libc::SYS_umount2, &[text(&target), int(libc::MNT_DETACH)]);
            // Without a copy to move: is the call itself there?
            let bare = call(libc::SYS_move_mount, &[int(-1), text(c""), int(-1), text(c""), 4]);
            Ok(Verdict::any([moved.into(), Verdict::past(bare, &[libc::EBADF])]))
        })
    }),
    probe("chroot", "the root can be changed, and left", &["CAP_SYS_CHROOT"], |_| {
        call(libc::SYS_chroot, &[text(c"/usr")]).into()
    }),
    probe("pivot-root", "the root can be exchanged", &[], |_| {
        // The root for itself is refused, once the right was looked at.
        let here = [text(c"/"), text(c"/")];
        Verdict::past(call(libc::SYS_pivot_root, &here), &[libc::EBUSY, libc::EINVAL])
    }),
    probe(
        "release-agent",
        "the host runs a program of the payload's (CVE-2022-0492)",
        &["cgroup v1"],
        |_| {
            Verdict::any(
                control_groups("cgroup").into_iter().map(|point| opens(point.join("release_agent"), true)),
            )
        },
    ),
    probe("control-groups-visible", "limits of others are in sight", &["CONFIG_CGROUPS"], |_| {
        let points = control_groups("cgroup").into_iter().chain(control_groups("cgroup2"));
        Verdict::any(points.map(|point| fs::read_dir(point).into()))
    }),
    probe("control-groups-leave", "the payload can leave its limits", &["CONFIG_CGROUPS"], |_| {
        let points = control_groups("cgroup").into_iter().chain(control_groups("cgroup2"));
        Verdict::any(points.map(|point| opens(point.join("cgroup.procs"), true)))
    }),
];

fn copied_mount() -> std::io::Result<std::os::fd::OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    open_call(libc::SYS_open_tree, &[int(libc::AT_FDCWD), text(c"/usr"), flags as usize])
}

/// Where hierarchies of this kind are mounted, and where they usually are.
fn control_groups(kind: &str) -> Vec<PathBuf> {
    let table = head("/proc/self/mountinfo").unwrap_or_default();
    let mounted = table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        (right.split(' ').next()? == kind).then(|| left.split(' ').nth(4).map(PathBuf::from))?
    });
    mounted.chain(["/sys/fs/cgroup".into(), "/sys/fs/cgroup/unified".into()]).collect()
}
