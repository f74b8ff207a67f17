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

/// Runs it until it switches itself off; each line that it writes to its second serial port goes to `each`. The
/// first one is the kernel's console, kept in `folder` and shown if the guest does not come to its end in time.
pub fn run(
    kernel: &Path,
    archive: &Path,
    folder: &Path,
    at_most: Duration,
    each: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let console = folder.join("console");
    let mut command = Command::new(QEMU);
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
