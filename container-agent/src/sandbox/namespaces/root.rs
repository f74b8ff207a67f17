//! The file system that the payload sees, built by the template in its own mount namespace: nothing of it is visible on the
//! host, and all of it vanishes with the namespaces. What one sandbox may write comes from its helper, see
//! [`super::workspace`].
//!
//! ```text
//!   the template's working directory, in memory
//!     root/      what becomes `/` inside
//!     image/     the image, if there is one
//!     disk/  secrets/  lower/      empty: each helper mounts its own there
//! ```

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::message::{Base, Blueprint};
use super::workspace::write_id_maps;
use super::{etc, sys};
use crate::sandbox::{INNER_ID, Toolchain};
use crate::tools;

/// Top directories of the system. A link is copied as a link, a directory is bound.
const SYSTEM: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// What the sandbox makes itself, whatever an image has there.
const OUR_OWN: [&str; 9] = ["etc", "dev", "proc", "sys", "run", "tmp", "home", "workspace", "lost+found"];
const THIS_PROGRAM: &str = "/proc/self/exe";
/// The new root, seen from the working directory.
pub const ROOT: &str = "root";
const MOUNT_POINTS: [&str; 5] = [ROOT, "image", "lower", "disk", "secrets"];
/// Where each thing that one sandbox may write is seen.
const SHOWN: [(&str, &str, u64); 4] = [
    ("disk/tmp", "tmp", WRITABLE),
    ("disk/home", "home/agent", WRITABLE),
    ("disk/shm", "dev/shm", WRITABLE),
    ("secrets", "run/secrets", READ_ONLY | sys::ATTR_NOEXEC),
];
const VAR_TMP: &str = "var/tmp";
pub const READ_ONLY: u64 = sys::ATTR_RDONLY | sys::ATTR_NOSUID | sys::ATTR_NODEV;
pub const WRITABLE: u64 = sys::ATTR_NOSUID | sys::ATTR_NODEV;

/// `what` goes before the kernel's error, so that a refusal says which step failed.
pub fn step<T>(what: impl std::fmt::Display, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{what}: {error}")))
}

/// Namespaces of one's own, in which one may mount: root needs one, a user two.
pub fn enter_own_namespaces(privileged: bool) -> io::Result<()> {
    if privileged {
        sys::leave_groups()?;
        return step("own mount namespace", sys::unshare(libc::CLONE_NEWNS));
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    step("user namespaces", sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS))?;
    // Without it the kernel lets nobody but root map a group.
    fs::write("/proc/self/setgroups", "deny")?;
    let map = |id| format!("{INNER_ID} {id} 1");
    step("map the user", fs::write("/proc/self/gid_map", map(gid)))?;
    step("map the user", fs::write("/proc/self/uid_map", map(uid)))
}

/// What is mounted from here on stays in these namespaces.
pub fn keep_mounts_private() -> io::Result<()> {
    let everything = libc::MS_REC | libc::MS_PRIVATE;
    step("make mounts private", sys::mount("none", Path::new("/"), "", everything, ""))
}

/// Maps the payload's user, of whom the helper is the parent.
pub fn map_payload(blueprint: &Blueprint, pid: libc::pid_t) -> io::Result<()> {
    write_id_maps(&pid.to_string(), &format!("{INNER_ID} {} 1", blueprint.outer_id))
}

