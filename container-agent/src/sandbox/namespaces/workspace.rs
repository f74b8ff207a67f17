//! What a sandbox may write, and the workspace in it: the helper's half of `attach`.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use shared_contracts::executions::Limits;

use super::message::{Blueprint, Work};
use super::root::step;
use super::sys;
use crate::sandbox::{PlacedFile, SECRETS};

/// More files than this in a sandbox fill kernel memory before they fill the disk limit.
const INODES_PER_MB: u64 = 512;
const INODES_MIN: u64 = 16 * 1024;
/// All secrets of an execution are far smaller.
const SECRETS_OPTIONS: &str = "mode=0755,size=1m,nr_inodes=1024";

/// The workspace, mounted nowhere yet, and its directories for after the end.
pub struct Workspace {
    pub mount: OwnedFd,
    pub upper: OwnedFd,
    pub merged: OwnedFd,
}

/// Everything writable, below `disk` and `secrets` in the working directory. Its size is what most have, until the work says
/// another.
pub fn build_disk(blueprint: &Blueprint) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    if blueprint.disk_in_memory {
        let options = format!("mode=0700,{}", disk_size(&Limits::default()));
        sys::mount("patchbay", Path::new("disk"), "tmpfs", flags, &options)?;
    }
    for (name, mode) in [("upper", 0o755), ("work", 0o700), ("tmp", 0o1777), ("home", 0o700), ("shm", 0o1777)]
    {
        let path = Path::new("disk").join(name);
        fs::create_dir(&path)?;
        own(&path, blueprint.outer_id, mode)?;
    }
    sys::mount("patchbay", Path::new("secrets"), "tmpfs", flags | libc::MS_NOEXEC, SECRETS_OPTIONS)
}

/// As an option of tmpfs.
fn disk_size(limits: &Limits) -> String {
    let size_mb = u64::from(limits.disk_mb);
    format!("size={size_mb}m,nr_inodes={}", (size_mb * INODES_PER_MB).max(INODES_MIN))
}

