//! Work that somebody finishes whoever is killed: a second process does it, in the memory of the first, which sleeps
//! meanwhile and is its guardian. Should the guardian be killed, the worker goes on. Should the worker be, the guardian
//! becomes its own program once more, which recovers (`local::worker_was_killed`).
//!
//! The two are started as `posix_spawn` starts a program: no memory is copied and none is written twice, so that it
//! costs next to nothing beside the work.

use std::ffi::{CString, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, WaitOptions};

use super::DiskError;

/// The first argument of a guardian whose worker was killed; the second is the root.
pub const WORKER_KILLED: &str = "__worker_killed";

/// Of the worker; what it does is not deep. Only pages that are touched exist.
const STACK_BYTES: usize = 1024 * 1024;

struct Job<Work, Answer> {
    work: Option<Work>,
    answer: Option<Answer>,
}

/// Does `work` on the tree at `root`. Where the worker is killed this does not return: the program starts anew and recovers.
pub fn guarded<Answer>(root: &Path, work: impl FnOnce() -> Answer) -> Result<Answer, DiskError> {
    start(root, Job { work: Some(work), answer: None })
}

fn start<Work: FnOnce() -> Answer, Answer>(
    root: &Path,
    mut job: Job<Work, Answer>,
) -> Result<Answer, DiskError> {
    // Made before: a worker that was killed may leave the allocator in the middle of something.
    let recovery = Recovery::of(root)?;
    let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
    let top = stack.as_mut_ptr().wrapping_add(stack.capacity());
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the worker's alone, aligned as a stack is, and lives until the worker has ended, as `job`
    // does: this thread, the only one, sleeps in the call until then (an asynchronous runtime is made for a server
    // alone). A guardian that is killed in its sleep leaves the memory to the worker.
    let worker = unsafe { libc::clone(enter::<Work, Answer>, top.cast(), flags, (&raw mut job).cast()) };
    let Some(worker) = Pid::from_raw(worker).filter(|_| worker > 0) else {
        let error = rustix::io::Errno::from_io_error(&std::io::Error::last_os_error());
        return Err(DiskError::io("start", "the worker")(error.unwrap_or(rustix::io::Errno::AGAIN)));
    };
    let _ = rustix::process::waitpid(Some(worker), WaitOptions::empty());
    match job.answer {
        Some(answer) => Ok(answer),
        None => recovery.become_it(),
    }
}

extern "C" fn enter<Work: FnOnce() -> Answer, Answer>(job: *mut c_void) -> c_int {
    // What kills a terminal's or a supervisor's group of processes must not kill both.
    let _ = rustix::process::setsid();
    // SAFETY: it is the job of `start`, which nobody else touches until this process has ended.
    let job = unsafe { &mut *job.cast::<Job<Work, Answer>>() };
    job.answer = job.work.take().map(|work| work());
    0
}

/// Recovering a tree, ready to be executed without another allocation.
struct Recovery {
    arguments: [CString; 3],
}

impl Recovery {
    fn of(root: &Path) -> Result<Self, DiskError> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| DiskError::io("name", ".")(rustix::io::Errno::INVAL))
        };
        let program = text(b"recover")?;
        Ok(Self { arguments: [program, text(WORKER_KILLED.as_bytes())?, text(root.as_os_str().as_bytes())?] })
    }

    fn become_it<Answer>(&self) -> Result<Answer, DiskError> {
        let [program, killed, root] = self.arguments.each_ref().map(|argument| argument.as_ptr());
        let pointers = [program, killed, root, std::ptr::null()];
        // SAFETY: each points to a text that ends in NUL, and the list ends in null.
        unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
        Err(DiskError::WorkerKilled)
    }
}
