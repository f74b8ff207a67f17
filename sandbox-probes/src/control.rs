//! The control: the probes as root on the host. Process ids, mounts and the host name are this run's own, so that what
//! they find (a first process, mounts to undo) was made here and not by the machine; all else is the host's.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use crate::call::{self, Child, call, int, open_path, text};
use crate::outside::Outside;

const NAMESPACES: libc::c_int = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS;

pub fn run(outside: Outside, probes: impl FnOnce(&Outside)) -> io::Result<()> {
    let first = call::clone_into(NAMESPACES)?;
    if first == 0 {
        let code = match first_process(outside, probes) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("sandbox-probes: {error}");
                1
            }
        };
        call::exit(code);
    }
    ended_well("first process", first)
}

fn ended_well(what: &str, pid: i32) -> io::Result<()> {
    let status = Child { pid }.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("the control's {what}: {status}"))) }
}

/// Its end is the end of all that it started.
fn first_process(mut outside: Outside, probes: impl FnOnce(&Outside)) -> io::Result<()> {
    // 1. Mounts of its own, from which nothing reaches the host's.
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    // 2. Another root that shows the same, so that there is something outside of it: the old one, kept by a descriptor
    // and as the working directory, as a careless runtime would leave them.
    let root = outside.directory.join("root");
    fs::create_dir_all(&root)?;
    let path = call::c_path(&root);
    mount(Some(c"/"), &path, None, libc::MS_BIND | libc::MS_REC)?;
    let left_open = open_path(c"/", libc::O_RDONLY | libc::O_DIRECTORY)?;
    std::env::set_current_dir(&root)?;
    call(libc::SYS_pivot_root, &[text(c"."), text(c".")])?;
    call(libc::SYS_umount2, &[text(c"."), int(libc::MNT_DETACH)])?;
    std::env::set_current_dir("/")?;
    call(libc::SYS_fchdir, &[int(left_open.as_raw_fd())])?;
    outside.inherited.push(left_open.as_raw_fd());
    // 3. Its own processes, and a part of /proc that is covered.
    mount(Some(c"proc"), c"/proc", Some(c"proc"), 0)?;
    mount(Some(c"/proc/bus"), c"/proc/bus", None, libc::MS_BIND)?;
    // 4. A process to meet.
    let victim = call::child(|| call::pause())?;
    outside.victim = victim.pid;
    let prober = call::clone_into(0)?;
    if prober == 0 {
        probes(&outside);
        call::exit(0);
    }
    ended_well("prober", prober)
}

fn mount(source: Option<&CStr>, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let pointer = |string: Option<&CStr>| string.map_or(0, text);
    let arguments = [pointer(source), text(target), pointer(kind), flags as usize, 0];
    call(libc::SYS_mount, &arguments).map_err(|error| {
        io::Error::new(error.kind(), format!("mount at {}: {error}", target.to_string_lossy()))
    })?;
    Ok(())
}
