//! System calls that hold most of the kernel's past holes, or that are for whoever runs the machine. Each is made so
//! that nothing comes of it: with names of nothing, wrong magic numbers, or what is set already.

use crate::call::{address, call, int, open_call, open_path, text};
use crate::probe::{Probe, Verdict, probe};

const NOWHERE: &std::ffi::CStr = c"/patchbay-probe/nothing";
/// Ways to say that there is nothing of that name, after the kernel has agreed.
const NOTHING: [i32; 4] = [libc::ENOENT, libc::ENOTBLK, libc::EBADF, libc::ESRCH];

pub const PROBES: &[Probe] = &[
    probe("bpf-map", "programs of the payload's run in the kernel", &["CONFIG_BPF_SYSCALL"], |_| {
        // BPF_MAP_CREATE of an array with one entry: kind, key's size, value's size, entries.
        let map: [u32; 32] = std::array::from_fn(|at| [2, 4, 4, 1].get(at).copied().unwrap_or_default());
        open_call(libc::SYS_bpf, &[0, address(&map), size_of_val(&map)]).into()
    }),
    probe("bpf-program", "programs of the payload's run in the kernel", &["CONFIG_BPF_SYSCALL"], |_| {
        // BPF_PROG_LOAD of no program at all: refused for that only after the right was looked at.
        let program = [0_u64; 16];
        let loaded = open_call(libc::SYS_bpf, &[5, address(&program), size_of_val(&program)]);
        Verdict::past(loaded, &[libc::EINVAL, libc::E2BIG, libc::EFAULT])
    }),
    probe(
        "perf-events",
        "others' work can be measured, and secrets guessed",
        &["CONFIG_PERF_EVENTS"],
        |_| {
            // PERF_TYPE_SOFTWARE in the lower half, the oldest size in the upper one; the CPU's clock.
            let event: [u64; 16] = std::array::from_fn(|at| if at == 0 { 1 | (64 << 32) } else { 0 });
            let whole_machine = [address(&event), int(-1), 0, int(-1), 0];
            let itself = [address(&event), 0, int(-1), int(-1), 0];
            Verdict::any(
                [whole_machine, itself].map(|event| open_call(libc::SYS_perf_event_open, &event).into()),
            )
        },
    ),
    probe(
        "userfaultfd",
        "the kernel can be held up in the middle of a copy",
        &["CONFIG_USERFAULTFD"],
        |_| open_call(libc::SYS_userfaultfd, &[int(libc::O_CLOEXEC)]).into(),
    ),
    probe("userfaultfd-user-only", "the same, for the process's own faults", &["CONFIG_USERFAULTFD"], |_| {
        open_call(libc::SYS_userfaultfd, &[int(libc::O_CLOEXEC | 1)]).into()
    }),
    probe("io-uring", "calls that no filter sees", &["CONFIG_IO_URING"], |_| {
        let parameters = [0_u64; 15];
        open_call(libc::SYS_io_uring_setup, &[1, address(&parameters)]).into()
    }),
    probe("io-uring-register", "calls that no filter sees", &["CONFIG_IO_URING"], |_| {
        Verdict::past(call(libc::SYS_io_uring_register, &[int(-1), 0, 0, 0]), &[libc::EBADF, libc::EINVAL])
    }),
    probe("key-add", "keys of the kernel, which are not in any namespace", &["CONFIG_KEYS"], |_| {
        // KEY_SPEC_PROCESS_KEYRING: gone with this process.
        let key = [text(c"user"), text(c"patchbay-probe"), text(c"x"), 1, int(-2)];
        call(libc::SYS_add_key, &key).into()
    }),
    probe("key-request", "keys of others can be asked for", &["CONFIG_KEYS"], |_| {
        let key = [text(c"user"), text(c"patchbay-probe-nothing"), 0, 0];
        Verdict::past(call(libc::SYS_request_key, &key), &[libc::ENOKEY])
    }),
    probe("keyctl", "the session's keys can be reached", &["CONFIG_KEYS"], |_| {
        // KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING, not made if missing.
        Verdict::past(call(libc::SYS_keyctl, &[0, int(-3), 0]), &[libc::ENOKEY])
    }),
    probe("module-load", "code of the payload's in the kernel", &["CONFIG_MODULES"], |_| {
        Verdict::past(call(libc::SYS_init_module, &[0, 0, text(c"")]), &[libc::ENOEXEC, libc::EFAULT])
    }),
    probe("module-load-file", "code of the payload's in the kernel", &["CONFIG_MODULES"], |_| {
        Verdict::past(call(libc::SYS_finit_module, &[int(-1), text(c""), 0]), &[libc::EBADF])
    }),
    probe("module-remove", "parts of the kernel can be removed", &["CONFIG_MODULE_UNLOAD"], |_| {
        let name = [text(c"patchbay_probe_nothing"), int(libc::O_NONBLOCK)];
        Verdict::past(call(libc::SYS_delete_module, &name), &[libc::ENOENT])
    }),
    probe("kexec", "another kernel can be started", &["CONFIG_KEXEC"], |_| {
        Verdict::past(call(libc::SYS_kexec_load, &[0, 0, 0, 0xffff]), &[libc::EINVAL])
    }),
    probe("kexec-file", "another kernel can be started", &["CONFIG_KEXEC_FILE"], |_| {
        let nothing = [int(-1), int(-1), 0, 0, 0xffff];
        Verdict::past(call(libc::SYS_kexec_file_load, &nothing), &[libc::EINVAL, libc::EBADF])
    }),
    probe("reboot", "the machine can be restarted", &[], |_| {
        // Wrong magic numbers: nothing can come of it.
        Verdict::past(call(libc::SYS_reboot, &[0, 0, 0, 0]), &[libc::EINVAL])
    }),
    probe("swap-on", "memory of others can be moved to a file of the payload's", &["CONFIG_SWAP"], |_| {
        Verdict::past(call(libc::SYS_swapon, &[text(NOWHERE), 0]), &NOTHING)
    }),
    probe("swap-off", "the machine's memory can be lessened", &["CONFIG_SWAP"], |_| {
        Verdict::past(call(libc::SYS_swapoff, &[text(NOWHERE)]), &NOTHING)
    }),
    probe("quota", "limits of disks can be set", &["CONFIG_QUOTA"], |_| {
        // Q_GETFMT for users.
        Verdict::past(call(libc::SYS_quotactl, &[0x8000_0400, text(NOWHERE), 0, 0]), &NOTHING)
    }),
    probe("quota-fd", "limits of disks can be set", &["CONFIG_QUOTA"], |_| {
        Verdict::past(call(libc::SYS_quotactl_fd, &[int(-1), 0x8000_0400, 0, 0]), &NOTHING)
    }),
    probe(
        "accounting",
        "the kernel writes down every process, where the payload says",
        &["CONFIG_BSD_PROCESS_ACCT"],
        |_| Verdict::past(call(libc::SYS_acct, &[text(NOWHERE)]), &NOTHING),
    ),
    probe("clock-set", "the machine's clock can be set", &[], |_| {
        // Neither a time nor a zone: only the right to set them is looked at.
        call(libc::SYS_settimeofday, &[0, 0]).into()
    }),
    probe("clock-adjust", "the machine's clock can be made faster or slower", &[], |_| {
        adjusts_clock(|time| call(libc::SYS_adjtimex, &[time]))
    }),
    probe("clock-adjust-by-id", "the machine's clock can be made faster or slower", &[], |_| {
        adjusts_clock(|time| call(libc::SYS_clock_adjtime, &[int(libc::CLOCK_REALTIME), time]))
    }),
    probe("kernel-log", "the kernel's messages can be read", &[], |_| {
        // SYSLOG_ACTION_SIZE_BUFFER.
        call(libc::SYS_syslog, &[10, 0, 0]).into()
    }),
    probe("fanotify", "every access to files can be watched", &["CONFIG_FANOTIFY"], |_| {
        open_call(libc::SYS_fanotify_init, &[0, int(libc::O_RDONLY)]).into()
    }),
    probe("secret-memory", "memory that the agent's limits cannot move", &["CONFIG_SECRETMEM"], |_| {
        open_call(libc::SYS_memfd_secret, &[0]).into()
    }),
    probe("personality", "addresses can be made the same each time", &[], |_| {
        // ADDR_NO_RANDOMIZE.
        call(libc::SYS_personality, &[0x0004_0000]).into()
    }),
    probe("hang-up", "a terminal can be taken from others", &[], |_| call(libc::SYS_vhangup, &[]).into()),
    probe("handle-make", "files can be named apart from any path", &[], |_| {
        handle_of_system().map(|_| ()).into()
    }),
    probe("handle-open", "any file of the host's disk can be opened by number (shocker)", &[], |_| {
        // The root directory of most file systems, where asking for a handle is refused.
        let guess =
            Handle { length: 8, kind: 1, bytes: std::array::from_fn(|at| if at == 0 { 2 } else { 0 }) };
        Verdict::any([handle_of_system().unwrap_or(guess), guess].map(|handle| {
            let opened = open_path(c"/usr", libc::O_RDONLY).and_then(|mount| {
                let at = int(std::os::fd::AsRawFd::as_raw_fd(&mount));
                open_call(libc::SYS_open_by_handle_at, &[at, address(&handle), int(libc::O_RDONLY)])
            });
            Verdict::past(opened, &[libc::ESTALE])
        }))
    }),
    probe("move-pages-init", "the first process's memory can be moved", &["CONFIG_NUMA"], |_| {
        let (page, status) = ([0_usize; 1], [0_i32; 1]);
        call(libc::SYS_move_pages, &[1, 1, address(&page), 0, address(&status), 0]).into()
    }),
    #[cfg(target_arch = "x86_64")]
    probe("io-privilege", "the machine's devices can be driven", &["CONFIG_X86_IOPL_IOPERM"], |_| {
        call(libc::SYS_iopl, &[3]).into()
    }),
    #[cfg(target_arch = "x86_64")]
    probe("io-ports", "the machine's devices can be driven", &["CONFIG_X86_IOPL_IOPERM"], |_| {
        call(libc::SYS_ioperm, &[0x80, 1, 1]).into()
    }),
    #[cfg(target_arch = "x86_64")]
    probe(
        "segments",
        "descriptor tables, which have broken kernels before",
        &["CONFIG_MODIFY_LDT_SYSCALL"],
        |_| {
            let table = [0_u64; 4];
            call(libc::SYS_modify_ldt, &[0, address(&table), size_of_val(&table)]).into()
        },
    ),
    #[cfg(target_arch = "x86_64")]
    probe("abi-x32", "calls by other numbers, which a filter may miss", &["CONFIG_X86_X32_ABI"], |_| {
        call(libc::SYS_getpid | 0x4000_0000, &[]).into()
    }),
    #[cfg(target_arch = "x86_64")]
    probe(
        "abi-32-bit",
        "calls by other numbers, which a filter may miss",
        &["CONFIG_IA32_EMULATION"],
        |_| {
            let mut result: u32 = 20; // getpid
            // SAFETY: the 32-bit entry takes no pointer here, and leaves all but these registers alone.
            unsafe {
                std::arch::asm!("int 0x80", inout("eax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
            }
            Verdict::open_if(result == std::process::id(), format!("it answered {result}"))
        },
    ),
];

/// Sets the tick to what it is.
fn adjusts_clock(adjust: impl Fn(usize) -> std::io::Result<libc::c_long>) -> Verdict {
    // SAFETY: an all-zero timex is a valid one: it holds integers only.
    let mut time: libc::timex = unsafe { std::mem::zeroed() };
    let at = std::ptr::from_mut(&mut time) as usize;
    let read = adjust(at);
    time.modes = libc::ADJ_TICK;
    read.and_then(|_| adjust(std::ptr::from_mut(&mut time) as usize)).into()
}

/// `struct file_handle` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; 128],
}

fn handle_of_system() -> std::io::Result<Handle> {
    let mut handle = Handle { length: 128, kind: 0, bytes: [0; 128] };
    let mut mount = 0_i32;
    let (room, mount) = (std::ptr::from_mut(&mut handle) as usize, std::ptr::from_mut(&mut mount) as usize);
    call(libc::SYS_name_to_handle_at, &[int(libc::AT_FDCWD), text(c"/usr"), room, mount, 0])?;
    Ok(handle)
}
