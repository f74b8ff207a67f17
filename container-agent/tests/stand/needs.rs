//! What a machine must have for a probe to work even outside.

use std::path::Path;
use std::process::Command;

/// Whether this machine has it, by other means than the probe's own.
pub fn is_met(need: &str, options: &str) -> bool {
    match need {
        path if path.starts_with('/') => Path::new(path).exists(),
        option if option.starts_with("CONFIG_") => {
            options.lines().any(|line| line == format!("{option}=y") || line == format!("{option}=m"))
        }
        capability if capability.starts_with("CAP_") => has_capability(capability),
        "a default route" => {
            let routes = std::fs::read_to_string("/proc/self/net/route").unwrap();
            routes.lines().any(|line| line.split_whitespace().nth(1) == Some("00000000"))
        }
        "cgroup v1" => std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup "),
        other => panic!("this test cannot tell whether the machine has `{other}`"),
    }
}

fn has_capability(name: &str) -> bool {
    const NUMBERS: [(&str, u32); 7] = [
        ("CAP_CHOWN", 0),
        ("CAP_SETPCAP", 8),
        ("CAP_SYS_CHROOT", 18),
        ("CAP_SYS_ADMIN", 21),
        ("CAP_SYS_NICE", 23),
        ("CAP_SYS_RESOURCE", 24),
        ("CAP_MKNOD", 27),
    ];
    let (_, number) = NUMBERS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(held, 16).unwrap() >> number & 1 == 1
}

pub fn kernel_options() -> String {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if let Ok(text) = std::fs::read_to_string(format!("/boot/config-{release}")) {
        return text;
    }
    let output = Command::new("gzip").args(["-dc", "/proc/config.gz"]).output().unwrap();
    assert!(output.status.success(), "the kernel's configuration is neither in /boot nor in /proc");
    String::from_utf8(output.stdout).unwrap()
}
