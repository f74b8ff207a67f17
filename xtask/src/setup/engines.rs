//! Docker's and Podman's programs, for the tests of the container agent's back end: these start and stop daemons of
//! their own, and use none that the machine runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::debian;
use crate::process::text_of;
use crate::terminal;

/// A program, and Debian's package that has it.
const PROGRAMS: [(&str, &str); 4] =
    [("dockerd", "docker.io"), ("podman", "podman"), ("runc", "runc"), ("catatonit", "catatonit")];
/// Debian's maintainer scripts ask it whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(super) fn ensure() -> Result<()> {
    let missing: Vec<_> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| text_of(Command::new(program).arg("--version")).is_err())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        let names = PROGRAMS.map(|(program, _)| program).join(", ");
        terminal::found("container engines", &names, None);
        return Ok(());
    }
    if !debian::has_apt() {
        bail!("the tests of the engine's back end need {}; install them", missing.join(", "));
    }
    let _quiet = NoServices::begin()?;
    debian::install(&missing)
}

/// While it lives, what is installed starts no service.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self> {
        let is_ours = rustix::process::geteuid().is_root() && !Path::new(POLICY).exists();
        if is_ours {
            fs::write(POLICY, "#!/bin/sh\nexit 101\n")
                .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                .with_context(|| format!("cannot write {POLICY}"))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}
