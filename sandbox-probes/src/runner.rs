//! Runs each probe in a child with a time limit, so that one that hangs or dies does not stop the rest.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::call;
use crate::outside::Outside;
use crate::probe::{Probe, Verdict};
use crate::probes;

const TIME_LIMIT: Duration = Duration::from_secs(5);

/// `control`: what is not open, though the machine may lack something for it that cannot be seen here, is `absent`.
/// A probe that could not be tried to its end is `broken`.
pub fn run_all(outside: &Outside, control: bool, wanted: impl Fn(&str) -> bool) {
    for probe in probes::all().filter(|probe| wanted(probe.id)) {
        let (verdict, why) = match run(probe, outside) {
            Ok(Verdict::Open(what)) => ("open", what),
            Ok(Verdict::Closed(why)) => match probe.needs.iter().find(|need| control && !visible(need)) {
                Some(need) => ("absent", format!("no {need}: {why}")),
                None => ("closed", why),
            },
            Err(error) => ("broken", error.to_string()),
        };
        println!("{}", probe.result_line(verdict, &why));
    }
}

/// Whether a need is met as far as can be seen without asking the kernel's configuration.
fn visible(need: &str) -> bool {
    need.starts_with('/') && std::path::Path::new(need).exists()
}

fn run(probe: &Probe, outside: &Outside) -> io::Result<Verdict> {
    let (mut answer, mut writer) = io::pipe()?;
    let child = call::child(|| {
        // A group of its own, for the end; no terminal, and not ended by one that it takes and lets go.
        let _ = call::call(libc::SYS_setsid, &[]);
        call::ignore_hang_up();
        let (kind, text) = match (probe.attempt)(outside) {
            Verdict::Open(what) => ('O', what),
            Verdict::Closed(why) => ('C', why),
        };
        let _ = writeln!(writer, "{kind}{}", text.replace('\n', " "));
    })?;
    drop(writer);
    let group = call::int(-child.pid);
    let line = read_line(&mut answer);
    let verdict = match line.as_deref().map(|line| line.split_at_checked(1)) {
        Ok(Some(("O", what))) => Ok(Verdict::Open(what.to_owned())),
        Ok(Some((_, why))) => Ok(Verdict::Closed(why.to_owned())),
        // Said nothing: how did it end?
        Ok(None) => match child.wait()? {
            status if status.signal() == Some(libc::SIGSYS) => {
                Ok(Verdict::closed("a filter ended the process"))
            }
            status => Err(io::Error::other(format!("it ended without an answer: {status}"))),
        },
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    // What the probe started ends with it.
    let _ = call::call(libc::SYS_kill, &[group, call::int(libc::SIGKILL)]);
    verdict
}

/// Up to the line's end or the pipe's, within the time limit.
fn read_line(pipe: &mut PipeReader) -> io::Result<String> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, as the count says.
        if unsafe { libc::poll(&raw mut poll, 1, i32::try_from(left).unwrap_or(0)) } <= 0 {
            return Err(io::Error::other(format!("no answer within {} s", TIME_LIMIT.as_secs())));
        }
        let mut bytes = [0; 4_096];
        match pipe.read(&mut bytes)? {
            0 => break,
            count => line.extend_from_slice(bytes.get(..count).unwrap_or_default()),
        }
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// A file's first bytes as text.
pub fn head(path: impl AsRef<std::path::Path>) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(256 * 1024).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
