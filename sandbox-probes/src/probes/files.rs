//! Files of the host: left open, beside the root, shared, or shown read-only.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Scratch, in_scratch, may_write, opens};
use crate::call::{address, c_path, call, int, open_path, text};
use crate::outside::Outside;
use crate::probe::{Probe, Verdict, probe};
use crate::runner::head;

pub const PROBES: &[Probe] = &[
    probe("fd-inherited", "a descriptor of the agent stayed open", &[], |outside| {
        Verdict::open_if(!outside.inherited.is_empty(), format!("{:?}", outside.inherited))
    }),
    probe("fd-outside-root", "a descriptor leads out of the root (CVE-2024-21626)", &[], |outside| {
        Verdict::any([0, 1, 2].iter().chain(&outside.inherited).map(|fd| climbs_out(*fd)))
    }),
    probe("cwd-outside-root", "the working directory is out of the root (CVE-2024-21626)", &[], |_| {
        let cwd = open_path(c".", libc::O_PATH);
        cwd.map_or_else(|error| Verdict::Closed(error.to_string()), |cwd| climbs_out(cwd.as_raw_fd()))
    }),
    probe("cwd-unreachable", "the kernel says that the working directory is out of the root", &[], |_| {
        let link = fs::read_link("/proc/self/cwd").unwrap_or_default();
        let mut bytes = [0_u8; 4_096];
        let _ = call(libc::SYS_getcwd, &[bytes.as_mut_ptr() as usize, bytes.len()]);
        Verdict::open_if(bytes.starts_with(b"(unreachable)"), link.display().to_string())
    }),
    probe("host-file-in-tmp", "/tmp is the host's", &[], |outside| opens(outside.temporary_file(), false)),
    probe("host-file-in-shm", "/dev/shm is the host's", &[], |outside| {
        opens(outside.shared_memory_file(), true)
    }),
    probe("other-executions", "the directories of running executions are in sight", &[], |outside| {
        let found = fs::read_dir(&outside.state).is_ok_and(|mut entries| entries.any(|_| true));
        Verdict::open_if(found, outside.state.display().to_string())
    }),
    probe("shadow", "the host's password hashes can be read", &["/etc/shadow"], |_| {
        opens("/etc/shadow", false)
    }),
    probe("root-home", "the home of root is in sight", &["/root/.profile"], |_| {
        opens("/root/.profile", false)
    }),
    probe("host-logs", "the host's logs are in sight", &["/var/log"], |_| fs::read_dir("/var/log").into()),
    probe("machine-id", "the host can be told from others", &["/etc/machine-id"], |_| {
        opens("/etc/machine-id", false)
    }),
    probe("write-agent", "the agent's program can be changed (CVE-2019-5736)", &[], |outside| {
        Verdict::any([may_write(&outside.agent), may_write(Path::new("/run/patchbay/bin/patchbay-agent"))])
    }),
    probe("write-bound-program", "a program of a read-only directory can be changed", &[], |outside| {
        may_write(&outside.setuid_program())
    }),
    probe("write-bound-file", "a read-only directory can be written", &[], |outside| {
        opens(outside.bound_file(), true)
    }),
    probe("chmod-bound-file", "modes of a read-only directory can be changed", &[], |outside| {
        fs::set_permissions(outside.bound_file(), fs::Permissions::from_mode(0o666)).into()
    }),
    probe("link-bound-file", "a hard link into a read-only directory", &[], |outside| {
        let link = outside.directory.join("link");
        let made = fs::hard_link(outside.bound_file(), &link);
        let _ = fs::remove_file(link);
        made.into()
    }),
    probe("link-system-program", "a hard link takes a program out of /usr", &[], |_| {
        in_scratch(|scratch| Ok(fs::hard_link("/usr/bin/env", scratch.0.join("env")).into()))
    }),
    probe("write-usr", "the host's programs can be added to", &[], |_| creates("/usr/local")),
    probe("write-etc", "the host's configuration can be added to", &[], |_| creates("/etc")),
    probe("write-root", "the root can be written", &[], |_| creates("/")),
    probe("write-dev", "/dev can be written, and its nodes replaced (CVE-2025-31133)", &[], |_| {
        creates("/dev")
    }),
    probe("write-passwd", "users can be added", &["/etc/passwd"], |_| may_write(Path::new("/etc/passwd"))),
    probe("xattr-trusted", "attributes that overlayfs trusts can be set", &[], |_| {
        sets_attribute(c"trusted.overlay.opaque")
    }),
    probe("xattr-trusted-workspace", "the same, where the overlay is", &[], |_| {
        let workspace = Path::new("/workspace");
        let Ok(scratch) = Scratch::new() else { return Verdict::closed("no scratch directory") };
        let directory = if workspace.is_dir() { workspace } else { &scratch.0 };
        sets_attribute_on(
            &directory.join(format!(".probe-{}", std::process::id())),
            c"trusted.overlay.redirect",
        )
    }),
    probe("xattr-capability", "a program can be given capabilities", &[], |_| {
        in_scratch(|scratch| {
            let path = c_path(&scratch.file()?);
            // VFS_CAP_REVISION_2: CAP_NET_RAW, permitted and effective.
            let value: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
            let (name, length) = (text(c"security.capability"), size_of_val(&value));
            Ok(call(libc::SYS_setxattr, &[text(&path), name, address(&value), length, 0]).into())
        })
    }),
];

/// The id of the mount that a path is on: the same file through another mount has another one.
fn mount_of(path: &Path) -> io::Result<u64> {
    // SAFETY: an all-zero statx is a valid one: it holds integers only.
    let mut facts: libc::statx = unsafe { std::mem::zeroed() };
    let mask = libc::STATX_MNT_ID as usize;
    let room = std::ptr::from_mut(&mut facts) as usize;
    call(libc::SYS_statx, &[int(libc::AT_FDCWD), text(&c_path(path)), 0, mask, room])?;
    Ok(facts.stx_mnt_id)
}

/// Follows `..` to its end: is it the root?
fn climbs_out(fd: RawFd) -> Verdict {
    let mut path = PathBuf::from(format!("/proc/self/fd/{fd}"));
    if !path.is_dir() {
        return Verdict::closed(format!("{fd} is no directory"));
    }
    path.extend(std::iter::repeat_n("..", 64));
    match (mount_of(&path), mount_of(Path::new("/"))) {
        (Ok(top), Ok(root)) => Verdict::open_if(top != root, format!("mount {top}, the root is {root}")),
        (Err(error), _) | (_, Err(error)) => Verdict::Closed(error.to_string()),
    }
}

fn creates(directory: &str) -> Verdict {
    let path = Path::new(directory).join(format!("patchbay-probe-{}", std::process::id()));
    let made = fs::write(&path, "");
    let _ = fs::remove_file(&path);
    made.into()
}

fn sets_attribute(name: &std::ffi::CStr) -> Verdict {
    in_scratch(|scratch| Ok(sets_attribute_on(&scratch.0.join("file"), name)))
}

fn sets_attribute_on(file: &Path, name: &std::ffi::CStr) -> Verdict {
    let set = fs::write(file, "")
        .and_then(|()| call(libc::SYS_setxattr, &[text(&c_path(file)), text(name), text(c"y"), 1, 0]));
    let _ = fs::remove_file(file);
    set.into()
}

/// Whether a file outside tells the secret.
pub fn tells(path: impl AsRef<Path>, outside: &Outside) -> bool {
    head(path).is_ok_and(|text| text.contains(&outside.secret()))
}
