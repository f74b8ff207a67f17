//! `/dev` and the masked parts of `/proc` inside a sandbox.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::sys;

const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Files of `/proc` that tell or change what concerns the whole machine. An empty file stands in for each.
const MASKED_FILES: [&str; 8] = [
    "kcore",
    "keys",
    "timer_list",
    "sysrq-trigger",
    "latency_stats",
    "sched_debug",
    // Others' keystrokes and packets can be timed by it.
    "interrupts",
    // Whoever chooses an attack would read it first.
    "config.gz",
];
const READ_ONLY: [&str; 5] = ["sys", "irq", "bus", "fs", "asound"];

/// The template's half: nodes bound from the host, links, and a directory for the pseudo-terminals.
pub fn build(root: &Path) -> io::Result<()> {
    let dev = root.join("dev");
    fs::create_dir(&dev)?;
    for node in NODES {
        let target = dev.join(node);
        File::create(&target)?;
        let tree = sys::open_tree(&Path::new("/dev").join(node), false)?;
        sys::mount_setattr(tree.as_fd(), false, sys::ATTR_NOSUID | sys::ATTR_NOEXEC, None)?;
        sys::move_mount(tree.as_fd(), &target)?;
    }
    fs::create_dir(dev.join("pts"))?;
    symlink("pts/ptmx", dev.join("ptmx"))?;
    for (link, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), dev.join(link))?;
    }
    Ok(())
}

/// The child's half, in the new root: file systems that belong to its own namespaces.
pub fn mount_in_child() -> io::Result<()> {
    let (proc, pts) = (Path::new("proc"), Path::new("dev/pts"));
    let safe = libc::MS_NOSUID | libc::MS_NOEXEC;
    sys::mount("proc", proc, "proc", safe | libc::MS_NODEV, "")?;
    sys::mount("devpts", pts, "devpts", safe, "newinstance,ptmxmode=0666,mode=620")?;
    // A bind is as read-only as what it shows, which is a file of the root.
    for name in MASKED_FILES {
        match sys::mount("etc/.empty", &proc.join(name), "", libc::MS_BIND, "") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    let read_only = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | safe | libc::MS_NODEV;
    for name in READ_ONLY {
        let target = proc.join(name);
        if target.is_dir() {
            sys::mount(&format!("proc/{name}"), &target, "", libc::MS_BIND, "")?;
            sys::mount("", &target, "", read_only, "")?;
        }
    }
    Ok(())
}