fn own(path: &Path, id: u32, mode: u32) -> io::Result<()> {
    chown(path, Some(id), Some(id))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Sizes the disk and puts the files there.
pub fn fill_disk(blueprint: &Blueprint, work: &Work) -> io::Result<()> {
    if blueprint.disk_in_memory && work.limits.disk_mb != Limits::default().disk_mb {
        let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV;
        let size = disk_size(&work.limits);
        step("size the disk", sys::mount("none", Path::new("disk"), "", flags, &size))?;
    }
    for file in &work.files {
        step(file.path.display(), place(file, blueprint.outer_id))?;
    }
    Ok(())
}

/// Lays the overlay over the shared tree.
pub fn attach(blueprint: &Blueprint, work: &Work, id_map: Option<&IdMap<'_>>) -> io::Result<Workspace> {
    let mount = step("workspace", overlay(blueprint, work, id_map))?;
    let merged =
        rustix::fs::openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(Workspace { mount, upper: open_directory(Path::new("disk/upper"))?, merged })
}

fn place(file: &PlacedFile, id: u32) -> io::Result<()> {
    let (path, mode) = match (file.path.strip_prefix(SECRETS), file.path.strip_prefix("/tmp")) {
        (Ok(name), _) => (Path::new("secrets").join(name), 0o400),
        (_, Ok(name)) => (Path::new("disk/tmp").join(name), 0o644),
        _ => return Err(io::Error::other(format!("a file can be placed in /tmp or {SECRETS} only"))),
    };
    fs::write(&path, &file.text)?;
    own(&path, id, mode)
}

pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Root shows the shared tree as the payload's own through an id-mapped mount. To a user it is its own anyway.
fn overlay(blueprint: &Blueprint, work: &Work, id_map: Option<&IdMap<'_>>) -> io::Result<OwnedFd> {
    let tree = sys::open_tree(&work.workspace, false)?;
    let id = blueprint.outer_id;
    let read_only = sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV;
    let owner = fs::metadata(&work.workspace)?.uid();
    if blueprint.privileged {
        let made;
        let namespace = match id_map.filter(|id_map| id_map.from == owner) {
            Some(id_map) => id_map.namespace,
            None => {
                made = step("user namespaces", IdMap::make(owner, id))?;
                made.as_fd()
            }
        };
        step(
            "id-map the workspace (its file system must support it: ext4, xfs, btrfs; tmpfs from Linux 6.3 on)",
            sys::mount_setattr(tree.as_fd(), false, read_only, Some(namespace)),
        )?;
    } else {
        if owner != id {
            return Err(io::Error::other(format!(
                "foreign owner: {} belongs to another user, whose files a sandbox of this user could not change; \
                 change their owner, or run the agent as root",
                work.workspace.display()
            )));
        }
        step("attributes", keeps_attributes(Path::new("disk/upper")))?;
        sys::mount_setattr(tree.as_fd(), false, read_only, None)?;
    }
    sys::move_mount(tree.as_fd(), Path::new("lower"))?;
    let mut options = vec![
        ("lowerdir", "lower"),
        ("upperdir", "disk/upper"),
        ("workdir", "disk/work"),
        ("metacopy", "off"),
    ];
    options.extend([("index", "off"), ("xino", "off")]);
    // In a user namespace the kernel keeps its notes in attributes of the user's, and follows no redirects.
    let flags: &[&str] = if blueprint.privileged { &[] } else { &["userxattr"] };
    if blueprint.privileged {
        options.push(("redirect_dir", "on"));
    }
    step("overlay", sys::overlay(&options, flags))
}

/// A user's overlay notes in attributes which of its directories replace one below; where it cannot, the kernel answers
/// every removal of such a directory with an I/O error.
fn keeps_attributes(upper: &Path) -> io::Result<()> {
    const PROBE: &str = "user.patchbay";
    match rustix::fs::setxattr(upper, PROBE, b"", rustix::fs::XattrFlags::empty()) {
        Ok(()) => Ok(rustix::fs::removexattr(upper, PROBE)?),
        Err(rustix::io::Errno::OPNOTSUPP) => Err(io::Error::other(
            "a user's workspace needs them, and this kernel's memory keeps none (Linux 6.6 does); set workspace_disk = \
             \"directory\" with the state directory on ext4, xfs or btrfs, or run the agent as root",
        )),
        Err(error) => Err(error.into()),
    }
}

/// From the uid and gid `from` to an execution's.
pub struct IdMap<'a> {
    pub from: u32,
    pub namespace: BorrowedFd<'a>,
}

impl IdMap<'_> {
    /// A user namespace that maps the uid and gid `from` to `to`, kept alive by its descriptor alone.
    pub fn make(from: u32, to: u32) -> io::Result<OwnedFd> {
        let (hold, release) = io::pipe()?;
        let pid = sys::fork_into(libc::CLONE_NEWUSER, None)?;
        if pid == 0 {
            drop(release);
            let _ = { hold }.read(&mut [0]);
            sys::exit_now(0);
        }
        drop(hold);
        let namespace = write_id_maps(&pid.to_string(), &format!("{from} {to} 1"))
            .and_then(|()| open_namespace(&PathBuf::from(format!("/proc/{pid}/ns/user"))));
        drop(release);
        let _ = rustix::process::Pid::from_raw(pid)
            .map(|pid| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
        namespace
    }
}

fn open_namespace(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// `process`: a pid, or `self`.
pub fn write_id_maps(process: &str, map: &str) -> io::Result<()> {
    for file in ["gid_map", "uid_map"] {
        step(file, fs::OpenOptions::new().write(true).open(format!("/proc/{process}/{file}")))?
            .write_all(map.as_bytes())?;
    }
    Ok(())
}