/// Leaves the working directory where the new root is `root`.
pub fn build(base: &Base) -> io::Result<()> {
    // What is made here is for the payload to read, whatever the agent's own mask.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // 1. While it is of the agent's mount namespace: what a user's namespace copies is locked together.
    let program = step("the tools' program", fs::File::open(THIS_PROGRAM).map(OwnedFd::from))?;
    let program_mount = sys::open_tree(Path::new(THIS_PROGRAM), false);
    enter_own_namespaces(base.privileged)?;
    keep_mounts_private()?;
    // 2. A place for everything. Short relative paths: overlayfs splits its options at commas and colons.
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    step("memory", sys::mount("patchbay", &base.directory, "tmpfs", flags, "mode=0755,size=1m"))?;
    step("enter the template's directory", std::env::set_current_dir(&base.directory))?;
    for name in MOUNT_POINTS {
        fs::create_dir(name)?;
    }
    // 3. The system.
    let root = Path::new(ROOT);
    // Hardly anything is in it, unless this program must be copied.
    step("root", sys::mount("patchbay", root, "tmpfs", flags, "mode=0755,size=512m,nr_inodes=4096"))?;
    match &base.image {
        None => {
            for name in SYSTEM {
                step(format!("/{name}"), bind_system(Path::new("/"), root, name.as_ref()))?;
            }
        }
        Some(image) => step("the image", build_image(image, root, &base.toolchains))?,
    }
    for toolchain in &base.toolchains {
        let path = &toolchain.path;
        let inside = root.join(path.strip_prefix("/").map_err(io::Error::other)?);
        step(format!("toolchain {}", path.display()), bind_toolchain(path, &inside))?;
    }
    step("the tools", build_tools(root, program_mount, &program))?;
    step("/etc", etc::build(root, base.image.is_some()))?;
    step("/dev", super::devices::build(root))?;
    for (_, name, _) in SHOWN {
        let target = root.join(name);
        fs::create_dir_all(&target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    for name in ["proc", "workspace", "var", "root"] {
        match fs::create_dir(root.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => step(format!("/{name}"), other)?,
        }
    }
    link_var_tmp(root)?;
    // 4. Nothing in the root itself can be written any more.
    let flags = libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    step("make the root read-only", sys::mount("none", root, "", flags, ""))
}

/// What [`build`] looks at: when one of these changes, what it built is out of date.
pub fn made_of(base: &Base) -> Vec<PathBuf> {
    let toolchains = base.toolchains.iter().map(|toolchain| toolchain.path.clone());
    match &base.image {
        None => {
            let system = SYSTEM.iter().map(|name| Path::new("/").join(name));
            system.chain(etc::made_of()).chain(toolchains).collect()
        }
        Some(image) => {
            let users = ["etc/passwd", "etc/group"].map(|name| image.join(name));
            [image.clone(), image.join("etc")].into_iter().chain(users).chain(toolchains).collect()
        }
    }
}

/// The helper's half: what this sandbox may write is seen in the root.
pub fn show_disk() -> io::Result<()> {
    let root = Path::new(ROOT);
    for (source, name, attributes) in SHOWN {
        step(format!("/{name}"), bind(Path::new(source), &root.join(name), false, attributes))?;
    }
    let var_tmp = root.join(VAR_TMP);
    match is_directory(&root.join("var")) && is_directory(&var_tmp) {
        // An image's own.
        true => bind(Path::new("disk/tmp"), &var_tmp, false, WRITABLE),
        false => Ok(()),
    }
}

/// And no link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Binds `source` at `target` with these attributes.
pub fn bind(source: &Path, target: &Path, recursive: bool, attributes: u64) -> io::Result<()> {
    let tree = sys::open_tree(source, recursive)?;
    sys::mount_setattr(tree.as_fd(), recursive, attributes, None)?;
    sys::move_mount(tree.as_fd(), target)
}

/// One name of the top of `from`, as it is there.
fn bind_system(from: &Path, root: &Path, name: &OsStr) -> io::Result<()> {
    let source = from.join(name);
    let Ok(metadata) = fs::symlink_metadata(&source) else { return Ok(()) };
    let target = root.join(name);
    if metadata.is_symlink() {
        return symlink(fs::read_link(&source)?, target);
    }
    if metadata.is_dir() {
        fs::create_dir(&target)?;
    } else {
        fs::write(&target, "")?;
    }
    bind(&source, &target, true, READ_ONLY)
}

/// The top of an image, but for what the sandbox makes itself. `image` then is the image, for [`etc`].
fn build_image(image: &Path, root: &Path, toolchains: &[Toolchain]) -> io::Result<()> {
    bind(image, Path::new("image"), false, READ_ONLY)?;
    let toolchains: Vec<_> =
        toolchains.iter().filter_map(|toolchain| toolchain.path.strip_prefix("/").ok()).collect();
    for entry in fs::read_dir("image")? {
        let name = entry?.file_name();
        let Some(shown) = name.to_str().filter(|name| !OUR_OWN.contains(name)) else { continue };
        step(format!("/{shown}"), bind_around(Path::new("image"), root, &name, &toolchains))?;
    }
    Ok(())
}

/// One name of a directory of the image. A directory with a toolchain below it is made anew, and its entries are bound one by
/// one: in what is bound no mount point can be made. The image is not trusted: nothing is made behind its links.
fn bind_around(from: &Path, to: &Path, name: &OsStr, toolchains: &[&Path]) -> io::Result<()> {
    let below: Vec<_> = toolchains.iter().filter_map(|path| path.strip_prefix(name).ok()).collect();
    if below.is_empty() {
        return bind_system(from, to, name);
    }
    if below.iter().any(|rest| rest.as_os_str().is_empty()) {
        // The toolchain takes its place.
        return Ok(());
    }
    let (source, target) = (from.join(name), to.join(name));
    let metadata = fs::symlink_metadata(&source)?;
    if !metadata.is_dir() {
        return Err(io::Error::other(
            "the image has a link or a file where a toolchain's path leads through; use another image, or keep the toolchain \
             elsewhere",
        ));
    }
    fs::create_dir(&target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(metadata.mode() & 0o755))?;
    for entry in fs::read_dir(&source)? {
        bind_around(&source, &target, &entry?.file_name(), &below)?;
    }
    Ok(())
}

/// One place for temporary files under both names, where an image has none of its own.
fn link_var_tmp(root: &Path) -> io::Result<()> {
    let target = root.join(VAR_TMP);
    // An image's link leads to wherever it likes.
    if !is_directory(&root.join("var")) || fs::symlink_metadata(&target).is_ok() {
        return Ok(());
    }
    match symlink("/tmp", &target) {
        // An image's own `/var`, which cannot be written.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        made => made,
    }
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
fn build_tools(root: &Path, mount: io::Result<OwnedFd>, program: &OwnedFd) -> io::Result<()> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let programs = inside(tools::PROGRAMS);
    fs::create_dir_all(&programs)?;
    let target = programs.join(tools::PROGRAM);
    fs::write(&target, "")?;
    let bound = mount.and_then(|mount| {
        sys::mount_setattr(mount.as_fd(), false, READ_ONLY, None)?;
        sys::move_mount(mount.as_fd(), &target)
    });
    if bound.is_err() && bind_again(program, &target).is_err() {
        // It was replaced since the agent started, as by an upgrade, and what has no name cannot be bound.
        let mut copy = fs::File::create(&target)?;
        io::copy(&mut fs::File::from(program.try_clone()?), &mut copy)?;
        copy.set_permissions(fs::Permissions::from_mode(0o755))?;
    }
    symlink(tools::PROGRAM, programs.join(tools::APPLY_PATCH))?;
    let (name, text) = tools::MCP_CONFIG;
    fs::write(inside(tools::FOLDER).join(name), text)
}

/// By its name, which only now is of this mount namespace.
fn bind_again(program: &OwnedFd, target: &Path) -> io::Result<()> {
    let path = fs::read_link(THIS_PROGRAM)?;
    let (named, running) = (fs::metadata(&path)?, rustix::fs::fstat(program)?);
    if (named.dev(), named.ino()) != (running.st_dev, running.st_ino) {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    bind(&path, target, false, READ_ONLY)
}
