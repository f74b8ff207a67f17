//! The few system calls that no crate in use wraps. Each returns the kernel's error as it is.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "contains a NUL byte"))
}

pub fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `mount(2)`; `data` as the file system wants it.
pub fn mount(source: &str, target: &Path, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (source, target) = (c_string(source.as_ref())?, c_string(target.as_os_str())?);
    let (kind, data) = (c_string(kind.as_ref())?, c_string(data.as_ref())?);
    // SAFETY: four NUL-terminated strings that live until the call returns.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    check(result.into()).map(drop)
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

pub const ATTR_RDONLY: u64 = 0x1;
pub const ATTR_NOSUID: u64 = 0x2;
pub const ATTR_NODEV: u64 = 0x4;
pub const ATTR_NOEXEC: u64 = 0x8;
const ATTR_IDMAP: u64 = 0x0010_0000;

/// Sets attributes of the mount that `tree` stands for, and of those below it if `recursive`.
pub fn mount_setattr(
    tree: BorrowedFd<'_>,
    recursive: bool,
    attributes: u64,
    user_namespace: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attr = MountAttr { attr_set: attributes, ..MountAttr::default() };
    if let Some(namespace) = user_namespace {
        attr.attr_set |= ATTR_IDMAP;
        attr.userns_fd = u64::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    }
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty C string and a `mount_attr` of the size said; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(result).map(drop)
}

/// A detached copy of the mount at `path`, with those below it if `recursive`.
pub fn open_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = c_string(path.as_os_str())?;
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | if recursive { libc::AT_RECURSIVE as libc::c_uint } else { 0 };
    // SAFETY: a NUL-terminated string; the result is a new descriptor that nothing else owns.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags))?;
        Ok(OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?))
    }
}

/// An overlay that is mounted nowhere yet; `options` as key and value.
pub fn overlay(options: &[(&str, &str)], flags: &[&str]) -> io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
        fsmount, fsopen,
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    fsconfig_set_string(context, "source", "patchbay")?;
    for (key, value) in options {
        fsconfig_set_string(context, *key, *value)?;
    }
    for flag in flags {
        fsconfig_set_flag(context, *flag)?;
    }
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a detached mount.
pub fn move_mount(tree: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let target = c_string(target.as_os_str())?;
    // SAFETY: two NUL-terminated strings that outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    check(result).map(drop)
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `fork` with namespace flags, into a v2 control group if one is given. The child gets 0. Call it only where one
/// thread runs.
pub fn fork_into(flags: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<libc::pid_t> {
    if flags == 0 && cgroup.is_none() {
        // In an engine's container `clone3` is refused.
        // SAFETY: one thread runs, so no lock is held by another.
        return check(unsafe { libc::fork() }.into())
            .and_then(|pid| libc::pid_t::try_from(pid).map_err(io::Error::other));
    }
    let mut arguments = libc::clone_args {
        flags: u64::from(flags.unsigned_abs()),
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    // SAFETY: without CLONE_VM and without a stack this is fork: the child runs on its own copy of everything,
    // and no other thread exists that could have held a lock. The arguments are as large as said.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    })?;
    libc::pid_t::try_from(pid).map_err(io::Error::other)
}

pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

pub fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: every option used here takes integers only.
    check(unsafe { libc::prctl(option, value, 0, 0, 0) }.into()).map(drop)
}

/// `pivot_root(".", ".")`: the working directory becomes `/` for every process of this mount namespace, with the old root
/// on top of it.
pub fn pivot_to_working_directory() -> io::Result<()> {
    // SAFETY: NUL-terminated strings.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}

/// Lets go of the old root. Nothing may change the working directory in between.
pub fn detach_old_root() -> io::Result<()> {
    // SAFETY: a NUL-terminated string.
    check(unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) }.into())?;
    std::env::set_current_dir("/")
}

/// Closes every descriptor from `first` on.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: callers own nothing above `first` that they use afterwards.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Puts a copy of `fd` at `number`, inheritable.
pub fn duplicate_to(fd: BorrowedFd<'_>, number: libc::c_int) -> io::Result<()> {
    // SAFETY: `fd` is open; whatever was at `number` belongs to this process alone.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }.into()).map(drop)
}

/// `/dev/null`, to read and to write.
pub fn open_null() -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Prints to nowhere from here on: a pipe ends with the last who could write to it.
pub fn silence(null: BorrowedFd<'_>) -> io::Result<()> {
    [libc::STDOUT_FILENO, libc::STDERR_FILENO].into_iter().try_for_each(|number| duplicate_to(null, number))
}

/// What this process does on a signal: `SIG_DFL` or `SIG_IGN`.
pub fn set_signal(signal: libc::c_int, disposition: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: both dispositions are valid for every signal, and no handler is installed.
    match unsafe { libc::signal(signal, disposition) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ends this process at once, without running destructors that belong to the process it was forked from.
pub fn exit_now(code: libc::c_int) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// `setresgid`, `setresuid` and an empty list of groups cannot be had in one call that every crate wraps.
pub fn become_user(id: u32) -> io::Result<()> {
    // SAFETY: integers only. One thread runs, so the raw calls change the whole process.
    unsafe {
        check(libc::syscall(libc::SYS_setresgid, id, id, id))?;
        check(libc::syscall(libc::SYS_setresuid, id, id, id))?;
    }
    Ok(())
}

/// Leaves every supplementary group.
pub fn leave_groups() -> io::Result<()> {
    // SAFETY: a length of zero, so the pointer is not read.
    check(unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) }).map(drop)
}
