//! What the guest of the long tests is made of: QEMU, installed; of Debian's kernel and busybox only the files that the
//! guest boots, unpacked into the cache. Neither comes onto this machine as a package.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::guest::QEMU;
use crate::process::{run, text_of};
use crate::{layout, terminal};

const QEMU_PACKAGE: &str = "qemu-system-x86";
/// Depends on the newest kernel of Debian's, whose package's name ends with its version.
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const KERNEL_PREFIX: &str = "linux-image-";
const BUSYBOX_PACKAGE: &str = "busybox-static";
/// The ends of paths in the packages.
const MODULES: [&str; 2] = ["block/loop.ko", "overlayfs/overlay.ko"];
const BUSYBOX: &str = "bin/busybox";

/// Files that a guest boots from.
#[derive(Debug)]
pub struct GuestFiles {
    /// The kernel's package, which says its version.
    pub package: String,
    pub kernel: PathBuf,
    pub modules: Vec<PathBuf>,
    /// Static.
    pub busybox: PathBuf,
}

/// Installs and unpacks what is missing.
pub fn guest() -> Result<GuestFiles> {
    if !debian::has_apt() {
        bail!("the guest's kernel is Debian's, and there is no apt-get; run the long tests on Debian 12");
    }
    debian::install(&[QEMU_PACKAGE])?;
    let version = text_of(Command::new(QEMU).arg("--version"))?;
    terminal::found("QEMU", version.lines().next().unwrap_or_default(), None);
    let version = newest_kernel()?;
    let package = format!("{KERNEL_PREFIX}{version}");
    let kernel = format!("boot/vmlinuz-{version}");
    let folder = layout::cache()?.join("guest");
    let kernel_folder = folder.join(&package);
    unpack(&package, &kernel_folder, &[&[kernel.as_str()], MODULES.as_slice()].concat())?;
    unpack(BUSYBOX_PACKAGE, &folder, &[BUSYBOX])?;
    Ok(GuestFiles {
        kernel: place(&kernel_folder, &kernel),
        modules: MODULES.map(|module| place(&kernel_folder, module)).to_vec(),
        busybox: place(&folder, BUSYBOX),
        package,
    })
}

/// Where a file of a package is put.
fn place(folder: &Path, path: &str) -> PathBuf {
    folder.join(path.rsplit('/').next().unwrap_or(path))
}

/// Its version.
fn newest_kernel() -> Result<String> {
    let depends = text_of(Command::new("apt-cache").args(["depends", KERNEL_PACKAGE]))?;
    let named =
        depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")?.strip_prefix(KERNEL_PREFIX));
    named.map(str::to_owned).with_context(|| {
        format!("Debian's package lists do not say what {KERNEL_PACKAGE} is; run `apt-get update`")
    })
}

/// The named files of a package, wherever in it they are.
fn unpack(package: &str, folder: &Path, wanted: &[&str]) -> Result<()> {
    if wanted.iter().all(|name| place(folder, name).exists()) {
        terminal::found(package, "unpacked", None);
        return Ok(());
    }
    let started = Instant::now();
    let download = folder.join("download");
    // What an interrupted run left.
    let _ = fs::remove_dir_all(&download);
    fs::create_dir_all(&download).with_context(|| format!("cannot make {}", download.display()))?;
    run(
        &format!("downloading {package}"),
        // As root apt would change to a user who may not write here.
        Command::new("apt-get")
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(&download),
    )?;
    let file = fs::read_dir(&download)?.flatten().next();
    let file = file.with_context(|| format!("apt-get downloaded no {package}"))?.path();
    pick(&file, folder, wanted)?;
    fs::remove_dir_all(&download)?;
    if let Some(absent) = wanted.iter().find(|name| !place(folder, name).exists()) {
        bail!("the package {package} holds no {absent}");
    }
    terminal::found(package, "downloaded and unpacked", Some(started.elapsed()));
    Ok(())
}

fn pick(package: &Path, folder: &Path, wanted: &[&str]) -> Result<()> {
    let mut reading =
        Command::new("dpkg-deb").arg("--fsys-tarfile").arg(package).stdout(Stdio::piped()).spawn()?;
    let output = reading.stdout.take().context("dpkg-deb has no output")?;
    let mut archive = tar::Archive::new(output);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let found = wanted.iter().find(|wanted| path.ends_with(wanted));
        if let Some(found) = found.filter(|_| entry.header().entry_type().is_file()) {
            // Whole or not at all.
            let part = folder.join("part");
            std::io::copy(&mut entry, &mut File::create(&part)?)?;
            fs::rename(part, place(folder, found))?;
        }
    }
    let status = reading.wait()?;
    if !status.success() {
        bail!("dpkg-deb failed ({status}) on {}", package.display());
    }
    Ok(())
}
