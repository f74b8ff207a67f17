//! The file system that the payload sees, built by the helper in its own mount namespace: nothing of it is visible
//! on the host, and all of it vanishes with the namespace.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::message::HelperConfig;
use super::{INNER_ID, sys};
use crate::tools;

/// Top directories of the system. A link is copied as a link, a directory is bound.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Directories of `/etc` without secrets that programs need.
const ETC_DIRECTORIES: [&str; 6] =
    ["alternatives", "ca-certificates", "ssl/certs", "pki/tls/certs", "pki/ca-trust", "ld.so.conf.d"];
const ETC_FILES: [&str; 9] = [
    "ld.so.cache",
    "ld.so.conf",
    "ssl/openssl.cnf",
    "protocols",
    "services",
    "mime.types",
    "localtime",
    "debian_version",
    "os-release",
];
const THIS_PROGRAM: &str = "/proc/self/exe";
const READ_ONLY: u64 = sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV;
const WRITABLE: u64 = sys::ATTR_NOSUID | sys::ATTR_NODEV;
/// More files than this in a sandbox fill kernel memory before they fill the disk limit.
const INODES_PER_MB: u64 = 512;

/// What is read after the end.
pub struct Built {
    pub upper: OwnedFd,
    pub merged: OwnedFd,
}

/// `what` goes before the kernel's error, so that a refusal says which step failed.
fn step<T>(what: impl std::fmt::Display, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
}

