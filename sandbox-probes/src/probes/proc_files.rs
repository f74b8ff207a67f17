//! `/proc` and `/sys`: what tells of the whole machine, or changes it. What can be written is opened, never written.

use std::fs;

use super::opens;
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

/// A file that can be written.
macro_rules! writes {
    ($id:literal, $means:literal, $path:literal) => {
        probe($id, $means, &[$path], |_| opens($path, true))
    };
}

/// A file that has something to tell; an empty one in its place does not.
macro_rules! reads {
    ($id:literal, $means:literal, $path:literal) => {
        probe($id, $means, &[$path], |_| match head($path) {
            Ok(text) => Verdict::open_if(!text.is_empty(), format!("{} bytes or more", text.len())),
            Err(error) => Verdict::Closed(error.to_string()),
        })
    };
}

pub const PROBES: &[Probe] = &[
    writes!(
        "write-core-pattern",
        "a crash runs a program of the payload's as root",
        "/proc/sys/kernel/core_pattern"
    ),
    writes!(
        "write-modprobe",
        "the kernel runs a program of the payload's as root",
        "/proc/sys/kernel/modprobe"
    ),
    writes!(
        "write-hostname",
        "settings of the kernel can be written (CVE-2025-52881)",
        "/proc/sys/kernel/hostname"
    ),
    writes!("write-panic", "the machine can be made to crash", "/proc/sys/kernel/panic_on_oops"),
    writes!("write-drop-caches", "the machine can be slowed", "/proc/sys/vm/drop_caches"),
    writes!(
        "write-overcommit",
        "memory of the whole machine is the payload's to set",
        "/proc/sys/vm/overcommit_memory"
    ),
    writes!("write-ip-forward", "the network can be set up", "/proc/sys/net/ipv4/ip_forward"),
    probe(
        "write-user-namespaces",
        "limits of namespaces can be set",
        &["/proc/sys/user/max_user_namespaces", "CAP_SYS_RESOURCE"],
        |_| opens("/proc/sys/user/max_user_namespaces", true),
    ),
    writes!("write-binfmt", "programs of others can be redirected", "/proc/sys/fs/binfmt_misc/register"),
    writes!("write-sysrq", "the machine can be crashed (CVE-2025-52881)", "/proc/sysrq-trigger"),
    writes!("write-irq", "interrupts can be moved", "/proc/irq/default_smp_affinity"),
    writes!("write-mtrr", "caching of physical memory can be set", "/proc/mtrr"),
    writes!("write-acpi", "what wakes the machine can be set", "/proc/acpi/wakeup"),
    writes!("write-uid-map", "users can be mapped", "/proc/self/uid_map"),
    writes!("write-setgroups", "groups can be dropped to pass a denial", "/proc/self/setgroups"),
    writes!(
        "write-attr-exec",
        "labels of security modules can be written (CVE-2025-52881)",
        "/proc/self/attr/exec"
    ),
    writes!(
        "write-attr-current",
        "labels of security modules can be written (CVE-2025-52881)",
        "/proc/self/attr/current"
    ),
    writes!("write-oom-score", "the kernel can be told to spare the payload", "/proc/self/oom_score_adj"),
    reads!("read-kcore", "the kernel's memory can be read", "/proc/kcore"),
    reads!("read-keys", "keys are listed (a masked path, CVE-2025-31133)", "/proc/keys"),
    reads!("read-timer-list", "what runs on the machine shows (a masked path)", "/proc/timer_list"),
    reads!("read-sched-debug", "what runs on the machine shows (a masked path)", "/proc/sched_debug"),
    reads!("read-latency-stats", "what the machine waits for shows (a masked path)", "/proc/latency_stats"),
    reads!("read-interrupts", "keystrokes and packets of others can be timed", "/proc/interrupts"),
    reads!("read-config", "the kernel's build, for choosing an attack", "/proc/config.gz"),
    // Reading would take the lines from whoever waits for them.
    probe("open-kernel-messages", "the kernel's log", &["/proc/kmsg"], |_| opens("/proc/kmsg", false)),
    reads!("read-vmallocinfo", "where the kernel's memory is", "/proc/vmallocinfo"),
    reads!("read-slabinfo", "what the kernel keeps, for attacks on its memory", "/proc/slabinfo"),
    reads!("read-pagemap-flags", "what each page of the machine is for", "/proc/kpageflags"),
    probe("read-kallsyms", "where the kernel's functions are", &["/proc/kallsyms"], |_| {
        addresses("/proc/kallsyms", |line| line.split(' ').next().map(str::to_owned))
    }),
    probe("read-iomem", "where the kernel is in physical memory", &["/proc/iomem"], |_| {
        addresses("/proc/iomem", |line| line.trim().split('-').next().map(str::to_owned))
    }),
    probe("read-own-pagemap", "where its own memory is physically", &["/proc/self/pagemap"], |_| {
        let page = Box::new([1_u8; 8_192]);
        let offset = (crate::call::address(&*page) / 4_096 * 8) as u64;
        let mut entry = [0; 8];
        let read = fs::File::open("/proc/self/pagemap")
            .and_then(|file| std::os::unix::fs::FileExt::read_exact_at(&file, &mut entry, offset));
        let frame = u64::from_le_bytes(entry) & ((1 << 55) - 1);
        Verdict::open_if(read.is_ok() && frame != 0, format!("page frame {frame}"))
    }),
    probe("sys-visible", "the machine's devices and settings are in sight", &["/sys/kernel"], |_| {
        fs::read_dir("/sys/kernel").into()
    }),
    writes!(
        "write-uevent-helper",
        "the kernel runs a program of the payload's as root",
        "/sys/kernel/uevent_helper"
    ),
    writes!(
        "write-huge-pages",
        "settings of the kernel can be written",
        "/sys/kernel/mm/transparent_hugepage/enabled"
    ),
    writes!("write-module-parameter", "the kernel's parts can be set", "/sys/module/printk/parameters/time"),
];

/// Whether it tells addresses: to most readers they are zero.
fn addresses(path: &str, of: impl Fn(&str) -> Option<String>) -> Verdict {
    let text = head(path).unwrap_or_default();
    let numbers = text.lines().filter_map(of).filter_map(|word| u64::from_str_radix(&word, 16).ok());
    let told = numbers.filter(|number| *number != 0).count();
    Verdict::open_if(told > 10, format!("{told} addresses"))
}
