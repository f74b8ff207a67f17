//! The one place without Rust's own safety: system calls by number, fork, and what is built on them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// A system call as the kernel sees it. Pointers come from [`address`], of values that outlive the call.
pub fn call(number: libc::c_long, arguments: &[usize]) -> io::Result<libc::c_long> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or_default();
    // SAFETY: each probe passes what this call reads and room for what it writes; none changes this process's memory
    // in any other way.
    let result = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call that gives a descriptor.
pub fn open_call(number: libc::c_long, arguments: &[usize]) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(call(number, arguments)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub fn open_path(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    open_call(libc::SYS_openat, &[int(libc::AT_FDCWD), text(path), int(flags)])
}

pub fn address<T: ?Sized>(value: &T) -> usize {
    std::ptr::from_ref(value).cast::<u8>() as usize
}

pub fn text(text: &CStr) -> usize {
    text.as_ptr() as usize
}

pub fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}

/// A number of any size as the kernel takes it: sign-extended.
pub fn int(value: libc::c_int) -> usize {
    value as isize as usize
}

pub fn effective_user() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

pub fn process() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

/// A child of this process; killed and reaped when dropped.
pub struct Child {
    pub pid: i32,
}

impl Child {
    /// Until it ends by itself.
    pub fn wait(self) -> io::Result<ExitStatus> {
        let mut status = 0;
        // SAFETY: an integer that outlives the call.
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        // Its pid may be another's from now on.
        std::mem::forget(self);
        Ok(ExitStatus::from_raw(status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: integers only; the child is not reaped yet, so its pid is its own.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Runs `work` in a child; it ends with it.
pub fn child(work: impl FnOnce()) -> io::Result<Child> {
    match clone_into(0)? {
        0 => {
            work();
            exit(0)
        }
        pid => Ok(Child { pid }),
    }
}

/// `fork` with namespace flags; the child gets 0.
pub fn clone_into(flags: libc::c_int) -> io::Result<i32> {
    let pid = call(libc::SYS_clone, &[int(flags | libc::SIGCHLD)])?;
    i32::try_from(pid).map_err(io::Error::other)
}

pub fn ignore_hang_up() {
    // SAFETY: no handler of this process's own.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
}

pub fn pause() -> ! {
    loop {
        // SAFETY: no arguments.
        unsafe { libc::pause() };
    }
}

/// At once, without what the parent would still write.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}
