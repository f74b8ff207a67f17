//! `/etc` inside a sandbox: users, hosts, and what programs need of the machine's, or all of an image's.

use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::root::{READ_ONLY, bind};
use super::sys;
use crate::sandbox::INNER_ID;

/// Directories of `/etc` without secrets that programs need.
const DIRECTORIES: [&str; 6] =
    ["alternatives", "ca-certificates", "ssl/certs", "pki/tls/certs", "pki/ca-trust", "ld.so.conf.d"];
const FILES: [&str; 9] = [
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
const USERS_BYTES_MAX: u64 = 1024 * 1024;

/// What is taken from the machine's own.
pub fn made_of() -> impl Iterator<Item = PathBuf> {
    FILES.iter().chain(&DIRECTORIES).map(|name| Path::new("/etc").join(name))
}

/// With an image its own `/etc` lies below ours, so that only what must be ours is.
pub fn build(root: &Path, of_an_image: bool) -> io::Result<()> {
    let etc = root.join("etc");
    fs::create_dir(&etc)?;
    let id = INNER_ID;
    let users = |name| if of_an_image { image_users(name) } else { String::new() };
    for (name, text) in [
        (".empty", String::new()),
        (
            "passwd",
            format!(
                "{}agent:x:{id}:{id}:Patchbay:/home/agent:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
                users("passwd")
            ),
        ),
        ("group", format!("{}agent:x:{id}:\nnogroup:x:65534:\n", users("group"))),
        ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n".to_owned()),
        ("hostname", "sandbox\n".to_owned()),
        (
            "resolv.conf",
            "# This sandbox has no network but the proxy in HTTPS_PROXY, if it is set.\n".to_owned(),
        ),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
        ("shells", "/bin/sh\n/bin/bash\n".to_owned()),
    ] {
        fs::write(etc.join(name), text)?;
    }
    if of_an_image {
        return lay_over_image(root);
    }
    for name in FILES {
        if let Ok(bytes) = fs::read(Path::new("/etc").join(name)) {
            let target = etc.join(name);
            fs::create_dir_all(target.parent().unwrap_or(&etc))?;
            fs::write(target, bytes)?;
        }
    }
    for name in DIRECTORIES {
        let source = Path::new("/etc").join(name);
        if source.is_dir() {
            let target = etc.join(name);
            fs::create_dir_all(&target)?;
            bind(&source, &target, false, READ_ONLY)?;
        }
    }
    Ok(())
}

fn lay_over_image(root: &Path) -> io::Result<()> {
    if !fs::symlink_metadata("image/etc").is_ok_and(|metadata| metadata.is_dir()) {
        return Ok(());
    }
    let both = sys::overlay(&[("lowerdir", "root/etc:image/etc")], &[])?;
    sys::mount_setattr(both.as_fd(), false, READ_ONLY, None)?;
    sys::move_mount(both.as_fd(), &root.join("etc"))
}

/// An image's users or groups but for those that are ours. The image is not trusted: a link leads nowhere but into it.
fn image_users(name: &str) -> String {
    let read = || -> io::Result<String> {
        let image = super::workspace::open_directory(Path::new("image"))?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&image, format!("etc/{name}"), flags, Mode::empty(), resolve)?;
        let mut text = String::new();
        fs::File::from(file).take(USERS_BYTES_MAX).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let taken = [INNER_ID.to_string(), "65534".to_owned()];
    let others = text.lines().filter(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next().unwrap_or_default(), fields.nth(1).unwrap_or_default());
        name != "agent" && !taken.iter().any(|taken| taken == id)
    });
    others.map(|line| format!("{line}\n")).collect()
}
