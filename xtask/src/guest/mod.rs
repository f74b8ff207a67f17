//! The sandbox on another machine than this one: a guest with control groups v2 alone and Debian's cloud kernel, years
//! older than the ones that people develop on. It has nothing but a kernel, busybox and the container agent.
//!
//! ```text
//!   init.sh ── boots, makes a disk, a user, its groups ──▶ each scenario's script ──▶ a line of JSON ──▶ judged here
//! ```

mod archive;
mod machine;
mod scenarios;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde::Deserialize;

use self::archive::Archive;
use self::machine::Machine;
use self::scenarios::{By, SCENARIOS, Scenario};
use crate::setup::{self, GuestFiles};
use crate::{build, layout, terminal};

pub use machine::QEMU;

/// For one scenario, in seconds of the guest's clock.
const SCENARIO_SECONDS: u32 = 60;
/// For everything; a quiet machine needs a tenth of it.
const AT_MOST: Duration = Duration::from_secs(600);
const INIT: &str = include_str!("init.sh");
const PRELUDE: &str = include_str!("prelude.sh");
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nuser:x:1000:\n";

/// What the guest says.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Played { scenario: String, exit: i32, from: f64, to: f64, said: String },
    End { end: bool },
}

/// How many scenarios went well, how many did not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Played {
    pub passed: u64,
    pub failed: u64,
}

/// Installs what is missing, boots the guest, judges what it says. Not every scenario going well is for the caller to
/// make an error of; a guest that does not come to its end is one.
pub fn run() -> Result<Played> {
    let files = setup::guest()?;
    let agent = build::agent()?;
    let folder = Folder::make()?;
    let first_files = folder.0.join("first-files");
    let agent = fs::read(&agent).with_context(|| format!("cannot read {}", agent.display()))?;
    fs::write(&first_files, pack(&files, &agent)?)?;
    let started = Instant::now();
    let (mut played, mut ended) = (BTreeSet::new(), false);
    let mut count = Played::default();
    let mut each = |line: &str| -> Result<()> {
        let Ok(line) = serde_json::from_str(line) else { bail!("the guest said what is no report: {line}") };
        let (name, exit, took, said) = match line {
            Line::End { end } => {
                ended = end;
                return Ok(());
            }
            Line::Played { scenario, exit, from, to, said } => (scenario, exit, to - from, said),
        };
        let said = base64::engine::general_purpose::STANDARD.decode(said)?;
        let said = String::from_utf8_lossy(&said);
        let (by, scenario) = find(&name).with_context(|| format!("there is no scenario {name}"))?;
        let took = Duration::from_secs_f64(took.max(0.0));
        match scenario.judge(by, exit, &said) {
            Ok(()) => {
                count.passed += 1;
                terminal::found(by.word(), scenario.name, Some(took));
            }
            Err(error) => {
                count.failed += 1;
                terminal::notice(&format!(
                    "{} {}: {error:#}. It ended with {exit} and said:\n{said}",
                    by.word(),
                    scenario.name
                ));
            }
        }
        played.insert(name);
        Ok(())
    };
    let machine = Machine {
        qemu: Path::new(QEMU),
        kernel: &files.kernel,
        archive: &first_files,
        folder: &folder.0,
        at_most: AT_MOST,
    };
    machine::run(&machine, &mut each)?;
    let missing: Vec<_> =
        all().map(|(by, scenario)| file_name(by, scenario)).filter(|name| !played.contains(name)).collect();
    if !ended || !missing.is_empty() {
        let console = machine::tail(&folder.0.join("console"));
        bail!("the guest ended before {}; its console ends with:\n{console}", missing.join(", "));
    }
    terminal::found("guest", &files.package, Some(started.elapsed()));
    Ok(count)
}

fn all() -> impl Iterator<Item = (By, &'static Scenario)> {
    let of = |by: By| {
        SCENARIOS.iter().filter(move |scenario| scenario.by.contains(&by)).map(move |scenario| (by, scenario))
    };
    By::ALL.into_iter().flat_map(of)
}

/// Numbered: the guest plays them in the order of their names.
fn file_name(by: By, scenario: &Scenario) -> String {
    let number = SCENARIOS.iter().position(|other| std::ptr::eq(other, scenario)).unwrap_or_default();
    format!("{number:02}-{}-{}", by.word(), scenario.name)
}

fn find(name: &str) -> Option<(By, &'static Scenario)> {
    all().find(|(by, scenario)| file_name(*by, scenario) == name)
}

fn pack(files: &GuestFiles, agent: &[u8]) -> Result<Vec<u8>> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut archive = Archive::default();
    for directory in ["bin", "etc", "modules", "root", "scenarios"] {
        archive.directory(directory);
    }
    archive.file("bin/busybox", 0o755, &read(&files.busybox)?);
    archive.file("bin/patchbay-agent", 0o755, agent);
    archive.file("etc/passwd", 0o644, USERS.as_bytes());
    archive.file("etc/group", 0o644, GROUPS.as_bytes());
    for module in &files.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), 0o644, &read(module)?);
    }
    let init = INIT.replace("$SCENARIO_SECONDS", &SCENARIO_SECONDS.to_string());
    archive.file("init", 0o755, init.as_bytes());
    for by in By::ALL {
        archive.directory(&format!("scenarios/{}", by.word()));
    }
    for (by, scenario) in all() {
        let path = format!("scenarios/{}/{}", by.word(), file_name(by, scenario));
        let head = format!("OPTIONS='{}'\nPARENT=/sys/fs/cgroup/user\n", by.options());
        archive.file(&path, 0o644, format!("{head}{PRELUDE}{}\n", scenario.script).as_bytes());
    }
    Ok(archive.finish())
}

/// A folder of this run's own, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let path = layout::state().join(format!("guest-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_found_by_the_name_of_its_file() {
        for (by, scenario) in all() {
            let (found_by, found) = find(&file_name(by, scenario)).unwrap();
            assert_eq!((found_by, found.name), (by, scenario.name));
        }
    }
}
