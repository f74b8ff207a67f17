//! Kills a process at its n-th system call.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victims {
    /// The command itself; a worker that it started lives on.
    Main,
    /// What the command has started; it lives on itself.
    Worker,
    /// All of them, at the same instant.
    Everyone,
}

/// Runs the command until it or what it started begins the `nth` system call (from 1), then kills. False where it
/// ended before.
pub fn kill_at(command: &mut Command, nth: usize, victims: Victims) -> bool {
    // SAFETY: between fork and exec it makes one system call and nothing else.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let main = i32::try_from(command.spawn().unwrap().id()).unwrap();
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEVFORK;
    wait(main).expect("it stops at exec");
    // SAFETY: plain system calls on a process that this thread traces; the kernel checks the rest.
    let go_on = |process: i32, signal: i32| unsafe { libc::ptrace(libc::PTRACE_SYSCALL, process, 0, signal) };
    // SAFETY: as above.
    unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, main, 0, options) };
    go_on(main, 0);
    // Whether each is inside a system call; the stops alternate.
    let mut inside = BTreeMap::from([(main, false)]);
    let mut calls = 0;
    while let Some((process, status)) = wait_for_any() {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            inside.remove(&process);
            continue;
        }
        let signal = libc::WSTOPSIG(status);
        let is_inside = inside.entry(process).or_insert(false);
        if signal == libc::SIGTRAP | 0x80 {
            *is_inside = !*is_inside;
            calls += usize::from(*is_inside);
            if calls == nth && *is_inside {
                let is_victim = |process: &&i32| match victims {
                    Victims::Main => **process == main,
                    Victims::Worker => **process != main,
                    Victims::Everyone => true,
                };
                inside.keys().filter(is_victim).for_each(|process| kill(*process));
                if victims == Victims::Everyone {
                    // One that was being born is heard of only now.
                    while let Some((process, status)) = wait_for_any() {
                        if libc::WIFSTOPPED(status) {
                            kill(process);
                        }
                    }
                    return true;
                }
            }
        }
        // The stops of tracing itself are not signals of the program.
        let is_own = matches!(signal, libc::SIGTRAP | libc::SIGSTOP) || signal == libc::SIGTRAP | 0x80;
        go_on(process, if is_own { 0 } else { signal });
    }
    calls >= nth
}

/// Until everyone has ended: the last one holds the lock as long as it lives.
pub fn wait_until_unlocked(root: &Path) {
    let root = File::open(root).unwrap();
    // SAFETY: a lock on an open file.
    assert_eq!(unsafe { libc::flock(root.as_raw_fd(), libc::LOCK_EX) }, 0);
}

fn kill(process: i32) {
    // SAFETY: it only sends a signal, to a traced process that is not reaped yet.
    unsafe { libc::kill(process, libc::SIGKILL) };
}

fn wait(process: i32) -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` outlives the call. Only children of this thread: other tests have children too.
    let process = unsafe { libc::waitpid(process, &mut status, libc::__WALL | libc::__WNOTHREAD) };
    (process > 0).then_some((process, status))
}

fn wait_for_any() -> Option<(i32, i32)> {
    wait(-1)
}

/// One of a filter's; `yes` and `no` are how many of the next are skipped.
fn statement(code: u32, value: u32, yes: u8, no: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt: yes, jf: no, k: value }
}

/// The command sees a file system that can neither exchange two names nor refuse to replace one.
pub fn without_rename_flags(command: &mut Command) {
    let call = u32::try_from(libc::SYS_renameat2).unwrap();
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let filter = [
        statement(load, 0, 0, 0),
        statement(equal, call, 0, 3),
        // The low half of the fifth argument, on little-endian machines.
        statement(load, 16 + 4 * 8, 0, 0),
        statement(equal, 0, 1, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    install(command, filter.to_vec());
}

/// The command sees a disk that fails whenever it is waited for.
pub fn without_flushing(command: &mut Command) {
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EIO as u32;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(equal, number(libc::SYS_fsync), 1, 0),
        statement(equal, number(libc::SYS_syncfs), 0, 1),
        statement(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    install(command, filter.to_vec());
}

fn install(command: &mut Command, filter: Vec<libc::sock_filter>) {
    // SAFETY: between fork and exec it makes two system calls; the filter lives until then.
    unsafe {
        command.pre_exec(move || {
            let len = u16::try_from(filter.len()).unwrap_or_default();
            let program = libc::sock_fprog { len, filter: filter.as_ptr().cast_mut() };
            let done = libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0;
            if done { Ok(()) } else { Err(io::Error::last_os_error()) }
        });
    }
}