/// Leaves the working directory at the new root. The payload's user could not look its path up: any directory above
/// may be closed to others.
pub fn build(config: &HelperConfig) -> io::Result<Built> {
    // What is made here is for the payload to read, whatever the agent's own mask.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // While it is of this mount namespace.
    let program = step("the tools' program", sys::open_tree(Path::new(THIS_PROGRAM), false))?;
    // 1. A mount namespace of its own, from which nothing reaches the host's.
    step("own mount namespace", sys::unshare(libc::CLONE_NEWNS))?;
    let everything = libc::MS_REC | libc::MS_PRIVATE;
    step("make mounts private", sys::mount("none", Path::new("/"), "", everything, ""))?;
    // Short relative paths: overlayfs splits its options at commas and colons.
    step("enter the sandbox's directory", std::env::set_current_dir(&config.directory))?;
    // 2. What may be written, all of it below one size limit.
    step("writable disk", build_disk(config))?;
    // 3. The workspace.
    step("workspace", build_workspace(config))?;
    // 4. The system.
    let root = config.directory.join("root");
    // Hardly anything is in it, unless this program must be copied.
    let options = "mode=0755,size=512m,nr_inodes=4096";
    step("root", sys::mount("patchbay", &root, "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, options))?;
    for name in SYSTEM {
        step(format!("/{name}"), bind_system(&root, name))?;
    }
    for toolchain in &config.toolchains {
        let path = &toolchain.path;
        let inside = root.join(path.strip_prefix("/").map_err(io::Error::other)?);
        step(format!("toolchain {}", path.display()), bind_toolchain(path, &inside))?;
    }
    step("the tools", build_tools(&root, &program))?;
    step("/etc", build_etc(&root))?;
    step("/dev", super::devices::build(&root, Path::new("disk/shm")))?;
    for (source, name, mode) in [("disk/tmp", "tmp", 0o755), ("disk/home", "home/agent", 0o755)] {
        let target = root.join(name);
        fs::create_dir_all(&target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        step(format!("/{name}"), bind(Path::new(source), &target, false, WRITABLE))?;
    }
    for name in ["proc", "workspace", "run", "var", "root"] {
        match fs::create_dir(root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => step(format!("/{name}"), other)?,
        }
    }
    symlink("/tmp", root.join("var/tmp"))?;
    step("/workspace", bind(Path::new("merged"), &root.join("workspace"), false, WRITABLE))?;
    // 5. Descriptors for after the end, then nothing in the root itself can be written any more.
    let upper = open_directory(Path::new("disk/upper"))?;
    let merged = open_directory(Path::new("merged"))?;
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    step("make the root read-only", sys::mount("none", &root, "", flags, ""))?;
    step("enter the root", std::env::set_current_dir(&root))?;
    Ok(Built { upper, merged })
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Binds `source` at `target` with these attributes.
pub fn bind(source: &Path, target: &Path, recursive: bool, attributes: u64) -> io::Result<()> {
    let tree = sys::open_tree(source, recursive)?;
    sys::mount_setattr(tree.as_fd(), recursive, attributes, None)?;
    sys::move_mount(tree.as_fd(), target)
}

fn build_disk(config: &HelperConfig) -> io::Result<()> {
    if config.disk_in_memory {
        let size_mb = u64::from(config.limits.disk_mb);
        let inodes = (size_mb * INODES_PER_MB).max(16 * 1024);
        let options = format!("mode=0700,size={size_mb}m,nr_inodes={inodes}");
        sys::mount("patchbay", Path::new("disk"), "tmpfs", libc::MS_NOSUID | libc::MS_NODEV, &options)?;
    }
    for (name, mode) in [("upper", 0o755), ("work", 0o700), ("tmp", 0o1777), ("home", 0o700), ("shm", 0o1777)]
    {
        let path = Path::new("disk").join(name);
        fs::create_dir(&path)?;
        chown(&path, Some(config.outer_id), Some(config.outer_id))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    if let Some(prompt) = &config.prompt {
        let path = Path::new("disk/tmp/prompt.txt");
        fs::write(path, prompt)?;
        chown(path, Some(config.outer_id), Some(config.outer_id))?;
    }
    Ok(())
}

/// The shared tree, shown as the payload's own through an id-mapped mount, below an overlay.
fn build_workspace(config: &HelperConfig) -> io::Result<()> {
    let owner = fs::metadata(&config.lower)?;
    let namespace = mapping_namespace(std::os::unix::fs::MetadataExt::uid(&owner), config.outer_id);
    let namespace = step("user namespaces", namespace)?;
    let tree = sys::open_tree(&config.lower, false)?;
    step(
        "id-map the workspace (its file system must support it: ext4, xfs, btrfs, tmpfs)",
        sys::mount_setattr(tree.as_fd(), false, READ_ONLY, Some(namespace.as_fd())),
    )?;
    sys::move_mount(tree.as_fd(), Path::new("lower"))?;
    let options = "lowerdir=lower,upperdir=disk/upper,workdir=disk/work,redirect_dir=on,metacopy=off,index=off,xino=off";
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    step("overlay", sys::mount("patchbay", Path::new("merged"), "overlay", flags, options))
}

/// A user namespace that maps the uid and gid `from` to `to`, kept alive by its descriptor alone.
fn mapping_namespace(from: u32, to: u32) -> io::Result<OwnedFd> {
    let (hold, release) = io::pipe()?;
    let pid = sys::fork_into(libc::CLONE_NEWUSER)?;
    if pid == 0 {
        drop(release);
        let _ = { hold }.read(&mut [0]);
        sys::exit_now(0);
    }
    drop(hold);
    let namespace = write_id_maps(pid, &format!("{from} {to} 1"))
        .and_then(|()| open_namespace(&PathBuf::from(format!("/proc/{pid}/ns/user"))));
    drop(release);
    let _ = rustix::process::Pid::from_raw(pid)
        .map(|pid| rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
    namespace
}

fn open_namespace(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

pub fn write_id_maps(pid: libc::pid_t, map: &str) -> io::Result<()> {
    for file in ["gid_map", "uid_map"] {
        step(file, fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/{file}")))?
            .write_all(map.as_bytes())?;
    }
    Ok(())
}

fn bind_system(root: &Path, name: &str) -> io::Result<()> {
    let source = Path::new("/").join(name);
    let Ok(metadata) = fs::symlink_metadata(&source) else { return Ok(()) };
    let target = root.join(name);
    if metadata.is_symlink() {
        return symlink(fs::read_link(&source)?, target);
    }
    fs::create_dir(&target)?;
    bind(&source, &target, true, READ_ONLY)
}

fn bind_toolchain(source: &Path, target: &Path) -> io::Result<()> {
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent)?;
    if fs::metadata(source)?.is_dir() {
        fs::create_dir_all(target)?;
    } else {
        fs::write(target, "")?;
    }
    bind(source, target, true, READ_ONLY)
}

/// What the coding agent may call: this program.
fn build_tools(root: &Path, program: &OwnedFd) -> io::Result<()> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let programs = inside(tools::PROGRAMS);
    fs::create_dir_all(&programs)?;
    let target = programs.join(tools::PROGRAM);
    fs::write(&target, "")?;
    sys::mount_setattr(program.as_fd(), false, READ_ONLY, None)?;
    match sys::move_mount(program.as_fd(), &target) {
        // It was replaced since the agent started, as by an upgrade, and what has no name cannot be bound.
        Err(error) if error.kind() == io::ErrorKind::NotFound => drop(fs::copy(THIS_PROGRAM, &target)?),
        bound => bound?,
    }
    symlink(tools::PROGRAM, programs.join(tools::APPLY_PATCH))?;
    let (name, text) = tools::MCP_CONFIG;
    fs::write(inside(tools::FOLDER).join(name), text)
}

fn build_etc(root: &Path) -> io::Result<()> {
    let etc = root.join("etc");
    fs::create_dir(&etc)?;
    let id = INNER_ID;
    for (name, text) in [
        (".empty", String::new()),
        (
            "passwd",
            format!("agent:x:{id}:{id}:Patchbay:/home/agent:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"),
        ),
        ("group", format!("agent:x:{id}:\nnogroup:x:65534:\n")),
        ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n".to_owned()),
        ("hostname", "sandbox\n".to_owned()),
        ("resolv.conf", "# This sandbox has no network.\n".to_owned()),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
        ("shells", "/bin/sh\n/bin/bash\n".to_owned()),
    ] {
        fs::write(etc.join(name), text)?;
    }
    for name in ETC_FILES {
        if let Ok(bytes) = fs::read(Path::new("/etc").join(name)) {
            let target = etc.join(name);
            fs::create_dir_all(target.parent().unwrap_or(&etc))?;
            fs::write(target, bytes)?;
        }
    }
    for name in ETC_DIRECTORIES {
        let source = Path::new("/etc").join(name);
        if source.is_dir() {
            let target = etc.join(name);
            fs::create_dir_all(&target)?;
            bind(&source, &target, false, READ_ONLY)?;
        }
    }
    Ok(())
}
