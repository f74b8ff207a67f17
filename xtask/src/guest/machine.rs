//! The guest machine: QEMU without acceleration, a kernel, an archive of first files; what it says, and its end.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::Group;

pub const QEMU: &str = "qemu-system-x86_64";
const MEMORY_MB: u32 = 768;
const TAIL_LINES: usize = 30;

/// What it is made of.
#[derive(Debug)]
pub struct Machine<'a> {
    pub qemu: &'a Path,
    pub kernel: &'a Path,
    pub archive: &'a Path,
    /// Gets its console.
    pub folder: &'a Path,
    /// It is ended if it is not at its end by then.
    pub at_most: Duration,
}

/// Runs it until it switches itself off; each line that it writes to its second serial port goes to `each`. The
/// first one is the kernel's console, whose end is part of every error.
pub fn run(machine: &Machine<'_>, each: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let Machine { qemu, kernel, archive, folder, at_most } = *machine;
    let console = folder.join("console");
    let mut command = Command::new(qemu);
    command
        .args(["-accel", "tcg", "-cpu", "max", "-m", &MEMORY_MB.to_string()])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio", "-kernel"])
        .arg(kernel)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "console=ttyS0 panic=-1 quiet"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let deadline = Instant::now() + at_most;
    let mut guest = Group::spawn(&mut command)?;
    let output = guest.child_mut().stdout.take().context("QEMU has no output")?;
    let (say, said) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if say.send(line).is_err() {
                return;
            }
        }
    });
    let outcome = loop {
        match said.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Err(error) = each(line.trim_end()) {
                    break Err(error);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = at_most.as_secs();
                break Err(anyhow::anyhow!("the guest did not come to its end within {seconds} s"));
            }
        }
    };
    let outcome = outcome.and_then(|()| match guest.wait()? {
        status if status.success() => Ok(()),
        status => bail!("QEMU failed ({status})"),
    });
    // It goes now, whatever it is doing, and its pipe with it.
    drop(guest);
    let _ = reader.join();
    outcome.with_context(|| format!("the guest's console ends with:\n{}", tail(&console)))
}

/// The end of the kernel's console.
pub fn tail(console: &Path) -> String {
    let text = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.into_iter().skip(from).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_hangs_is_ended_and_the_end_of_its_console_shown() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("console"), "first words\nlast words\n").unwrap();
        // Written by another process: no fork of this one may hold a program open for writing.
        let script = "printf '#!/bin/sh\\necho one; echo $$ > $(dirname $0)/pid; exec sleep 1000\\n' > qemu; chmod 755 qemu";
        let written = Command::new("/bin/sh").args(["-c", script]).current_dir(folder.path()).status();
        assert!(written.unwrap().success());
        let qemu = at("qemu");
        let machine = Machine {
            qemu: &qemu,
            kernel: Path::new("kernel"),
            archive: Path::new("archive"),
            folder: folder.path(),
            at_most: Duration::from_secs(3),
        };
        let mut lines = Vec::new();
        let mut each = |line: &str| {
            lines.push(line.to_owned());
            Ok(())
        };
        let error = format!("{:#}", run(&machine, &mut each).unwrap_err());
        assert!(error.contains("within 3 s") && error.contains("last words"), "{error}");
        assert_eq!(lines, ["one"]);
        let pid = std::fs::read_to_string(at("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists());
    }
}
